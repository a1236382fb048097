"""Temporary folders that never outlast their process for long.

Each holds a lock as long as its process lives. What a killed process left behind is removed by the next one that makes
such a folder in the same place: its lock is held no more. A lock belongs to the kernel, or to the file server: so it
tells the living from the dead across users and across containers that share a folder, where process ids say nothing.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
import weakref
from contextlib import contextmanager, suppress
from pathlib import Path, PosixPath
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.storage.disk_errors import explained, guarded

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "mlops-"
_LOCK = ".lock"
#: A folder without a lock is of a process that was killed just when it made it, or lies on a disk that knows no locks.
_UNLOCKED_SECONDS = 7 * 24 * 3600
#: How many folders one process removes before it goes on with its own work.
_MOST_SWEPT = 100


class Scratch:
    """A temporary folder that is removed when this object or its process ends.

    :param kind: what it is for, a part of its name.
    :param within: a folder for such folders alone; the system's temporary folder when left out.
    """

    def __init__(self, kind: str = "scratch", within: Path | None = None) -> None:
        parent = Path(tempfile.gettempdir()) if within is None else within
        with explained("written", parent):
            # All that lies in the store's own folder is ours; elsewhere what bears our name is.
            sweep(parent, "*" if within is not None else f"{PREFIX}*")
            self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{kind}-", dir=parent))
            try:
                self._lock = _lock(self.folder)
            except BaseException:
                shutil.rmtree(self.folder, ignore_errors=True)
                raise
        self._finalizer = weakref.finalize(self, _remove, str(self.folder), self._lock, os.getpid())

    def remove(self) -> None:
        """Remove the folder now."""
        self._finalizer()


class ScratchPath(PosixPath):
    """A file in scratch space that stays as long as this path is held, even when the store is not."""

    __slots__ = ("keeps",)
    keeps: Any


def holding(path: Path, scratch: Scratch) -> Path:
    """Return the path, holding the scratch space that it lies in."""
    held = ScratchPath(path)
    held.keeps = scratch
    return held


@contextmanager
def temporary_folder(kind: str, within: Path | None = None) -> Iterator[Path]:
    """Yield a temporary folder, removed at the end; parameters as `Scratch`.

    :raises StorageError, TransientServiceError: the disk does not take what is written there.
    """
    scratch = Scratch(kind, within)
    try:
        files = scratch.folder / "files"  # whoever takes all that is in it must not find the lock
        with guarded(files):
            files.mkdir()
            yield files
    finally:
        scratch.remove()


def sweep(parent: Path, names: str = f"{PREFIX}*") -> None:
    """Remove what killed processes left in a folder, and nothing of those that live.

    :param names: of the folders that are ours, as a pattern.
    """
    removed = 0
    for folder in parent.glob(names):
        # Another user's, or one that goes just now.
        with suppress(OSError):
            removed += _sweep(folder)
        if removed >= _MOST_SWEPT:
            return


def _sweep(folder: Path) -> bool:
    """Remove a folder when nobody holds it, and return whether nobody did."""
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        if time.time() - folder.stat().st_mtime < _UNLOCKED_SECONDS or not (folder.is_dir() and _is_own(folder)):
            return False
        shutil.rmtree(folder, ignore_errors=True)
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)
    return True


def _is_own(folder: Path) -> bool:
    # Root may remove what others have just made; without a lock only its owner knows better.
    return folder.stat().st_uid == os.geteuid()


def _lock(folder: Path) -> int | None:
    """Return the lock that says that the folder is in use; None where the disk knows no locks."""
    unlocked = folder / f"{_LOCK}.new"
    lock = os.open(unlocked, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        unlocked.unlink()
        return None
    unlocked.rename(folder / _LOCK)  # nobody may find it before it is locked
    return lock


def _remove(folder: str, lock: int | None, owner: int) -> None:
    # A forked child must not take its parent's files away.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)
