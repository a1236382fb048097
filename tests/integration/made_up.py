"""Pipelines and ledgers that nobody trained: what pages are tested on, and how long they take."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import yaml

from airflow_mlops_provider.registry import LedgerEntry
from airflow_mlops_provider.results import ArtifactRef

if TYPE_CHECKING:
    from pathlib import Path

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)


def write_pipeline(folder: Path, name: str, **changes: Any) -> None:
    """Write a small pipeline with all of its DAGs."""
    spec = {
        "name": name,
        "task": "binary",
        "data": {"source": {"uri": "rows.csv"}, "columns": {"target": "left", "numeric": ["age"]}},
        "preparation": {"split": {"by": "random"}},
        "training": {"candidates": {"plain": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
        "scoring": {},
        "monitoring": {},
        **changes,
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")


def write_ledger(mlflow_uri: str, model: str, entries: int, began: datetime = BEGAN) -> None:
    """Write a ledger at once, in the form in which it grows entry by entry: one a day."""
    from mlflow import MlflowClient
    from mlflow.entities import Param

    client = MlflowClient(mlflow_uri)
    shared = client.get_experiment_by_name("mlops-ledger")
    run = client.create_run(shared.experiment_id if shared else client.create_experiment("mlops-ledger"))
    client.create_experiment(f"ledger/{model}", tags={"run": run.info.run_id})
    written = [_entry(number, began + (number - 1) * _DAY) for number in range(1, entries + 1)]
    client.log_batch(run.info.run_id, params=[Param(f"seq-{one.seq}", one.render()) for one in written])


def _entry(number: int, at: datetime) -> LedgerEntry:
    sha = "a" * 64
    return LedgerEntry(
        seq=number,
        idem=str(number),
        version=number,
        digest=f"digest-{number}",
        sha256=sha,
        artifact=ArtifactRef(uri=f"file:///store/{sha}.skops", sha256=sha, size=3),
        lineage=f"lineage-{number}",
        order_key=at,
        at=at,
        metrics={"roc_auc": 0.7, "log_loss": 0.5},
        gates=[["champion", True, "roc_auc 0.7", "better than 0.69"]] * 6,
        reason="all 6 gates passed",
    )
