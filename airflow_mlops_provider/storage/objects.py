"""What an artifact store needs of the place that keeps its objects."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, Protocol

from airflow_mlops_provider.bounds import MAX_DOCUMENT_BYTES
from airflow_mlops_provider.exceptions import ArtifactError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path


#: Receipts, requests and records of a journal are a few KB: what is larger is none, and is not taken into memory.
SMALL = MAX_DOCUMENT_BYTES


class SmallBody(BytesIO):
    """Takes the bytes of a small object, and refuses those of a large one."""

    def __init__(self, uri: str) -> None:
        super().__init__()
        self._uri = uri

    def write(self, data: Any, /) -> int:
        """Take some bytes.

        :raises ArtifactError: there are too many.
        """
        if self.tell() + len(data) > SMALL:
            raise ArtifactError(
                f"{self._uri} is far too large",
                got=f"over {SMALL:,} bytes",
                expected="a few KB of JSON",
                hint="Remove it: it will be computed again.",
            )
        return super().write(data)


class Objects(Protocol):
    """Objects by key. Every key passes `safe_key`.

    A place that cannot be reached for now raises `TransientServiceError`; one that refuses, `StorageError`.
    """

    def uri(self, key: str) -> str:
        """Return the address of an object."""

    def size(self, key: str) -> int | None:
        """Return an object's size in bytes, None when there is none."""

    def holds(self, key: str, digest: str, size: int) -> bool:
        """Return whether the object is there and is this one, as far as the place itself can tell."""

    def read(self, key: str) -> bytes | None:
        """Return a small object, None when there is none.

        :raises ArtifactError: it is larger than `SMALL`.
        """

    def fetch(self, key: str, size: int) -> Path | None:
        """Return a local file with the object's bytes, which may be the object itself: never write to it.

        None when there is none.

        :param size: how large it should be; nothing but how it is fetched depends on it.
        """

    def forget(self, key: str) -> None:
        """Fetch the object anew the next time."""

    def put(self, key: str, file: Path, digest: str | None = None) -> None:
        """Take over a finished file of the workspace: visible whole or not at all, and gone from where it was.

        :param digest: its sha256, when the caller knows it.
        """

    def workspace(self) -> AbstractContextManager[Path]:
        """Yield a scratch folder for files that `put` takes over; removed at the end."""
