"""The held-out rows of a champion's reference: what its probabilities are calibrated by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.data.tables import read_table, table_info, table_schema
from airflow_mlops_provider.evaluation.report import EvaluationReport
from airflow_mlops_provider.modeling.predictions import probability_columns
from airflow_mlops_provider.monitoring.estimated_performance import MIN_BLOCK_ROWS, Reference, Unlabelled

if TYPE_CHECKING:
    from airflow_mlops_provider.job import Champion
    from airflow_mlops_provider.storage import ArtifactStore


def read_reference(store: ArtifactStore, champion: Champion) -> tuple[Reference | None, EvaluationReport | str]:
    """Return the held-out rows of a reference and the champion's evaluation; or None, and why there are none.

    :raises ArtifactError: when either is missing from the store, or damaged.
    """
    import numpy as np
    import pandas as pd

    if champion.reference is None or champion.evaluation is None:
        return None, champion.without("reference" if champion.reference is None else "evaluation")
    report = store.read_document(champion.evaluation, EvaluationReport)
    target = table_info(store, champion.reference).columns.target
    names = probability_columns(len(report.classes))
    present = table_schema(store, champion.reference).names
    if not names or any(name not in present for name in (*names, target)):
        return None, f"version {champion.version} has no probabilities in its reference"
    frame = read_table(store, champion.reference, [*names, target])
    scores = frame[names].to_numpy(dtype=np.float64)
    truth = pd.Index(report.classes, dtype=object).get_indexer(pd.Index(frame[target].astype(object)))
    known = np.isfinite(scores).all(axis=1) & (truth >= 0)
    if int(known.sum()) < MIN_BLOCK_ROWS:
        why = f"the reference of version {champion.version} holds {int(known.sum())} held-out rows"
        return None, f"{why}; {MIN_BLOCK_ROWS} are needed"
    unlabelled = Unlabelled(report.task, tuple(report.classes), _summing(scores[known]), report.challenger.threshold)
    return Reference(unlabelled, truth[known], report.rows.holdout), report


def _summing(scores: Any) -> Any:
    return scores / scores.sum(axis=1, keepdims=True)
