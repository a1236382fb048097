"""The held-out rows: their true values, and models' predictions for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.data.tables import iter_tables, read_table, table_info
from airflow_mlops_provider.evaluation.custom_metrics import own_metrics
from airflow_mlops_provider.evaluation.metrics import Predictions, predictions_of
from airflow_mlops_provider.evaluation.resampling import block_units, group_units, row_units
from airflow_mlops_provider.exceptions import ArtifactError, DataError
from airflow_mlops_provider.modeling.predictions import (
    feature_frame,
    fitted_columns,
    one_thread,
    predict,
    predictions_frame,
    probability_columns,
)
from airflow_mlops_provider.modeling.splits import microseconds, read_split, row_hashes, train_mask

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.custom_metrics import OwnMetrics
    from airflow_mlops_provider.evaluation.resampling import Units
    from airflow_mlops_provider.job import Job
    from airflow_mlops_provider.modeling.splits import SplitPlan
    from airflow_mlops_provider.results import ArtifactRef, StepResult
    from airflow_mlops_provider.spec.frozen import Task
    from airflow_mlops_provider.spec.metrics import CustomMetric
    from airflow_mlops_provider.storage import ArtifactStore


@dataclass(frozen=True)
class Holdout:
    """The rows on which models are judged.

    :param target: every row of the dataset: the index of its class, or its target value.
    :param fold: every row: the fold in which it is held out, 0 for always trained on.
    :param rows: positions of the held-out rows in the dataset, ascending.
    :param trains_from: every row: the first fold that it trains for; None when all do from the first.
    :param units: held-out rows: what resamples draw.
    :param own: held-out rows: the user's metrics of them.
    """

    store: ArtifactStore
    dataset: ArtifactRef
    plan: SplitPlan
    target: NDArray[Any]
    fold: NDArray[Any]
    rows: NDArray[Any]
    trains_from: NDArray[Any] | None = None
    units: Units | None = None
    own: OwnMetrics | None = None

    @property
    def truth(self) -> NDArray[Any]:
        """What was true of the held-out rows."""
        truth: NDArray[Any] = self.target[self.rows]
        return truth

    @property
    def cross_validated(self) -> bool:
        """Whether the winner was fitted on all rows, so that it has seen those that are held out."""
        return self.plan.by == "cross_validation"

    @property
    def training_rows(self) -> NDArray[Any]:
        """Positions of the rows that the winner was fitted on, ascending."""
        import numpy as np

        return np.arange(len(self.fold)) if self.cross_validated else np.flatnonzero(self.trained_on(1))

    @property
    def training_target(self) -> NDArray[Any]:
        """The target of the rows that the winner was fitted on."""
        target: NDArray[Any] = self.target[self.training_rows]
        return target

    def trained_on(self, fold: int) -> NDArray[Any]:
        """Return which rows train when a fold is held out."""
        return train_mask(self.fold, self.trains_from, fold)

    def predictions(self, scores: NDArray[Any], threshold: NDArray[Any] | float | None = None) -> Predictions:
        """Return scores of the held-out rows beside the truth.

        :param threshold: decision threshold of the model.
        """
        return predictions_of(
            self.plan.task, self.truth, scores, self.plan.classes or (), threshold, self.units, self.own
        )

    def predictions_of(
        self, rows: NDArray[Any], scores: NDArray[Any], threshold: NDArray[Any] | None = None
    ) -> Predictions:
        """Return scores of some of the held-out rows beside the truth.

        :param rows: which of the held-out rows they are of.
        """
        units = None if self.units is None else self.units.take(rows)
        own = None if self.own is None else self.own.take(rows)
        return predictions_of(self.plan.task, self.truth[rows], scores, self.plan.classes or (), threshold, units, own)

    def of_fold(self, predictions: Predictions, fold: int) -> Predictions:
        """Return the predictions of one fold's rows."""
        return predictions.take(self.fold[self.rows] == fold)


def read_holdout(job: Job, metrics: Sequence[str | CustomMetric] = ()) -> Holdout:
    """Return the held-out rows of the step's inputs.

    :param metrics: what is measured of them: the functions of the user's among these are loaded.
    :raises DataError: when a held-out row has a class that the split does not know.
    """
    import numpy as np

    dataset = job.artifact("dataset", "dataset")
    split = read_split(job.store, job.artifact("split", "split"), job.artifact("split", "assignment"))
    name = split.plan.columns.target
    target = _coded(read_table(job.store, dataset, [name])[name], split.plan)
    if len(target) != len(split.fold):
        raise ArtifactError(
            f"the split does not belong to dataset {dataset.uri}",
            got=f"{len(split.fold)} rows",
            expected=f"{len(target)} rows",
            hint="Give evaluate the results of a single run.",
        )
    held_out = np.flatnonzero(split.fold != 0)
    units = _units(job.store, dataset, split.plan, held_out)
    own = own_metrics(job, dataset, metrics, held_out)
    return Holdout(job.store, dataset, split.plan, target, split.fold, held_out, split.trains_from, units, own)


