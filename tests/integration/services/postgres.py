"""A PostgreSQL on loopback, from Debian's package, for one test file."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
from services.daemons import daemon
from services.needs import needs

from local_processes import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

_SUPERUSER = "postgres"
#: Safe on a disk that is thrown away, and several times as fast.
_CARELESS = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"]


@dataclass(frozen=True)
class Postgres:
    """A running server."""

    port: int
    password: str

    def database(self, name: str) -> str:
        """Make a database with an owner of its own, and return its address for SQLAlchemy.

        It names the driver: with SQLAlchemy 2.1 a bare `postgresql://` means psycopg 3.
        """
        password = secrets.token_hex(16)
        connection = self._connect()
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(f"create user {name} password '{password}'")
                cursor.execute(f"create database {name} owner {name}")
        finally:
            connection.close()
        return f"postgresql+psycopg2://{name}:{password}@127.0.0.1:{self.port}/{name}"

    def ready(self) -> bool:
        """Whether it takes connections."""
        try:
            self._connect().close()
        except psycopg2.OperationalError:
            return False
        return True

    def _connect(self) -> psycopg2.extensions.connection:
        return psycopg2.connect(
            host="127.0.0.1", port=self.port, user=_SUPERUSER, password=self.password, dbname="postgres"
        )


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a server of its own, on a free port."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    needs(str(binaries[-1] / "postgres") if binaries else "postgres")
    # PostgreSQL does not run as root, and pytest's folders are closed to everyone but who runs the tests.
    folder = Path(tempfile.mkdtemp(prefix="mlops-postgres-"))
    server = Postgres(free_port(), secrets.token_hex(16))
    as_user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    try:
        _make_cluster(binaries[-1], folder, server.password, as_user)
        command = [str(binaries[-1] / "postgres"), "-D", str(folder / "data"), "-p", str(server.port)]
        for setting in ("listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200", *_CARELESS):
            command += ["-c", setting]
        # SIGINT is its fast shutdown, which does not wait for clients.
        with daemon(command, folder / "log", server.ready, stop=signal.SIGINT, cwd=folder, **as_user):
            yield server
    finally:
        shutil.rmtree(folder)


def _make_cluster(binaries: Path, folder: Path, password: str, as_user: dict[str, Any]) -> None:
    secret = folder / "password"
    secret.write_text(password, encoding="utf-8")
    if as_user:
        for place in (folder, secret):
            shutil.chown(place, "postgres", "postgres")
    command = [str(binaries / "initdb"), "-D", str(folder / "data"), "-U", _SUPERUSER, "--no-sync", "-E", "UTF8"]
    command += ["--locale", "C.UTF-8", "--auth", "scram-sha-256", "--pwfile", str(secret)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, **as_user)
    if done.returncode != 0:
        raise RuntimeError(f"initdb failed:\n{done.stdout[-1000:]}{done.stderr[-1000:]}")
