"""The metrics that `spec/metrics.py` names: one number each, or the reason why there is none.

Point values are scikit-learn's own. What it would return as NaN, as 0 with a warning, or as an error
(one class only, no rows, a prediction that is not finite) is undefined here and says why.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_mlops_provider.evaluation.resampling import row_units
from airflow_mlops_provider.exceptions import SpecError
from airflow_mlops_provider.modeling.threshold import labels_of
from airflow_mlops_provider.spec.metrics import less_is_better

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.custom_metrics import OwnMetrics
    from airflow_mlops_provider.evaluation.resampling import Units
    from airflow_mlops_provider.spec.frozen import Task

#: Metrics that compare classes with each other, or average over them: without a row of one they mean nothing.
NEEDS_EVERY_CLASS = frozenset({"roc_auc", "average_precision", "balanced_accuracy", "f1", "precision", "recall"})
#: Rows of probabilities are stored as float32; a sum further from 1 than this is not rounding.
SUM_TOLERANCE = 1e-3


#: Rows of each class, without which no interval is given.
FEWEST_OF_A_CLASS = 20


class Measured(NamedTuple):
    """A metric's value, or why it has none."""

    value: float | None
    why: str | None = None


@dataclass(frozen=True)
class Predictions:
    """True values and a model's predictions, row by row.

    :param truth: index of the class, int64; for a regression the target, float64.
    :param scores: probabilities, rows x classes; for a regression the predicted values, rows.
    :param classes: what the indexes mean; the second is the positive class of a binary task.
    :param threshold: decision threshold of the model, one for each row: each fold's model may have its own. None when
        the most probable class is predicted.
    :param units: what resamples of these rows draw; None when each row stands for itself.
    :param own: the user's metrics of these rows; None when there are none.
    """

    task: Task
    truth: NDArray[Any]
    scores: NDArray[Any]
    classes: tuple[Any, ...] = ()
    threshold: NDArray[Any] | None = None
    units: Units | None = None
    own: OwnMetrics | None = None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.truth)

    @property
    def labels(self) -> NDArray[Any]:
        """Index of the predicted class of each row."""
        return labels_of(self.scores, self.threshold)

    @property
    def drawn(self) -> Units:
        """What resamples of these rows draw."""
        return row_units(self.rows) if self.units is None else self.units

    def take(self, rows: NDArray[Any]) -> Predictions:
        """Return some of the rows."""
        threshold = None if self.threshold is None else self.threshold[rows]
        units = None if self.units is None else self.units.take(rows)
        own = None if self.own is None else self.own.take(rows)
        return Predictions(self.task, self.truth[rows], self.scores[rows], self.classes, threshold, units, own)


def predictions_of(
    task: Task,
    truth: NDArray[Any],
    scores: NDArray[Any],
    classes: Sequence[Any] = (),
    threshold: NDArray[Any] | float | None = None,
    units: Units | None = None,
    own: OwnMetrics | None = None,
) -> Predictions:
    """Return predictions in double precision, with the rounding of stored probabilities undone."""
    import numpy as np

    exact = np.asarray(scores, dtype=np.float64)
    if task != "regression":
        total = exact.sum(axis=1, keepdims=True)
        close = np.abs(total - 1) <= SUM_TOLERANCE
        exact = np.divide(exact, total, out=exact.copy(), where=close)
    truth = np.asarray(truth, dtype=np.float64 if task == "regression" else np.int64)
    each = None if threshold is None else np.broadcast_to(np.asarray(threshold, dtype=np.float64), len(truth))
    return Predictions(task, truth, exact, tuple(classes), each, units, own)


def measure(name: str, predictions: Predictions) -> Measured:
    """Return one metric of one model, as scikit-learn computes it.

    Averages over classes are unweighted (macro), one class against the rest. `brier` of two classes is in
    [0, 1], of more in [0, 2], as `sklearn.metrics.brier_score_loss` has it.

    :raises SpecError: for a name that no model of the task has a metric of.
    """
    import numpy as np

    known = _functions(predictions)
    if name not in known:
        raise SpecError(
            f"no metric {name!r} for a {predictions.task} model", got=name, expected=", ".join(sorted(known))
        )
    if (why := broken(predictions) or undefined(name, predictions)) is not None:
        return Measured(None, why)
    with np.errstate(over="ignore", invalid="ignore"):
        value = float(known[name](predictions))
    return Measured(value) if math.isfinite(value) else Measured(None, f"it is {value}")


def measure_all(names: Sequence[str], predictions: Predictions) -> dict[str, Measured]:
    """Return each metric of one model."""
    return {name: measure(name, predictions) for name in names}


def gain(metric: str, challenger: float, other: float) -> float:
    """Return by how much the challenger is better: positive is better, also for a loss.

    >>> gain("log_loss", 0.4, 0.5) > 0 > gain("roc_auc", 0.4, 0.5)
    True
    """
    return other - challenger if less_is_better(metric) else challenger - other


