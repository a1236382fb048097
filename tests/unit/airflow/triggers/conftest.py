from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mlops_provider.registry import PromotionRequest, Registry
from airflow_mlops_provider.results import ArtifactRef

if TYPE_CHECKING:
    from collections.abc import Callable

# What the tests of triggers share.
sys.path.insert(0, str(Path(__file__).parent))

SHA = "a" * 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "day=2013-03-01"
    folder.mkdir()
    return folder


@pytest.fixture
def registry(mlflow_uri: str, connection: Callable[..., None], supervisor: Any) -> Registry:
    connection("mlflow_default", conn_type="mlflow", host=mlflow_uri, password="s3cret")
    return Registry.connect(mlflow_uri)


@pytest.fixture
def promote(registry: Registry, mlflow_uri: str, tmp_path: Path) -> Callable[[], None]:
    from mlflow import MlflowClient

    client = MlflowClient(mlflow_uri)
    client.create_registered_model("flights")

    def promote() -> None:
        version = int(client.create_model_version("flights", str(tmp_path), await_creation_for=None).version)
        request = PromotionRequest(
            model="flights",
            idem=f"task-{version}",
            version=version,
            digest=f"digest-{version}",
            sha256=SHA,
            artifact=ArtifactRef(uri="file:///store/model.skops", sha256=SHA, size=3),
            lineage=f"lineage-{version}",
            order_key=datetime(2013, 3, version, tzinfo=UTC),
            compared_with=version - 1 or None,
        )
        assert registry.promote(request).entry is not None

    return promote
