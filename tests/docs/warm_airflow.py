"""The `airflow` command of a process that has imported Airflow and the ML libraries: its commands are forked from it.

A command of its own takes three seconds and more before it does anything, and the documentation has a hundred.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: What is put before the real command in the path; it imports nothing that it does not need.
_COMMAND = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
    server.connect("{address}")
    order = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [order], [0, 1, 2])
    sys.exit(int(server.recv(16) or 1))
"""


@contextmanager
def warm_airflow(folder: Path, environment: dict[str, str]) -> Iterator[Path]:
    """Serve a command `airflow` until the end of the block.

    :param folder: for the command and the server's log.
    :param environment: of the server; a command has the one that it is called with.
    :returns: the folder of the command, for the path.
    """
    folder.mkdir()
    # A socket's path may have 108 characters.
    address = os.path.relpath(folder / "socket", "/")
    command = folder / "airflow"
    command.write_text(_COMMAND.format(python=sys.executable, address=f"/{address}"), encoding="utf-8")
    command.chmod(0o755)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener, (folder / "log").open("wb") as log:
        listener.bind(f"/{address}")
        listener.listen(16)
        server = subprocess.Popen(
            [sys.executable, __file__, str(listener.fileno())],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[listener.fileno()],
        )
        try:
            yield folder
        finally:
            server.terminate()
            server.wait()


def serve(listener: socket.socket) -> None:
    """Fork a process for each command."""
    from airflow.cli.cli_parser import get_parser

    from airflow_mlops_provider.warm_imports import import_all

    import_all()
    get_parser()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a command here but its caller
    while True:
        caller, _ = listener.accept()
        with caller:
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                caller.send(str(obey(caller)).encode())
                os._exit(0)


def obey(caller: socket.socket) -> int:
    """Carry out a command as its own process would; return its exit code."""
    from airflow.__main__ import main

    order, descriptors, _, _ = socket.recv_fds(caller, 1 << 18, 3)
    for place, descriptor in enumerate(descriptors):
        os.dup2(descriptor, place)
    sys.argv, folder, environment = json.loads(order)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    try:
        main()
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
