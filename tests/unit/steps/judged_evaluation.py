"""An evaluation as the gates get it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.evaluation.report import (
    CandidateScores,
    EvaluationReport,
    Interval,
    Latency,
    PredictionStats,
    Rows,
    Scores,
)
from airflow_mlops_provider.results import StepResult

if TYPE_CHECKING:
    from airflow_mlops_provider.storage import ArtifactStore

AS_OF = datetime(2013, 6, 1, tzinfo=UTC)


def evaluated(store: ArtifactStore, **changes: Any) -> StepResult:
    values: dict[str, Any] = {
        "task": "binary",
        "as_of": AS_OF,
        "metrics": ["log_loss"],
        "classes": [0, 1],
        "split": {"by": "time"},
        "folds": 1,
        "rows": Rows(total=100, training=80, holdout=20),
        "candidates": {"forest": CandidateScores(metrics={"log_loss": 0.412})},
        "winner": "forest",
        "intervals": {"log_loss": Interval(low=0.4, high=0.43, confidence=0.95, resamples=200)},
        "baseline": Scores(metrics={"log_loss": 0.6}),
        "latency": Latency(p50_ms=3, p95_ms=5, rows_per_second=50_000, calls=50, batch_rows=2000),
        "predictions": PredictionStats(rows=20, nulls=0, shares={"0": 0.9, "1": 0.1}, shift=0.05),
        "model_bytes": 3_000_000,
        "lineage": "0" * 64,
    }
    ref = store.add_json(EvaluationReport(**values | changes).model_dump(mode="json"))
    return StepResult(step="evaluate", pipeline="flights", key="a" * 64, as_of=AS_OF, artifacts={"evaluation": ref})
