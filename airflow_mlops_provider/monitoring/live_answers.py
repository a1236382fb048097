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
from airflow_mlops_provider.modeling.splits import row_hashes
from airflow_mlops_provider.modeling.threshold import threshold_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.metrics import Predictions
    from airflow_mlops_provider.evaluation.report import EvaluationReport
    from airflow_mlops_provider.evaluation.resampling import Units
    from airflow_mlops_provider.job import Champion, Job
    from airflow_mlops_provider.spec.frozen import Task

#: Rows that are predicted: more would make the interval narrower than any margin, and cost minutes.
_MAX_ROWS = 200_000


@dataclass(frozen=True)
class Answer:
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


def ask(job: Job, version: Champion, rows: NDArray[Any], task: Task) -> Answer:
    """Return what a version says of some rows (ascending positions in the dataset).

    :raises ArtifactError: when its model is missing from the store, or damaged.
    """
    try:
        pipeline = load_model(job.store, version.model, job.allow_list)
        scores = predict_rows(job.store, job.artifact("dataset", "dataset"), rows, pipeline, task)
    except (DataError, ModelError) as error:
        return Answer(version.version, [], unusable=shorten(str(error)))
    return Answer(version.version, list(getattr(pipeline, "classes_", ())), scores, threshold=threshold_of(pipeline))


def comparable(champion: Answer, former: Answer) -> Answer:
    """Return the former champion's answer, unusable when it is about other classes."""
    if champion.scores is None or former.scores is None or champion.classes == former.classes:
        return former
    return Answer(former.version, former.classes, unusable=f"it knows other classes: {shorten(former.classes, 100)}")


def truth_of(job: Job, task: Task, rows: NDArray[Any], answer: Answer | None) -> tuple[NDArray[Any], NDArray[Any]]:
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


def units_of(job: Job, measured: EvaluationReport | None, rows: NDArray[Any]) -> tuple[str | None, Units | None]:
    """Return the column whose rows are drawn together, and what is drawn; nothing where each row stands for itself."""
    if measured is None or measured.resampled is None or (group := measured.resampled.group) is None:
        return None, None
    dataset = job.artifact("dataset", "dataset")
    if group not in table_schema(job.store, dataset).names:
        return None, None
    return group, group_units(row_hashes(job.store, dataset, [group])[rows], group)


def predictions_from(
    task: Task, answer: Answer, truth: NDArray[Any], known: NDArray[Any], units: Units | None
) -> Predictions | None:
    """Return an answer beside the truth, None when there is none.

    :param known: of the rows, which to take.
    """
    if answer.scores is None:
        return None
    drawn = None if units is None else units.take(known.nonzero()[0])
    return predictions_of(task, truth[known], answer.scores[known], answer.classes, answer.threshold, drawn)
