"""Objects on S3: under one prefix of a bucket."""

from __future__ import annotations

import random
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_mlops_provider.storage.addresses import S3Address, safe_key
from airflow_mlops_provider.storage.disk_errors import guarded
from airflow_mlops_provider.storage.local import sha256_of
from airflow_mlops_provider.storage.objects import SmallBody
from airflow_mlops_provider.storage.s3_client import PART_BYTES, S3Options, s3_client, transfer_manager
from airflow_mlops_provider.storage.s3_errors import BrokenReplyError, code_of, explained
from airflow_mlops_provider.storage.scratch import Scratch, holding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

Answer = TypeVar("Answer")

_ABSENT = frozenset(["404", "NoSuchKey"])
_DIGEST = "sha256"
#: What botocore does not try again itself: bodies that break off while they are read, replies that lack something.
_TRIES = 4
_CHUNK = 1024 * 1024


class S3Objects:
    """Objects under a prefix. What is fetched lies in scratch space until this object ends.

    A single put is whole or not there; parts are invisible until all of them are there. Nothing is put on condition:
    writers of one name write the same bytes, and on a versioned bucket a condition would not hold.
    """

    def __init__(self, root: S3Address, options: S3Options) -> None:
        self.root = S3Address(root.bucket, safe_key(root.key) if root.key else "")
        self.options = options
        self._scratch = Scratch()

    def uri(self, key: str) -> str:
        """Return the address of an object."""
        return str(self._address(key))

    def size(self, key: str) -> int | None:
        """Return an object's size in bytes, None when there is none."""
        found = self._head(key)
        return None if found is None else int(found["ContentLength"])

    def holds(self, key: str, digest: str, size: int) -> bool:
        """Return whether the object is there, of that size, and was put there by us as the one of that digest."""
        found = self._head(key)
        return found is not None and found["ContentLength"] == size and found["Metadata"].get(_DIGEST) == digest

    def read(self, key: str) -> bytes | None:
        """Return a small object, None when there is none."""
        address, body = self._address(key), SmallBody(self.uri(key))
        with explained("read", address, self.options):
            return body.getvalue() if download(self._client, address, body) else None

    def fetch(self, key: str, size: int) -> Path | None:
        """Return a copy of the object, the same one each time: never write to it. None when there is none."""
        copy = self._copy(key)
        if not copy.is_file():
            address = self._address(key)
            with guarded(self._scratch.folder), explained("read", address, self.options):
                fetched = download_file(self._client, address, self._scratch.folder, size)
                if fetched is None:
                    return None
                copy.parent.mkdir(parents=True, exist_ok=True)
                fetched.replace(copy)
        return holding(copy, self._scratch)

    def forget(self, key: str) -> None:
        """Fetch the object anew the next time."""
        self._copy(key).unlink(missing_ok=True)

    def put(self, key: str, file: Path, digest: str | None = None) -> None:
        """Upload a finished file, whole or not at all, and remove it."""
        address, size = self._address(key), file.stat().st_size
        content = digest or sha256_of(file)
        with explained("written", address, self.options):
            _persistently(lambda: self._upload(key, file, content, size))
        if digest is None:  # what is named by its digest has not changed, and another thread may be reading the copy
            self.forget(key)
        file.unlink()

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """Yield a scratch folder for files that `put` takes over; removed at the end."""
        with guarded(self._scratch.folder), tempfile.TemporaryDirectory(dir=self._scratch.folder) as folder:
            yield Path(folder)

    @property
    def _client(self) -> Any:
        return s3_client(self.options)

    def _address(self, key: str) -> S3Address:
        parts = [self.root.key, safe_key(key)] if self.root.key else [safe_key(key)]
        return S3Address(self.root.bucket, "/".join(parts))

    def _copy(self, key: str) -> Path:
        return self._scratch.folder / "copies" / safe_key(key)

    def _head(self, key: str) -> Any:
        address = self._address(key)
        with explained("read", address, self.options):
            return head(self._client, address)

    def _upload(self, key: str, file: Path, digest: str, size: int) -> None:
        from botocore.exceptions import ClientError

        address, metadata = self._address(key), {_DIGEST: digest}
        if size < PART_BYTES:
            with file.open("rb") as body:
                self._client.put_object(Bucket=address.bucket, Key=address.key, Body=body, Metadata=metadata)
            return
        try:
            with transfer_manager(self._client) as manager:
                manager.upload(str(file), address.bucket, address.key, {"Metadata": metadata}).result()
        except KeyError as error:  # the reply to a part does not hold its ETag
            raise BrokenReplyError(str(error)) from error
        except ClientError as error:
            if code_of(error) != "NoSuchUpload":
                raise
            # All parts were put together, the reply was lost, and asking again finds nothing left to do.
            if not self.holds(key, digest, size):
                raise BrokenReplyError(code_of(error)) from error


