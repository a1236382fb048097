"""Artifacts: the only module that opens their URIs.

A data object is named by its own sha256, so writers that race write the same bytes to the same name.
A receipt refers to data objects and is written last: it is the commit point of a step. Readers check
size and digest. Nothing is ever visible half-written: a file is written under a temporary name, flushed
to disk, and renamed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from pydantic import ValidationError

from airflow_mlops_provider.exceptions import ArtifactError, DataError
from airflow_mlops_provider.failpoints import failpoint
from airflow_mlops_provider.results import ArtifactRef, StepResult

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

#: A scratch folder older than a day belongs to a process that was killed.
_SCRATCH_SECONDS = 24 * 3600
_SUFFIX = re.compile(r"(\.[a-z0-9]{1,12}){1,2}")
_MAKE_ANEW = "Clear the task that made it with the Param `recompute` set."


def safe_key(key: str) -> str:
    """Return `key` when it can only address an object inside its store.

    :raises ArtifactError: for an empty, absolute or dotted key, NUL, backslash, or `%`, which some stores decode.

    >>> safe_key("receipts/train/ab12/receipt.json")
    'receipts/train/ab12/receipt.json'
    """
    parts = key.split("/")
    if any(part in ("", ".", "..") for part in parts) or any(mark in key for mark in ("\0", "\\", "%")):
        raise ArtifactError(
            "this object key may not be used", got=key, expected="a relative path without '..', '%', '\\' or NUL"
        )
    return key


def local_path(uri: str) -> Path:
    """Return the path that a `file://` URI or a plain path names.

    :raises ArtifactError: for any other scheme.
    """
    parts = urlsplit(uri)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    if parts.scheme == "":
        return Path(uri)
    raise ArtifactError("this place cannot be opened", got=uri, expected="a local path or file:///absolute/path")


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file, read in bounded pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class SourceFile(NamedTuple):
    """One file of a source, and what tells that it changed.

    :param name: path below the listed folder, or the file's own name.
    :param version: size and time of change; on other stores an ETag.
    :param size: in bytes.
    """

    uri: str
    name: str
    version: str
    size: int


def list_files(uri: str) -> list[SourceFile]:
    """Return the file that a URI names, or every file below the folder that it names, sorted by name.

    Names that begin with `.` or `_` (markers, temporary files) are left out, as Spark and Arrow do.

    :raises DataError: when there is nothing.
    """
    root = local_path(uri)
    if root.is_file():
        return [_source_file(root, root.name)]
    if not root.is_dir():
        raise DataError(f"source {uri} is missing", expected="a file, or a folder of files", hint="Correct the path.")
    names = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return [
        _source_file(root / name, name.as_posix())
        for name in names
        if not any(part.startswith((".", "_")) for part in name.parts)
    ]


def fetch_file(file: SourceFile) -> Path:
    """Return a local file with the bytes of a source file. Never write to it."""
    return local_path(file.uri)


def _source_file(path: Path, name: str) -> SourceFile:
    status = path.stat()
    return SourceFile(str(path), name, f"{status.st_size}-{status.st_mtime_ns}", status.st_size)


class LocalObjects:
    """Objects as files under one folder."""

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

    def read(self, key: str) -> bytes | None:
        """Return a small object, None when there is none."""
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            return None

    def fetch(self, key: str) -> Path:
        """Return a local file with the object's bytes, which may be the object itself: never write to it."""
        return self._path(key)

    def put(self, key: str, file: Path) -> None:
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


