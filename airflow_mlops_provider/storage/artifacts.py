"""Artifacts and receipts of pipelines, wherever their objects are kept."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_mlops_provider.bounds import MAX_DOCUMENT_BYTES, parse_json
from airflow_mlops_provider.exceptions import ArtifactError, NewerDocumentError, ResultTooLargeError
from airflow_mlops_provider.failpoints import failpoint
from airflow_mlops_provider.results import ArtifactRef, Receipt, StepResult
from airflow_mlops_provider.storage.addresses import is_s3, local_path, s3_address, safe_key
from airflow_mlops_provider.storage.disk_errors import explained
from airflow_mlops_provider.storage.local import LocalObjects, sha256_of
from airflow_mlops_provider.storage.s3 import S3Objects
from airflow_mlops_provider.storage.s3_client import S3Options

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_mlops_provider.documents import Document
    from airflow_mlops_provider.storage.objects import Objects

Stored = TypeVar("Stored", bound="Document")

log = logging.getLogger(__name__)

_SUFFIX = re.compile(r"(\.[a-z0-9]{1,12}){1,2}")
_MAKE_ANEW = "Clear the task that made it, so that it is computed again."
_OVERWRITE = "Clear the task that made it with the Param `recompute` set, so that it is replaced."


class ArtifactStore:
    """The artifacts and receipts of pipelines, under one root URI.

    :param root: a local path, `file:///absolute/path` or `s3://bucket/prefix`.
    :param options: how S3 is reached; sources on S3 are reached the same way.
    :param secret: what receipts are signed with; one that is not signed so does not count then.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     store = ArtifactStore(folder)
    ...     ref = store.add_json({"rows": 3})
    ...     store.read_json(ref)
    {'rows': 3}
    """

    def __init__(self, root: str, options: S3Options | None = None, secret: str | None = None) -> None:
        self.root = root
        self.options = options or S3Options()
        self.secret = secret
        self.objects: Objects = (
            S3Objects(s3_address(root), self.options) if is_s3(root) else LocalObjects(local_path(root).resolve())
        )
        self._checked: set[str] = set()

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """Yield a scratch folder for files that `add` takes over; removed at the end."""
        with self.objects.workspace() as folder:
            yield folder

    def add(self, file: Path, suffix: str) -> ArtifactRef:
        """Store a finished file of the workspace under its digest; the file is gone afterwards."""
        if not _SUFFIX.fullmatch(suffix):
            raise ArtifactError("this artifact suffix is not allowed", got=suffix, expected="such as '.parquet'")
        digest, size = sha256_of(file), file.stat().st_size
        key = f"objects/{digest[:2]}/{digest}{suffix}"
        if self.objects.holds(key, digest, size):
            file.unlink()  # a damaged object of the same size is replaced instead
        else:
            self.objects.put(key, file, digest)
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
        key = self._key(ref)
        path = self.objects.fetch(key, ref.size)
        if path is None:
            raise ArtifactError(f"artifact {ref.uri} is missing", hint=_MAKE_ANEW)
        if ref.sha256 not in self._checked:
            try:
                _check(path, ref)
            except ArtifactError:
                self.objects.forget(key)
                raise
            self._checked.add(ref.sha256)
        return path

    def has(self, ref: ArtifactRef) -> bool:
        """Return whether something of an artifact's size is there; its bytes are not read."""
        return self.objects.size(self._key(ref)) == ref.size

    def holds(self, ref: ArtifactRef) -> bool:
        """Return whether an artifact is there and unchanged, as far as the place itself can tell: a disk reads it."""
        return self.objects.holds(self._key(ref), ref.sha256, ref.size)

    def check(self, ref: ArtifactRef) -> None:
        """Read an artifact whole, whatever was read of it before.

        :raises ArtifactError: when it is missing, or differs in size or digest.
        """
        self._checked.discard(ref.sha256)
        self.objects.forget(self._key(ref))
        self.fetch(ref)

    def put_back(self, ref: ArtifactRef, file: Path) -> None:
        """Take over a copy of an artifact that was lost; the file is gone afterwards.

        :raises ArtifactError: when it is not that artifact.
        """
        _check(file, ref)
        self.objects.put(self._key(ref), file, ref.sha256)

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
        """Return a stored JSON value.

        :raises ArtifactError: when it is missing, changed, no JSON, too large or nested too deeply.
        """
        path = self.fetch(ref)
        try:
            if ref.size > MAX_DOCUMENT_BYTES:
                raise ValueError(f"{ref.size} bytes, more than {MAX_DOCUMENT_BYTES}")
            with explained("read", path):
                return parse_json(path.read_bytes())
        except ValueError as error:
            raise ArtifactError(
                f"artifact {ref.uri} cannot be read as JSON", got=str(error), hint=_OVERWRITE
            ) from error

    def add_document(self, document: Document) -> ArtifactRef:
        """Store a document."""
        return self.add_json(document.stored())

    def read_document(self, ref: ArtifactRef, kind: type[Stored]) -> Stored:
        """Return a stored document.

        :raises ArtifactError: it is gone, changed, or nothing of that kind.
        :raises NewerDocumentError: a later release has stored it.
        """
        return kind.read(self.read_json(ref), f"artifact {ref.uri}")

    def read_receipt(self, pipeline: str, step: str, key: str) -> StepResult | None:
        """Return the committed result of a step, None when there is none, it does not count, or not all of it is there.

        That is its request, by which the step can be run again, and its artifacts.

        :raises NewerDocumentError: a later release has stored it.
        """
        receipt = self._receipt(pipeline, step, key)
        if receipt is None:
            return None
        if self.objects.size(_receipt_key(pipeline, step, key, "request")) is None:
            log.warning("The request behind receipt %s of %s is missing: both are computed again.", key, step)
            return None
        for role, ref in receipt.artifacts.items():
            if not self.has(ref):
                log.warning("Artifact %r of %s is missing or damaged and is computed again: %s", role, step, ref.uri)
                return None
        return receipt.result().model_copy(update={"cached": True})

    def write_receipt(self, result: StepResult, request: str | None = None) -> None:
        """Commit a step's result.

        :param request: what `write_request` returned.
        """
        key = _receipt_key(result.pipeline, result.step, result.key)
        receipt = Receipt.of(result, request, self.secret)
        with self.workspace() as folder:
            file = folder / "receipt.json"
            file.write_text(json.dumps(receipt.stored(release=True, exclude={"cached"}), indent=1), encoding="utf-8")
            failpoint(f"{result.step}.receipt.before")
            self.objects.put(key, file)
            failpoint(f"{result.step}.receipt.after")

    def write_request(self, pipeline: str, step: str, key: str, request: str) -> str:
        """Keep the request behind a receipt, so that the step can be run again with one thing changed.

        :return: its sha256, which the receipt names.
        """
        with self.workspace() as folder:
            file = folder / "request.json"
            file.write_text(request, encoding="utf-8")
            digest = sha256_of(file)
            self.objects.put(_receipt_key(pipeline, step, key, "request"), file)
        return digest

    def read_request(self, result: StepResult) -> bytes:
        """Return the request behind a result, as JSON.

        :raises ArtifactError: when it is gone, or not the one that the receipt names.
        """
        what = f"the request behind step {result.step!r} of {result.pipeline!r}"
        raw = self.objects.read(_receipt_key(result.pipeline, result.step, result.key, "request"))
        if raw is None:
            raise ArtifactError(f"{what} is missing", got=result.key, hint=_MAKE_ANEW)
        receipt = self._receipt(result.pipeline, result.step, result.key)
        if receipt is None and self.secret is not None:
            raise ArtifactError(f"{what} has no valid receipt", got=result.key, hint=_OVERWRITE)
        digest = hashlib.sha256(raw).hexdigest()
        if receipt is not None and receipt.request not in (None, digest):
            raise ArtifactError(f"{what} was changed", got=digest, expected=receipt.request, hint=_OVERWRITE)
        return raw

    def _receipt(self, pipeline: str, step: str, key: str) -> Receipt | None:
        """Return a receipt that counts, whatever became of its artifacts."""
        name = _receipt_key(pipeline, step, key)
        try:
            raw = self.objects.read(name)
            receipt = None if raw is None else Receipt.read(raw, f"receipt {self.objects.uri(name)}")
            if receipt is not None:
                receipt.result().xcom()  # what is no result of a task was never committed
        except NewerDocumentError:
            raise
        except (ArtifactError, ResultTooLargeError) as error:
            log.warning("Receipt %s of %s cannot be read and is computed again: %s", key, step, error)
            return None
        if receipt is None:
            return None
        if (receipt.pipeline, receipt.step, receipt.key) != (pipeline, step, key):
            log.warning("Receipt %s of %s belongs to another step and is computed again.", key, step)
            return None
        if self.secret is not None and not receipt.is_signed_with(self.secret):
            why = "it has no signature" if receipt.signature is None else "it, or the secret, was changed"
            log.warning(
                "Receipt %s of %s is not signed with the store's secret and is computed again: %s.", key, step, why
            )
            return None
        return receipt

    def _key(self, ref: ArtifactRef) -> str:
        """Return the object key behind a reference: its file name says it, whatever root it was written under."""
        name = ref.uri.rsplit("/", 1)[-1]
        if name[: len(ref.sha256)] != ref.sha256 or not _SUFFIX.fullmatch(name[len(ref.sha256) :]):
            raise ArtifactError("this artifact's address does not contain its digest", got=ref.uri, expected=ref.sha256)
        return f"objects/{ref.sha256[:2]}/{name}"


def _check(path: Path, ref: ArtifactRef) -> None:
    with explained("read", path):
        size, digest = path.stat().st_size, sha256_of(path)
    if size != ref.size:
        raise ArtifactError(
            f"artifact {ref.uri} is damaged", got=f"{size} bytes", expected=f"{ref.size} bytes", hint=_MAKE_ANEW
        )
    if digest != ref.sha256:
        raise ArtifactError(f"artifact {ref.uri} was changed", got=digest, expected=ref.sha256, hint=_OVERWRITE)


def _receipt_key(pipeline: str, step: str, key: str, document: str = "receipt") -> str:
    return safe_key(f"receipts/{pipeline}/{step}/{key}/{document}.json")
