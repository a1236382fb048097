"""Objects of a store: what is put there, where it lies, and how it is damaged."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.results import ArtifactRef, StepResult
from airflow_mlops_provider.storage import local_path

if TYPE_CHECKING:
    from airflow_mlops_provider.storage import ArtifactStore

KEY = "a" * 64
AS_OF = datetime(2013, 3, 1, tzinfo=UTC)


def receipt(artifacts: dict[str, ArtifactRef] | None = None, **changes: Any) -> StepResult:
    values = {
        "step": "train",
        "pipeline": "tested",
        "key": KEY,
        "as_of": AS_OF,
        "artifacts": artifacts or {},
        **changes,
    }
    return StepResult(**values)


def commit(store: ArtifactStore, result: StepResult) -> None:
    """Write a receipt as a step does: with its request."""
    request = store.write_request(result.pipeline, result.step, result.key, "{}")
    store.write_receipt(result, request)


class Place:
    """Where the objects of a store lie, as somebody sees it who goes past the store."""

    def __init__(self, root: str, client: Any = None) -> None:
        self.root, self.client = root, client
        self.bucket, _, self.prefix = root.removeprefix("s3://").partition("/")

    def names(self) -> list[str]:
        if self.client is None:
            root = local_path(self.root)
            return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=f"{self.prefix}/")
        return [entry["Key"].removeprefix(f"{self.prefix}/") for page in pages for entry in page.get("Contents", [])]

    def read(self, name: str) -> bytes:
        if self.client is None:
            return (local_path(self.root) / name).read_bytes()
        content: bytes = self.client.get_object(Bucket=self.bucket, Key=f"{self.prefix}/{name}")["Body"].read()
        return content

    def write(self, name: str, content: bytes) -> None:
        if self.client is None:
            path = local_path(self.root) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        else:
            self.client.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{name}", Body=content)

    def remove(self, name: str) -> None:
        if self.client is None:
            (local_path(self.root) / name).unlink()
        else:
            self.client.delete_object(Bucket=self.bucket, Key=f"{self.prefix}/{name}")

    def beside(self, name: str) -> Place:
        return Place(f"{self.root.rpartition('/')[0]}/{name}", self.client)


def forged(ref: ArtifactRef, **changes: Any) -> ArtifactRef:
    return ref.model_copy(update=changes)


def key_of(ref: ArtifactRef) -> str:
    return "objects/" + ref.uri.rpartition("/objects/")[2]


def damage_missing(place: Place, ref: ArtifactRef) -> None:
    place.remove(key_of(ref))


def damage_truncated(place: Place, ref: ArtifactRef) -> None:
    place.write(key_of(ref), place.read(key_of(ref))[:-1])


def damage_changed(place: Place, ref: ArtifactRef) -> None:
    place.write(key_of(ref), b"X" + place.read(key_of(ref))[1:])
