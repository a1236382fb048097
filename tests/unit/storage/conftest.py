from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from services.ceph import Ceph
    from stored_objects import Place

    from airflow_mlops_provider.storage import ArtifactStore

# What the tests of storage share.
sys.path.insert(0, str(Path(__file__).parent))


# Every store passes the same tests. On S3 the keys come from botocore's own chain, here as in other processes.
@pytest.fixture(params=["file", "s3", "s3 versioned"])
def store_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return (tmp_path / "store").as_uri()
    buckets = request.getfixturevalue("buckets")
    request.getfixturevalue("s3_chain")
    return f"s3://{buckets[request.param]}/{tmp_path.name}/store"


@pytest.fixture(scope="session")
def buckets(ceph: Ceph) -> dict[str, str]:
    return {"s3": ceph.bucket(), "s3 versioned": ceph.bucket(versioned=True)}


@pytest.fixture
def s3_chain(ceph: Ceph, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ceph.environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def place(store: ArtifactStore, request: pytest.FixtureRequest) -> Place:
    from stored_objects import Place

    client = request.getfixturevalue("ceph").client() if store.root.startswith("s3") else None
    return Place(store.root, client)