def broken(predictions: Predictions) -> str | None:
    """Return what is wrong with the predictions as a whole, None when nothing is."""
    import numpy as np

    if predictions.rows == 0:
        return "no rows"
    if bad := int((~np.isfinite(predictions.scores)).reshape(predictions.rows, -1).any(axis=1).sum()):
        return f"{bad} of {predictions.rows} predictions are not finite"
    if predictions.task == "regression":
        bad = int((~np.isfinite(predictions.truth)).sum())
        return f"{bad} of {predictions.rows} targets are not finite" if bad else None
    outside = ((predictions.scores < 0) | (predictions.scores > 1)).any(axis=1)
    if bad := int((outside | (np.abs(predictions.scores.sum(axis=1) - 1) > SUM_TOLERANCE)).sum()):
        return f"{bad} of {predictions.rows} rows of predicted probabilities do not add up to 1"
    return None


def too_rare(name: str, predictions: Predictions) -> str | None:
    """Return why nobody can say how sure a metric of these rows is, though it has a value; None when one can.

    With 4 rows of a class a 95 % interval of the area under the ROC curve held the truth 70 % of the time, with 2 49 %.
    """
    import numpy as np

    if predictions.task == "regression" or (len(predictions.classes) > 2 and name not in NEEDS_EVERY_CLASS):
        return None
    counts = np.bincount(predictions.truth, minlength=len(predictions.classes))
    if (least := int(counts.min())) >= FEWEST_OF_A_CLASS:
        return None
    rows = f"{least} row{'s' * (least != 1)} of class {predictions.classes[int(counts.argmin())]}"
    return f"only {rows}: at least {FEWEST_OF_A_CLASS} are needed for an interval of {name}"


def undefined(name: str, predictions: Predictions) -> str | None:
    """Return why these rows cannot have this metric, None when they can."""
    import numpy as np

    if name in NEEDS_EVERY_CLASS:
        counts = np.bincount(predictions.truth, minlength=len(predictions.classes))
        absent = [str(label) for label, count in zip(predictions.classes, counts, strict=True) if count == 0]
        return f"no rows of class {absent[0]}" if absent else None
    if name == "r2":
        if predictions.rows < 2:
            return "only one row"
        if np.ptp(predictions.truth) == 0:
            return "the target is constant"
    return None


def _functions(predictions: Predictions) -> dict[str, Callable[[Predictions], float]]:
    return {**_of_the_package(predictions), **({} if predictions.own is None else predictions.own.bound)}


def _of_the_package(predictions: Predictions) -> dict[str, Callable[[Predictions], float]]:
    if predictions.task == "regression":
        return _regression()
    return _binary() if len(predictions.classes) == 2 else _multiclass()


def _regression() -> dict[str, Callable[[Predictions], float]]:
    from sklearn import metrics

    return {
        "rmse": lambda p: metrics.root_mean_squared_error(p.truth, p.scores),
        "mae": lambda p: metrics.mean_absolute_error(p.truth, p.scores),
        "r2": lambda p: metrics.r2_score(p.truth, p.scores),
        "median_absolute_error": lambda p: metrics.median_absolute_error(p.truth, p.scores),
        "max_error": lambda p: metrics.max_error(p.truth, p.scores),
    }


def _binary() -> dict[str, Callable[[Predictions], float]]:
    from sklearn import metrics

    return {
        "roc_auc": lambda p: metrics.roc_auc_score(p.truth, p.scores[:, 1]),
        "average_precision": lambda p: metrics.average_precision_score(p.truth, p.scores[:, 1]),
        "log_loss": lambda p: metrics.log_loss(p.truth, p.scores, labels=[0, 1]),
        "brier": lambda p: metrics.brier_score_loss(p.truth, p.scores[:, 1], labels=[0, 1], pos_label=1),
        "accuracy": lambda p: metrics.accuracy_score(p.truth, p.labels),
        "balanced_accuracy": lambda p: metrics.balanced_accuracy_score(p.truth, p.labels),
        "f1": lambda p: metrics.f1_score(p.truth, p.labels, zero_division=0.0),
        "precision": lambda p: metrics.precision_score(p.truth, p.labels, zero_division=0.0),
        "recall": lambda p: metrics.recall_score(p.truth, p.labels, zero_division=0.0),
    }


def _multiclass() -> dict[str, Callable[[Predictions], float]]:
    from sklearn import metrics

    def one_hot(p: Predictions) -> NDArray[Any]:
        import numpy as np

        hits: NDArray[Any] = np.eye(len(p.classes), dtype=np.int64)[p.truth]
        return hits

    def indexes(p: Predictions) -> list[int]:
        return list(range(len(p.classes)))

    def macro(function: Callable[..., float]) -> Callable[[Predictions], float]:
        return lambda p: function(p.truth, p.labels, labels=indexes(p), average="macro", zero_division=0.0)

    return {
        "roc_auc": lambda p: metrics.roc_auc_score(one_hot(p), p.scores, average="macro"),
        "average_precision": lambda p: metrics.average_precision_score(one_hot(p), p.scores, average="macro"),
        "log_loss": lambda p: metrics.log_loss(p.truth, p.scores, labels=indexes(p)),
        "brier": lambda p: metrics.brier_score_loss(p.truth, p.scores, labels=indexes(p)),
        "accuracy": lambda p: metrics.accuracy_score(p.truth, p.labels),
        "balanced_accuracy": lambda p: metrics.balanced_accuracy_score(p.truth, p.labels),
        "f1": macro(metrics.f1_score),
        "precision": macro(metrics.precision_score),
        "recall": macro(metrics.recall_score),
    }
