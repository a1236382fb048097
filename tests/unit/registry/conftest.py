from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mlops_provider.registry import (
    CandidateRun,
    DatasetInfo,
    PromotionRequest,
    Publication,
    PublishedModel,
    Registry,
)
from airflow_mlops_provider.results import ArtifactRef

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SHA = "a" * 64


@pytest.fixture
def registry(mlflow_uri: str) -> Registry:
    return Registry.connect(mlflow_uri)


@pytest.fixture
def client(mlflow_uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(mlflow_uri)


@pytest.fixture
def versions(client: Any, tmp_path: Path) -> Callable[..., None]:
    def register(model: str, count: int) -> None:
        client.create_registered_model(model)
        for _ in range(count):
            client.create_model_version(model, str(tmp_path), await_creation_for=None)

    return register


@pytest.fixture
def request_for() -> Callable[..., PromotionRequest]:
    def build(version: int, day: int, compared_with: int | None = None, **changes: Any) -> PromotionRequest:
        fields = {
            "model": "flights",
            "idem": f"task-{version}",
            "version": version,
            "digest": f"digest-{version}",
            "sha256": SHA,
            "artifact": ArtifactRef(uri="file:///store/model.skops", sha256=SHA, size=3),
            "lineage": f"lineage-{day}",
            "order_key": datetime(2013, 3, day, tzinfo=UTC),
            "compared_with": compared_with,
            "metrics": {"roc_auc": 0.7},
            "gates": [{"name": "champion", "passed": True}],
            "reason": "better",
        }
        return PromotionRequest(**{**fields, **changes})

    return build


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import pandas as pd
    import skops.io
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frame = pd.DataFrame({"distance": [1.0, 2.0, 3.0, 4.0], "origin": ["JFK", "EWR", "JFK", "LGA"]})
    columns = ColumnTransformer(
        [("n", StandardScaler(), ["distance"]), ("c", OneHotEncoder(handle_unknown="ignore"), ["origin"])]
    )
    pipeline = make_pipeline(columns, LogisticRegression()).fit(frame, [0, 0, 1, 1])
    path = tmp_path_factory.mktemp("model") / "model.skops"
    skops.io.dump(pipeline, path)
    return path


@pytest.fixture
def publication(model_file: Path) -> Callable[..., Publication]:
    def build(day: int = 1, digest: str = "digest", **changes: Any) -> Publication:
        sha256 = hashlib.sha256(model_file.read_bytes()).hexdigest()
        info = PublishedModel(
            digest=digest,
            sha256=sha256,
            artifact=ArtifactRef(uri=model_file.as_uri(), sha256=sha256, size=model_file.stat().st_size),
            numeric=["distance"],
            categorical=["origin"],
            target="late",
            target_type="long",
            requirements=["scikit-learn==1.9.1", "skops==0.16.0"],
            trusted_types=["numpy.dtype"],
            input_example={"distance": [1.0, None], "origin": ["JFK", "EWR"]},
        )
        fields = {
            "model": "flights",
            "experiment": "flights",
            "lineage": f"lineage-{day}",
            "as_of": datetime(2013, 3, day, tzinfo=UTC),
            "name": f"2013-03-{day:02}",
            "tags": {"dag_id": "flights_training"},
            "dataset": DatasetInfo(name="flights", digest="d" * 64, uri="file:///store/x.parquet", rows=4),
            "candidates": [
                CandidateRun(
                    name="logistic",
                    step_key=f"key-logistic-{digest}",
                    params={"C": 1.0, "class_weight": None},
                    metrics={"roc_auc": 0.9},
                    tags={"code_version": "abc"},
                    started=datetime(2026, 11, 1, 12, tzinfo=UTC),
                    seconds=2.5,
                ),
                CandidateRun(name="forest", step_key=f"key-forest-{digest}", metrics={"roc_auc": 0.8}),
            ],
            "metrics": {"roc_auc": 0.9},
            "winner": "logistic",
            "model_info": info,
            "model_file": model_file,
        }
        return Publication(**{**fields, **changes})

    return build
