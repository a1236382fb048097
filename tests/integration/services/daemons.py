"""A service in the foreground, as a child of the tests: started, waited for, ended."""

from __future__ import annotations

import signal
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def daemon(
    command: list[str],
    log: Path,
    ready: Callable[[], bool],
    *,
    stop: signal.Signals = signal.SIGTERM,
    seconds: float = 60,
    stdin: str = "",
    **options: Any,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program until the block ends.

    :param command: the program in the foreground, and its arguments.
    :param log: file for what it prints.
    :param ready: asked until it says yes.
    :param stop: the signal by which it ends in order.
    :param seconds: longest wait for it to be ready.
    :param stdin: what it is told; settings that are no arguments' business, such as passwords.
    :param options: of `subprocess.Popen`, such as `user`.
    :raises RuntimeError: when it ends early or is not ready in time; holds the end of its log.
    """
    with log.open("ab") as out:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=out, stderr=out, start_new_session=True, **options
        )
    try:
        if process.stdin is not None:
            process.stdin.write(stdin.encode())
            process.stdin.close()
        _wait(process, command[0], log, ready, seconds)
        yield process
    finally:
        process.send_signal(stop)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], name: str, log: Path, ready: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        ended = process.poll()
        if ended is not None or time.monotonic() > deadline:
            what = f"ended with {ended}" if ended is not None else f"was not ready after {seconds:.0f} s"
            raise RuntimeError(f"{name} {what}:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)
