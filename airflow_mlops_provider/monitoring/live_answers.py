"""What versions say of a window's labelled rows, and what was true of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.data.tables import read_table, table_info, table_schema
from airflow_mlops_provider.evaluation.holdout import predict_rows
from airflow_mlops_provider.evaluation.metrics import predictions_of
from airflow_mlops_provider.evaluation.resampling import group_units
from airflow_mlops_provider.exceptions import DataError, ModelError, shorten
from airflow_mlops_provider.modeling.model_file import load_model
from airflow_mlops_provider.modeling.splits import microseconds, row_hashes
from airflow_mlops_provider.modeling.threshold import threshold_of
from airflow_mlops_provider.monitoring.live_metrics import plan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.custom_metrics import OwnMetrics
    from airflow_mlops_provider.evaluation.metrics import Predictions
    from airflow_mlops_provider.evaluation.report import EvaluationReport
    from airflow_mlops_provider.evaluation.resampling import Units
    from airflow_mlops_provider.job import Champion, Job
    from airflow_mlops_provider.monitoring.live_metrics import Plan
    from airflow_mlops_provider.spec.frozen import Task

#: Rows that are predicted: more would make the interval narrower than any margin, and cost minutes.
_MAX_ROWS = 200_000


@dataclass(frozen=True)
class LivePredictions:
    """What one version says of the rows, or why it cannot."""

    version: int
    classes: list[Any]
    scores: NDArray[Any] | None = None
    unusable: str | None = None
    threshold: float | None = None


def spread(rows: int) -> NDArray[Any]:
    """Return positions of rows: all, or an even spread of them."""
    import numpy as np

    size = min(rows, _MAX_ROWS)
    return np.arange(size, dtype=np.int64) * rows // size


def predict_with(job: Job, version: Champion, rows: NDArray[Any], task: Task) -> LivePredictions:
    """Return what a version says of some rows (ascending positions in the dataset).

    :raises ArtifactError: when its model is missing from the store, or damaged.
    """
    try:
        pipeline = load_model(job.store, version.model, job.allow_list)
        scores = predict_rows(job.store, job.artifact("dataset", "dataset"), rows, pipeline, task)
    except (DataError, ModelError) as error:
        return LivePredictions(version.version, [], unusable=shorten(str(error)))
    return LivePredictions(
        version.version, list(getattr(pipeline, "classes_", ())), scores, threshold=threshold_of(pipeline)
    )


def comparable(champion: LivePredictions, former: LivePredictions) -> LivePredictions:
    """Return the former champion's answer, unusable when it is about other classes."""
    if champion.scores is None or former.scores is None or champion.classes == former.classes:
        return former
    return LivePredictions(
        former.version, former.classes, unusable=f"it has different classes: {shorten(former.classes, 100)}"
    )


def truth_of(
    job: Job, task: Task, rows: NDArray[Any], answer: LivePredictions | None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the target of the rows as numbers, and which of them a model could have got right."""
    import numpy as np
    import pandas as pd

    dataset = job.artifact("dataset", "dataset")
    name = table_info(job.store, dataset).columns.target
    target = read_table(job.store, dataset, [name])[name].iloc[rows]
    if task == "regression":
        values = target.to_numpy(dtype=np.float64)
        return values, np.isfinite(values)
    classes = [] if answer is None else answer.classes
    codes = pd.Index(classes, dtype=object).get_indexer(pd.Index(target.astype(object)))
    return codes, codes >= 0


def plan_of(job: Job, measured: EvaluationReport | None, rows: NDArray[Any]) -> Plan:
    """Return what resamples of a window draw: by the holdout's plan, with the window's own timestamps.

    :param measured: the champion's evaluation.
    :param rows: ascending positions in the dataset.
    """
    dataset = job.artifact("dataset", "dataset")
    info, resampled = table_info(job.store, dataset), None if measured is None else measured.resampled
    group = None if resampled is None else resampled.group
    groups = None
    if group is not None and group in table_schema(job.store, dataset).names:
        groups = group_units(row_hashes(job.store, dataset, [group])[rows], group)
    if (timestamp := info.columns.timestamp) is None:
        return plan(len(rows), groups)
    moments = microseconds(read_table(job.store, dataset, [timestamp])[timestamp])[rows]
    return plan(len(rows), groups, moments, (resampled and resampled.block) or info.label_delay)


def predictions_from(
    task: Task,
    answer: LivePredictions,
    truth: NDArray[Any],
    known: NDArray[Any],
    units: Units,
    own: OwnMetrics | None = None,
) -> Predictions | None:
    """Return an answer beside the truth, None when there is none.

    :param known: of the rows, which to take.
    :param units: what resamples of these draw.
    :param own: the user's metrics of these.
    """
    if answer.scores is None:
        return None
    of = known.nonzero()[0]
    return predictions_of(task, truth[of], answer.scores[of], answer.classes, answer.threshold, units, own)
