"""Disk space of one process: for files on their way to S3, and copies of what came from there."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path, PosixPath
from typing import Any

_PREFIX = "mlops-scratch-"
_LOCK = ".lock"


class Scratch:
    """A folder in the system's temporary folder, removed when this object or its process ends.

    What a killed process left behind is removed by the next one: its lock is held no more.
    """

    def __init__(self) -> None:
        _sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        unlocked = self.folder / f"{_LOCK}.new"
        lock = os.open(unlocked, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unlocked.rename(self.folder / _LOCK)  # nobody may find it before it is locked
        weakref.finalize(self, _remove, str(self.folder), lock, os.getpid())


class ScratchPath(PosixPath):
    """A file in scratch space that stays as long as this path is held, even when the store is not."""

    __slots__ = ("keeps",)
    keeps: Any


def kept(path: Path, scratch: Scratch) -> Path:
    """Return the path, holding the scratch space that it lies in."""
    held = ScratchPath(path)
    held.keeps = scratch
    return held


def _remove(folder: str, lock: int, owner: int) -> None:
    # A forked child must not take its parent's files away.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _sweep() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # Another user's, or one that goes just now.
        with suppress(OSError):
            lock = os.open(folder / _LOCK, os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
