"""Metrics that users write: a function that gets the truth and the scores of rows, and returns one number.

The function is `(y_true, y_score, **params) -> float`. It gets `sample_weight`, `frame` and `classes` too, where it has
parameters of these names. On a resample it is called with the number of times that each row was drawn as
`sample_weight`; one that takes no weights gets the rows themselves, each as often as it was drawn.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.allow_list import users_code
from airflow_mlops_provider.data.tables import read_table, table_schema
from airflow_mlops_provider.evaluation.statistic import Statistic
from airflow_mlops_provider.exceptions import DataError, MLOpsError
from airflow_mlops_provider.spec.metrics import custom_among

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.metrics import Predictions
    from airflow_mlops_provider.job import Job
    from airflow_mlops_provider.results import ArtifactRef
    from airflow_mlops_provider.spec.metrics import CustomMetric

_HINT = "Correct the function, then clear the task. Return nan where the metric is undefined."
#: By how much the same rows may differ, once by weights and once repeated: sums are not added in one order.
_SAME, _NOTHING = 1e-6, 1e-12
_WEIGHT, _FRAME, _LABELS = "sample_weight", "frame", "y_pred"


@dataclass(frozen=True)
class BoundMetric:
    """A function of the user's with its settings.

    :param takes: names of its parameters, in their order.
    """

    settings: CustomMetric
    function: Callable[..., Any]
    takes: tuple[str, ...]

    def __call__(self, predictions: Predictions, weights: NDArray[Any] | None = None) -> float:
        """Return the metric of some rows.

        :param weights: how often each row counts; once each when left out.
        :raises MLOpsError: the function raised, or returned no number.
        """
        kwargs = self.settings.given(self.takes, self._frame(predictions), predictions.classes, weights)
        with users_code(self._where, _HINT):
            found = self.function(_read_only(predictions.truth), _read_only(self._scores(predictions)), **kwargs)
        if (value := _number(found)) is None:
            raise MLOpsError(
                f"{self._where} did not return a number", got=type(found).__name__, expected="a float", hint=_HINT
            )
        return value

    def statistic(self, predictions: Predictions) -> Statistic:
        """Return the metric as a function of how often each row counts.

        :raises MLOpsError: the function has `sample_weight`, and does not count rows by it.
        """
        import numpy as np

        checked = _WEIGHT not in self.takes
        # What is drawn matters no more, and to take rows of it takes longer than all else.
        predictions = replace(predictions, units=None)

        def one(counts: NDArray[Any]) -> float:
            nonlocal checked
            present = np.flatnonzero(counts)
            if not len(present):
                return math.nan
            repeated = np.repeat(present, counts[present])
            if _WEIGHT not in self.takes:
                return self(predictions.take(repeated))
            found = self(predictions.take(present), counts[present].astype(np.float64))
            if not checked and counts.max() > 1:
                self._require_same(found, self(predictions.take(repeated)))
                checked = True
            return found

        # As of the package's own, no row carries away what a classification's metric makes of scores alone.
        bounded = predictions.task != "regression" and _FRAME not in self.takes
        return Statistic(lambda counts: np.array([one(line) for line in counts], dtype=np.float64), bounded=bounded)

    @property
    def _where(self) -> str:
        return f"metric {self.settings.label!r}: {self.settings.function}"

    def _frame(self, predictions: Predictions) -> pd.DataFrame | None:
        """Return the columns that this metric lists, as a copy that is the function's own."""
        if predictions.own is None or predictions.own.frame is None or not self.settings.columns:
            return None
        return predictions.own.frame[self.settings.columns].copy()

    def _scores(self, predictions: Predictions) -> NDArray[Any]:
        """Return what the function gets beside the truth: labels where it calls them `y_pred`, else scores."""
        if predictions.task == "regression":
            return predictions.scores
        if self.takes[1:2] == (_LABELS,):
            return predictions.labels
        return predictions.scores[:, 1] if len(predictions.classes) == 2 else predictions.scores

    def _require_same(self, weighted: float, repeated: float) -> None:
        if not math.isfinite(repeated) or math.isclose(weighted, repeated, rel_tol=_SAME, abs_tol=_NOTHING):
            return
        raise MLOpsError(
            f"{self._where} does not weight rows by `sample_weight`",
            got=f"{weighted:.6g} for weighted rows",
            expected=f"{repeated:.6g}, as for the same rows repeated",
            hint="Multiply each row's share by its weight and divide by their sum, or drop the parameter: then each "
            "resample repeats its rows.",
        )


@dataclass(frozen=True)
class OwnMetrics:
    """The user's metrics of some rows.

    :param frame: all columns that one of them lists, a line a row; None when none lists any.
    """

    bound: Mapping[str, BoundMetric]
    frame: pd.DataFrame | None = None

    def take(self, rows: NDArray[Any]) -> OwnMetrics:
        """Return those of some of the rows.

        :param rows: positions, or a mask.
        """
        return self if self.frame is None else replace(self, frame=self.frame.iloc[rows].reset_index(drop=True))


def own_metrics(
    job: Job, dataset: ArtifactRef, metrics: Sequence[str | CustomMetric], rows: NDArray[Any]
) -> OwnMetrics | None:
    """Return the user's metrics of some rows of a dataset; None when there are none.

    :param rows: positions in the dataset.
    :raises NotAllowedError: a function is not allowed, or not there.
    :raises DataError: the dataset lacks a column that a function gets.
    """
    custom = custom_among(metrics)
    if not custom:
        return None
    bound = {one.label: bind(one, job.allow_list.load_function(one.function)) for one in custom}
    columns = list(dict.fromkeys(name for one in custom for name in one.columns))
    if missing := [name for name in columns if name not in table_schema(job.store, dataset).names]:
        raise DataError(
            f"the dataset has no column {missing[0]!r}, which a metric needs",
            expected=f"{', '.join(columns)}",
            hint="List it in data.columns, under amounts unless it is a feature or a key.",
        )
    frame = read_table(job.store, dataset, columns).iloc[rows].reset_index(drop=True) if columns else None
    return OwnMetrics(bound, frame)


def _read_only(values: NDArray[Any]) -> NDArray[Any]:
    """Return values that a function cannot change: all metrics and models share them."""
    view = values.view()
    view.flags.writeable = False
    return view


def _number(found: Any) -> float | None:
    """Return a number as a float, one of numpy's too; None of anything else."""
    import numpy as np

    if isinstance(found, str | bytes) or np.ndim(found):
        return None
    try:
        return float(found)
    except (TypeError, ValueError):
        return None


def bind(metric: CustomMetric, function: Callable[..., Any]) -> BoundMetric:
    """Return a metric with its function."""
    return BoundMetric(metric, function, tuple(inspect.signature(function).parameters))
