"""A Redis on loopback, from Debian's package, for one test file."""

from __future__ import annotations

import secrets
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

from services.daemons import daemon
from services.needs import needs

from local_processes import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """Run a server with a password, on a free port, and yield its address: `redis://…`."""
    needs("redis-server")
    port, password = free_port(), secrets.token_hex(16)
    settings = f'bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave ""\ndir {folder}\n'
    with daemon(["redis-server", "-"], folder / "redis.log", lambda: _listens(port), stdin=settings):
        yield f"redis://:{password}@127.0.0.1:{port}/0"


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
