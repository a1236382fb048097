"""Objects as files under one folder."""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from stat import S_ISREG
from typing import TYPE_CHECKING

from airflow_mlops_provider.storage.addresses import safe_key
from airflow_mlops_provider.storage.disk_errors import explained
from airflow_mlops_provider.storage.objects import SMALL, SmallBody
from airflow_mlops_provider.storage.scratch import temporary_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
        path = self._path(key)
        with explained("read", path):
            try:
                found = path.stat()
            except FileNotFoundError:
                return None
        return found.st_size if S_ISREG(found.st_mode) else None

    def holds(self, key: str, digest: str, size: int) -> bool:
        """Return whether the object is there and is this one: its bytes are read."""
        path = self._path(key)
        with explained("read", path):
            try:
                return self.size(key) == size and sha256_of(path) == digest
            except FileNotFoundError:
                return False

    def read(self, key: str) -> bytes | None:
        """Return a small object, None when there is none."""
        path, body = self._path(key), SmallBody(self.uri(key))
        with explained("read", path):
            try:
                with path.open("rb") as file:
                    body.write(file.read(SMALL + 1))
            except FileNotFoundError:
                return None
        return body.getvalue()

    def fetch(self, key: str, size: int) -> Path | None:
        """Return the object itself: never write to it. None when there is none."""
        return None if self.size(key) is None else self._path(key)

    def forget(self, key: str) -> None:
        """Do nothing: objects are not copied."""

    def put(self, key: str, file: Path, digest: str | None = None) -> None:
        """Move a finished file into the store, whole or not at all."""
        target = self._path(key)
        with explained("written", target):
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
        with explained("written", scratch):
            scratch.mkdir(parents=True, exist_ok=True)
        with temporary_folder("work", scratch) as folder:
            yield folder

    def _path(self, key: str) -> Path:
        return self.root / safe_key(key)