class ArtifactStore:
    """The artifacts and receipts of pipelines, under one root URI.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = ArtifactStore(folder)
    ...     ref = store.add_json({"rows": 3})
    ...     store.read_json(ref)
    {'rows': 3}
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.objects = LocalObjects(local_path(root).resolve())
        self._checked: set[str] = set()

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """Yield a scratch folder for files that `add` takes over; removed at the end."""
        with self.objects.workspace() as folder:
            yield folder

    def add(self, file: Path, suffix: str) -> ArtifactRef:
        """Store a finished file of the workspace under its digest; the file is gone afterwards."""
        if not _SUFFIX.fullmatch(suffix):
            raise ArtifactError("this artifact suffix may not be used", got=suffix, expected="such as '.parquet'")
        digest, size = sha256_of(file), file.stat().st_size
        key = f"objects/{digest[:2]}/{digest}{suffix}"
        if self.objects.size(key) == size and sha256_of(self.objects.fetch(key)) == digest:
            file.unlink()  # a damaged object of the same size is replaced instead
        else:
            self.objects.put(key, file)
        return ArtifactRef(uri=self.objects.uri(key), sha256=digest, size=size)

    def add_bytes(self, data: bytes, suffix: str) -> ArtifactRef:
        """Store bytes under their digest."""
        with self.workspace() as folder:
            file = folder / "object"
            file.write_bytes(data)
            return self.add(file, suffix)

    def add_json(self, value: Any) -> ArtifactRef:
        """Store a JSON value; numbers that are not finite are refused."""
        return self.add_bytes(json.dumps(value, allow_nan=False, sort_keys=True).encode(), ".json")

    def fetch(self, ref: ArtifactRef) -> Path:
        """Return a local file that holds exactly the artifact. Never write to it.

        :raises ArtifactError: when it is missing, or differs in size or digest.
        """
        path = self.objects.fetch(self._key(ref))
        if ref.sha256 not in self._checked:
            if not path.is_file():
                raise ArtifactError(f"artifact {ref.uri} is missing", hint=_MAKE_ANEW)
            if (size := path.stat().st_size) != ref.size:
                raise ArtifactError(
                    f"artifact {ref.uri} is damaged",
                    got=f"{size} bytes",
                    expected=f"{ref.size} bytes",
                    hint=_MAKE_ANEW,
                )
            if (digest := sha256_of(path)) != ref.sha256:
                raise ArtifactError(f"artifact {ref.uri} was changed", got=digest, expected=ref.sha256, hint=_MAKE_ANEW)
            self._checked.add(ref.sha256)
        return path

    def publish(self, ref: ArtifactRef, key: str) -> str:
        """Put a copy of an artifact under a name of its own, for readers outside, and return its address.

        What was there before is replaced as a whole: a reader sees the one or the other.

        :raises ArtifactError: when the key may not be used, or the artifact is missing or changed.
        """
        safe_key(key)
        with self.workspace() as folder:
            file = folder / "copy"
            shutil.copyfile(self.fetch(ref), file)
            self.objects.put(key, file)
        return self.objects.uri(key)

    def read_json(self, ref: ArtifactRef) -> Any:
        """Return a stored JSON value."""
        return json.loads(self.fetch(ref).read_bytes())

    def read_receipt(self, pipeline: str, step: str, key: str) -> StepResult | None:
        """Return the committed result of a step, None when there is none or its artifacts are gone."""
        raw = self.objects.read(_receipt_key(pipeline, step, key))
        if raw is None:
            return None
        try:
            result = StepResult.model_validate_json(raw)
        except ValidationError as error:
            log.warning("Receipt %s of %s is not readable and is made anew: %s", key, step, error)
            return None
        if (result.pipeline, result.step, result.key) != (pipeline, step, key):
            log.warning("Receipt %s of %s is another step's and is made anew.", key, step)
            return None
        for role, ref in result.artifacts.items():
            if self.objects.size(self._key(ref)) != ref.size:
                log.warning("Artifact %r of %s is missing or damaged and is made anew: %s", role, step, ref.uri)
                return None
        return result.model_copy(update={"cached": True})

    def write_receipt(self, result: StepResult) -> None:
        """Commit a step's result."""
        key = _receipt_key(result.pipeline, result.step, result.key)
        with self.workspace() as folder:
            file = folder / "receipt.json"
            file.write_text(result.model_dump_json(indent=1, exclude={"cached"}), encoding="utf-8")
            failpoint(f"{result.step}.receipt.before")
            self.objects.put(key, file)
            failpoint(f"{result.step}.receipt.after")

    def write_request(self, pipeline: str, step: str, key: str, request: str) -> None:
        """Keep the request behind a receipt, so that the step can be run again with one thing changed."""
        with self.workspace() as folder:
            file = folder / "request.json"
            file.write_text(request, encoding="utf-8")
            self.objects.put(_receipt_key(pipeline, step, key, "request"), file)

    def read_request(self, result: StepResult) -> str:
        """Return the request behind a result, as JSON.

        :raises ArtifactError: when it is gone.
        """
        raw = self.objects.read(_receipt_key(result.pipeline, result.step, result.key, "request"))
        if raw is None:
            raise ArtifactError(
                f"the request behind step {result.step!r} of {result.pipeline!r} is missing",
                got=result.key,
                hint="Clear that task with the Param `recompute` set.",
            )
        return raw.decode()

    def _key(self, ref: ArtifactRef) -> str:
        """Return the object key behind a reference: its file name says it, whatever root it was written under."""
        name = ref.uri.rsplit("/", 1)[-1]
        if not name.startswith(ref.sha256):
            raise ArtifactError("this artifact's address does not hold its digest", got=ref.uri, expected=ref.sha256)
        return f"objects/{ref.sha256[:2]}/{name}"


def _receipt_key(pipeline: str, step: str, key: str, document: str = "receipt") -> str:
    return safe_key(f"receipts/{pipeline}/{step}/{key}/{document}.json")