def _units(store: ArtifactStore, dataset: ArtifactRef, plan: SplitPlan, rows: NDArray[Any]) -> Units:
    """Return what resamples of some rows draw: blocks of time where there is a timestamp, groups where one is named."""
    groups = None if plan.group is None else group_units(row_hashes(store, dataset, [plan.group])[rows], plan.group)
    info = table_info(store, dataset)
    if (timestamp := info.columns.timestamp) is None:
        return row_units(len(rows)) if groups is None else groups
    moments = microseconds(read_table(store, dataset, [timestamp])[timestamp])[rows]
    return block_units(moments, info.label_delay, groups)


def _coded(target: pd.Series[Any], plan: SplitPlan) -> NDArray[Any]:
    import numpy as np
    import pandas as pd

    if plan.task == "regression":
        return target.to_numpy(dtype=np.float64)
    codes: NDArray[Any] = pd.Index(plan.classes or [], dtype=object).get_indexer(pd.Index(target.astype(object)))
    if len(strange := np.flatnonzero(codes < 0)):
        raise DataError(
            f"target {target.name!r}, row {int(strange[0]) + 1} of the dataset: the split does not have this class",
            got=target.iloc[int(strange[0])],
            expected=plan.classes,
            hint="Clear the prepare task with the Param `recompute` set.",
        )
    return codes


def stored_predictions(holdout: Holdout, candidate: str, result: StepResult) -> Predictions:
    """Return a candidate's stored predictions for the held-out rows, in their order.

    :raises ArtifactError: when they are of other rows.
    """
    import numpy as np

    ref = result.artifacts["predictions"]
    frame = predictions_frame(holdout.store, ref)
    if not np.array_equal(frame["row"].to_numpy(), holdout.rows):
        raise ArtifactError(
            f"the predictions of candidate {candidate!r} are not for the held-out rows",
            got=f"{len(frame)} rows",
            expected=f"{len(holdout.rows)} rows, in the order of the dataset",
            hint="Give evaluate the results of a single run.",
        )
    if holdout.plan.task == "regression":
        return holdout.predictions(frame["prediction"].to_numpy())
    scores = frame[probability_columns(len(holdout.plan.classes or ()))].to_numpy()
    return holdout.predictions(scores, frame["threshold"].to_numpy() if "threshold" in frame else None)


def predict_holdout(holdout: Holdout, pipeline: Any) -> NDArray[Any]:
    """Return what a fitted model says of the held-out rows, a row group at a time.

    The model may use features that this run dropped: every feature of the dataset is at hand.

    :raises DataError: when a column that the model needs is gone.
    :raises ModelError: when the model refuses the rows.
    """
    return predict_rows(holdout.store, holdout.dataset, holdout.rows, pipeline, holdout.plan.task)


def predict_rows(
    store: ArtifactStore, dataset: ArtifactRef, rows: NDArray[Any], pipeline: Any, task: Task
) -> NDArray[Any]:
    """Return what a fitted model says of some rows (ascending positions in the dataset), as `predict_holdout` does."""
    import numpy as np

    columns = fitted_columns(pipeline, table_info(store, dataset).columns)
    with one_thread():
        parts = [
            predict(pipeline, feature_frame(table.to_pandas(), columns), task)
            for table in iter_tables_at(store, dataset, columns.features, rows)
        ]
    return np.concatenate(parts)


def sample_frame(holdout: Holdout, rows: NDArray[Any]) -> pd.DataFrame:
    """Return the features of some rows (ascending positions in the dataset), as a model takes them."""
    import pyarrow as pa

    columns = holdout.plan.columns
    tables = list(iter_tables_at(holdout.store, holdout.dataset, columns.features, rows))
    return feature_frame(pa.concat_tables(tables).unify_dictionaries().to_pandas(), columns)


def read_held_out(holdout: Holdout, columns: Sequence[str]) -> pd.DataFrame:
    """Return some columns of the held-out rows."""
    return read_table(holdout.store, holdout.dataset, columns).iloc[holdout.rows]


def iter_tables_at(
    store: ArtifactStore, dataset: ArtifactRef, columns: Sequence[str], positions: NDArray[Any]
) -> Iterator[pa.Table]:
    """Yield some columns of the rows at some positions (ascending), read a row group at a time."""
    import numpy as np

    start = 0
    for table in iter_tables(store, dataset, columns):
        first, last = np.searchsorted(positions, [start, start + table.num_rows])
        if last > first:
            yield table.take(positions[first:last] - start)
        start += table.num_rows
