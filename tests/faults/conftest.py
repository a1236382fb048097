from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

# The proxy that faults are made with, and the services that stand behind it.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fault_proxy import FaultProxy
    from s3_tries import Tried
    from services.ceph import Ceph


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    # Between two tries of an S3 call lie random seconds: what is tested here is what is tried.
    for module in ("botocore.endpoint", "airflow_mlops_provider.storage.s3"):
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(sleep=lambda seconds: None))


@pytest.fixture(scope="module")
def bucket(ceph: Ceph) -> str:
    return ceph.bucket()


@pytest.fixture
def s3_proxy(ceph: Ceph) -> Iterator[FaultProxy]:
    from fault_proxy import FaultProxy

    with FaultProxy(ceph.endpoint) as proxy:
        yield proxy


@pytest.fixture
def tried(ceph: Ceph, bucket: str, s3_proxy: FaultProxy, tmp_path: Path) -> Tried:
    from s3_tries import Tried, options

    from airflow_mlops_provider.storage import ArtifactStore

    root = f"s3://{bucket}/{tmp_path.name}"
    return Tried(ceph, root, ArtifactStore(root, options(ceph, endpoint_url=s3_proxy.url)))
