"""Objects as files under one folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_mlops_provider.storage.addresses import safe_key

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A scratch folder older than a day belongs to a process that was killed.
_SCRATCH_SECONDS = 24 * 3600


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, read in bounded pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class LocalObjects:
    """Objects as files under one folder: written under a temporary name, flushed to disk, and renamed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def uri(self, key: str) -> str:
        """Return the address of an object."""
        return self._path(key).as_uri()

    def size(self, key: str) -> int | None:
        """Return an object's size in bytes, None when there is none."""
        try:
            return self._path(key).stat().st_size
        except FileNotFoundError:
            return None

    def holds(self, key: str, digest: str, size: int) -> bool:
        """Return whether the object is there and is this one: its bytes are read."""
        return self.size(key) == size and sha256_of(self._path(key)) == digest

    def read(self, key: str) -> bytes | None:
        """Return a small object, None when there is none."""
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            return None

    def fetch(self, key: str, size: int) -> Path | None:
        """Return the object itself: never write to it. None when there is none."""
        path = self._path(key)
        return path if path.is_file() else None

    def forget(self, key: str) -> None:
        """Do nothing: objects are not copied."""

    def put(self, key: str, file: Path, digest: str | None = None) -> None:
        """Move a finished file into the store, whole or not at all."""
        target = self._path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
        file.replace(target)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """Yield a scratch folder from which `put` can rename; removed at the end."""
        scratch = self.root / ".tmp"
        scratch.mkdir(parents=True, exist_ok=True)
        _sweep(scratch)
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            yield Path(folder)

    def _path(self, key: str) -> Path:
        return self.root / safe_key(key)


def _sweep(scratch: Path) -> None:
    """Remove the scratch folders that killed processes left behind."""
    for folder in scratch.iterdir():
        try:
            if time.time() - folder.stat().st_mtime > _SCRATCH_SECONDS:
                shutil.rmtree(folder)
        except FileNotFoundError:
            continue  # another process was faster
