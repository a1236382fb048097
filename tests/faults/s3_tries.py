"""A store behind the fault proxy, which of its calls are to fail, and what may lie in it afterwards."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fault_proxy import DROP_AFTER, DROP_BEFORE, ERROR_500, SLOW_DOWN, TRUNCATE, Call

from airflow_mlops_provider.results import Receipt, StepResult
from airflow_mlops_provider.storage import ArtifactStore, S3Options

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from services.ceph import Ceph

    from airflow_mlops_provider.results import ArtifactRef

FAULTS = [ERROR_500, SLOW_DOWN, DROP_BEFORE, DROP_AFTER, TRUNCATE]


@dataclass
class Tried:
    """A store behind the proxy, and how it is seen past it."""

    ceph: Ceph
    root: str
    store: ArtifactStore

    def objects(self) -> dict[str, bytes]:
        bucket, _, prefix = self.root.removeprefix("s3://").partition("/")
        client = self.ceph.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return {
            key.removeprefix(f"{prefix}/"): client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys
        }

    def unfinished(self) -> list[list[Any]]:
        """Return the parts of each upload that was never ended."""
        bucket, _, prefix = self.root.removeprefix("s3://").partition("/")
        client = self.ceph.client()
        uploads = client.list_multipart_uploads(Bucket=bucket, Prefix=prefix).get("Uploads", [])
        requested = [{"Bucket": bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]} for upload in uploads]
        return [client.list_parts(**upload).get("Parts", []) for upload in requested]


def options(ceph: Ceph, **changes: Any) -> S3Options:
    settings = {
        "access_key": ceph.user.access_key,
        "secret_key": ceph.user.secret_key,
        "endpoint_url": ceph.endpoint,
        "origin": "connection 'artifacts'",
    }
    return S3Options(**{**settings, **changes})


def line_of(call: Call) -> str:
    """Return what a call asks for: ranges are calls of their own, the parts of another upload are not."""
    return re.sub(r"uploadId=[^&]+", "uploadId", f"{call.line} {call.headers.get('range', '')}")


def once_each(seen: set[str]) -> Callable[[Call], bool]:
    """Choose each call when it comes for the first time."""

    def first(call: Call) -> bool:
        new = line_of(call) not in seen
        seen.add(line_of(call))
        return new

    return first


def every_one() -> Callable[[Call], bool]:
    """Choose each call, also one that another task has made before: not the one that follows a failure."""
    failed: set[str] = set()

    def next_one(call: Call) -> bool:
        line = line_of(call)
        if line in failed:
            failed.remove(line)
            return False
        failed.add(line)
        return True

    return next_one


def check_whole(
    tried: Tried, results: list[StepResult], given_up: int = 0, others: Iterable[ArtifactRef] = ()
) -> dict[str, bytes]:
    """Hold that everything that is named is there and whole, that nothing else is, and return what is MLflow's.

    :param given_up: tries of `evaluate` that may have left an evaluation behind that no receipt names: it holds how
        fast the models answered, so another try makes another.
    :param others: objects that no receipt names.
    """
    objects = tried.objects()
    of_mlflow = {name: objects.pop(name) for name in list(objects) if name.startswith("mlflow/")}
    named = {
        f"receipts/{one.pipeline}/{one.step}/{one.key}/{what}.json"
        for one in results
        for what in ("receipt", "request")
    }
    refs = [*(ref for one in results for ref in one.artifacts.values()), *others]
    named |= {f"objects/{ref.sha256[:2]}/{ref.uri.rpartition('/')[2]}" for ref in refs}
    assert named <= set(objects)
    assert len(set(objects) - named) <= given_up
    check_objects(objects, [one.model_copy(update={"cached": False}) for one in results])
    assert tried.unfinished() == []
    return of_mlflow


def check_objects(objects: dict[str, bytes], results: Collection[StepResult]) -> None:
    """Hold that each object is whole, and each receipt one of these."""
    for name, content in objects.items():
        if name.startswith("objects/"):
            assert Path(name).name.startswith(hashlib.sha256(content).hexdigest())
        elif name.endswith("receipt.json"):
            assert Receipt.read(content, name).result() in results