def head(client: Any, address: S3Address) -> Any:
    """Return an object's properties, None when there is none.

    :raises botocore.exceptions.ClientError: S3 refuses. The reply to a HEAD request has nothing but its status, so the
        object itself is requested, and the reply to that says why S3 refuses.
    """
    from botocore.exceptions import ClientError

    def whole() -> Any:
        found = client.head_object(Bucket=address.bucket, Key=address.key)
        if "ContentLength" not in found:
            raise BrokenReplyError("no Content-Length")
        return found

    try:
        return _persistently(whole)
    except ClientError as error:
        if code_of(error) in _ABSENT:
            return None
        if code_of(error) in ("400", "403"):
            client.get_object(Bucket=address.bucket, Key=address.key, Range="bytes=0-0")
        raise


def download(client: Any, address: S3Address, into: BinaryIO) -> bool:
    """Write an object into a file at once, False when there is none."""
    from botocore.exceptions import ClientError

    def whole() -> bool:
        # Asked for outside of what is tried again: botocore does that itself.
        response = client.get_object(Bucket=address.bucket, Key=address.key)
        into.seek(0)
        into.truncate()
        if "ContentLength" not in response:
            raise BrokenReplyError("no Content-Length")
        for chunk in response["Body"].iter_chunks(_CHUNK):
            into.write(chunk)
        return True

    try:
        return _persistently(whole)
    except ClientError as error:
        if code_of(error) in _ABSENT:
            return False
        raise


def download_file(client: Any, address: S3Address, folder: Path, size: int) -> Path | None:
    """Download an object into a new file of a folder; None when there is none.

    :param size: a large one is fetched in several parts at once.
    """
    handle, name = tempfile.mkstemp(dir=folder)
    with open(handle, "w+b") as file:
        fetch = download if size < PART_BYTES else _download_parts
        if fetch(client, address, file):
            return Path(name)
    Path(name).unlink()
    return None


def _download_parts(client: Any, address: S3Address, into: BinaryIO) -> bool:
    from botocore.exceptions import ClientError

    def whole() -> bool:
        try:
            with transfer_manager(client) as manager:
                manager.download(address.bucket, address.key, into).result()
        except KeyError as error:  # the reply does not hold its size
            raise BrokenReplyError(str(error)) from error
        return True

    try:
        return _persistently(whole)
    except ClientError as error:
        if code_of(error) in _ABSENT:
            return False
        raise


def _persistently(call: Callable[[], Answer]) -> Answer:
    """Call again, after a moment, when a reply broke off."""
    from botocore.exceptions import IncompleteReadError, ReadTimeoutError, ResponseStreamingError

    broken = (BrokenReplyError, IncompleteReadError, ReadTimeoutError, ResponseStreamingError)
    for attempt in range(_TRIES - 1):
        try:
            return call()
        except broken:
            time.sleep(random.uniform(0, 0.1 * 2**attempt))
    return call()
