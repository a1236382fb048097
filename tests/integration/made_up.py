"""Pipelines and ledgers that nobody trained: what pages are tested on, and how long they take."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import yaml

from airflow_mlops_provider.registry import LedgerEntry
from airflow_mlops_provider.results import ArtifactRef

if TYPE_CHECKING:
    from collections.abc import Mapping
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
    written = [entry(number, began + (number - 1) * _DAY) for number in range(1, entries + 1)]
    write_log(mlflow_uri, "ledger", model, {f"seq-{one.seq}": one.render() for one in written})


def write_log(mlflow_uri: str, kind: str, model: str, values: Mapping[str, str]) -> None:
    """Write what is written once, `ledger` or `decisions`, at once."""
    from mlflow import MlflowClient
    from mlflow.entities import Param

    client, shared = MlflowClient(mlflow_uri), f"mlops-{kind}"
    known = client.get_experiment_by_name(shared)
    tags = {"mlops.kind": kind, "mlops.model": model}
    run = client.create_run(known.experiment_id if known else client.create_experiment(shared), tags=tags)
    client.create_experiment(f"{kind}/{model}", tags={"run": run.info.run_id})
    client.log_batch(run.info.run_id, params=[Param(key, value) for key, value in values.items()])


def entry(number: int, at: datetime, **changes: Any) -> LedgerEntry:
    """Return one entry of a ledger."""
    sha = "a" * 64
    fields = {
        "seq": number,
        "idem": str(number),
        "version": number,
        "digest": f"digest-{number}",
        "sha256": sha,
        "artifact": ArtifactRef(uri=f"file:///store/{sha}.skops", sha256=sha, size=3),
        "lineage": f"lineage-{number}",
        "order_key": at,
        "at": at,
        "metrics": {"roc_auc": 0.7, "log_loss": 0.5},
        "gates": [["champion", True, "roc_auc 0.7", "better than 0.69"]] * 6,
        "reason": "all 6 gates passed",
    }
    return LedgerEntry(**fields | changes)
