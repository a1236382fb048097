"""Data that arrives: a file or a folder that is there, holds something, and is complete."""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import DataError, SpecError
from airflow_mlops_provider.hooks.object_storage import ObjectStorageHook
from airflow_mlops_provider.redaction import shown
from airflow_mlops_provider.storage import is_s3, list_files, safe_key
from airflow_mlops_provider.triggers.polling import PollingTrigger, PollResult, in_thread
from airflow_mlops_provider.triggers.registry import import_quietly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.storage import S3Options, SourceFile

# A network disk that hangs holds these threads, and nobody else's.
_THREADS = ThreadPoolExecutor(4, thread_name_prefix="mlops-arrival")


class DataArrivalTrigger(PollingTrigger):
    """Fire when data is there and complete; arguments as `look_for_data`."""

    def __init__(
        self,
        *,
        uri: str,
        marker: str | None,
        stable_for: float | None,
        poke_interval: float,
        memory: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(poke_interval=poke_interval, memory=memory, uri=uri, marker=marker, stable_for=stable_for)

    async def look(self, memory: dict[str, Any]) -> PollResult:
        """List the files in a thread."""
        options = None
        if is_s3(str(self.question["uri"])):
            options = await ObjectStorageHook().aoptions()  # read anew: it may have been corrected since
            await in_thread(_THREADS, import_quietly, "boto3")
        return await in_thread(_THREADS, look_for_data, memory=memory, options=options, **self.question)


def look_for_data(
    uri: str,
    *,
    marker: str | None,
    stable_for: float | None,
    memory: dict[str, Any],
    options: S3Options | None = None,
) -> PollResult:
    """Look once whether the data at a URI is complete.

    It is when it holds bytes and either the marker lies in the folder, or nothing about its files has changed between
    the first look that saw them so and now, `stable_for` seconds later. That first look, by the clock of the machine
    that looked, is what `memory` keeps. A file's own time of change proves nothing: copying tools set it back.

    :param marker: name of the file that says that a folder is complete; None to go by time alone.
    :param stable_for: seconds; None to go by the marker alone.
    :param options: how S3 is reached.
    :raises SpecError: the question makes no sense.
    :raises StorageError: the disk or S3 refuses.
    :raises TransientServiceError: the place cannot be read now.
    """
    _check(uri, marker, stable_for)
    files = _files(uri, options)
    size = sum(file.size for file in files)
    if size == 0:
        return PollResult(missing=f"{uri} {'is still empty' if files else 'does not exist yet'}.")
    fingerprint = _fingerprint(files)
    found = {"uri": uri, "files": len(files), "size": size, "fingerprint": fingerprint}
    if marker is not None and _files(f"{uri.rstrip('/')}/{marker}", options):
        return PollResult(found={**found, "complete_by": marker})
    if stable_for is None:
        return PollResult(missing=f"{uri} does not have its marker {marker} yet.")
    now = time.time()
    # A clock that was set back must not make the wait longer than `stable_for`.
    since = min(float(memory["since"]), now) if memory.get("fingerprint") == fingerprint else now
    if now - since >= stable_for:
        return PollResult(found={**found, "complete_by": "stability"})
    return PollResult(
        memory={"fingerprint": fingerprint, "since": since},
        missing=f"{uri} has {len(files)} files of {size} bytes, which must not change for {stable_for:g} s.",
        again=stable_for - (now - since),
    )


def _check(uri: str, marker: str | None, stable_for: float | None) -> None:
    if not uri.startswith("/") and "://" not in uri:
        # A worker and the triggerer need not stand in the same folder.
        raise SpecError(
            "the path of a data sensor is not absolute",
            got=shown(uri),
            expected="/data/…, file:///… or s3://…",
        )
    if marker is None and stable_for is None:
        raise SpecError(f"nothing would show that {shown(uri)} is complete", expected="`marker`, `stable_for` or both")
    if stable_for is not None and stable_for < 0:
        raise SpecError("stable_for is negative", got=stable_for, expected="0 s or more")
    if marker is not None:
        safe_key(marker)


def _files(uri: str, options: S3Options | None) -> Sequence[SourceFile]:
    try:
        return list_files(uri, options)
    except DataError:  # nothing is there
        return ()


def _fingerprint(files: Sequence[SourceFile]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\0{file.version}\0".encode())
    return digest.hexdigest()
