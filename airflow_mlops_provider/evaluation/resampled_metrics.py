"""The metrics as functions of resample counts: what is sorted once is not sorted again for each resample.

Equal to `metrics.measure` of the repeated rows, which the tests hold to 1e-9; NaN where that is undefined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_mlops_provider.evaluation.metrics import broken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.metrics import Predictions

    #: Counts or other weights, resamples x rows, to one value a resample; NaN where the metric is undefined.
    Statistic = Callable[[NDArray[Any]], NDArray[Any]]


def statistics_of(names: Sequence[str], predictions: Predictions) -> dict[str, Statistic]:
    """Return metrics of one model as functions of counts; none when its predictions are unusable."""
    if broken(predictions) is not None:
        return {}
    if predictions.task == "regression":
        return {name: _REGRESSION[name](predictions.truth, predictions.scores) for name in names}
    ranked = _ranked(predictions) if set(names) & set(_RANKING) else []
    return {name: _classification(name, predictions, ranked) for name in names}


# ---------------------------------------------------------------- classification


def _row_losses(name: str, predictions: Predictions) -> NDArray[Any]:
    """Return each row's share of a metric that is a mean over rows."""
    import numpy as np

    truth, scores = predictions.truth, predictions.scores
    if name == "accuracy":
        return np.asarray(predictions.labels == truth, dtype=np.float64)
    if name == "log_loss":
        tiny = np.finfo(np.float64).eps  # where scikit-learn clips
        return np.asarray(-np.log(np.clip(scores[np.arange(len(truth)), truth], tiny, 1 - tiny)))
    hits = np.eye(scores.shape[1])[truth]
    halves = 0.5 if scores.shape[1] == 2 else 1.0
    return np.asarray(halves * np.square(scores - hits).sum(axis=1))


def _mean(values: NDArray[Any]) -> Statistic:
    return lambda counts: counts @ values / counts.sum(axis=1)


def _classification(name: str, predictions: Predictions, ranked: list[_Ranked]) -> Statistic:
    import numpy as np

    if name in ("log_loss", "brier", "accuracy"):
        return _mean(_row_losses(name, predictions))
    if (one := _RANKING.get(name)) is None:
        return _confusion(name, predictions)
    return lambda counts: np.mean([one(ranks.reached(counts)) for ranks in ranked], axis=0)


class _Reached(NamedTuple):
    """Counts down the ranking, resamples x steps that hold a positive row.

    :param gained: positives in the step.
    :param positives: positives down to the step's end.
    :param above: rows before the step.
    :param rows: rows down to the step's end.
    :param total: rows of a resample.
    """

    gained: NDArray[Any]
    positives: NDArray[Any]
    above: NDArray[Any]
    rows: NDArray[Any]
    total: NDArray[Any]


class _Ranked:
    """Rows in descending order of score, tied rows as one step."""

    def __init__(self, positive: NDArray[Any], scores: NDArray[Any]) -> None:
        import numpy as np

        self._order = np.argsort(-scores, kind="stable")
        ranked = scores[self._order]
        ends = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True]) + 1
        hits = np.flatnonzero(positive[self._order])
        self._hits = self._order[hits]
        steps = np.unique(np.searchsorted(ends, hits, side="right"))
        self._ends, self._starts = ends[steps], np.r_[0, ends][steps]
        self._hit_ends = np.searchsorted(hits, self._ends)
        self._last: tuple[NDArray[Any], _Reached] | None = None

    def reached(self, counts: NDArray[Any]) -> _Reached:
        """Return what is counted at each step; metrics of the same counts share the work."""
        import numpy as np

        if self._last is None or self._last[0] is not counts:
            rows, positives = _running(counts, self._order), _running(counts, self._hits)[:, self._hit_ends]
            gained = np.diff(positives, axis=1, prepend=0)
            self._last = (
                counts,
                _Reached(gained, positives, rows[:, self._starts], rows[:, self._ends], counts.sum(axis=1)),
            )
        return self._last[1]


def _running(counts: NDArray[Any], order: NDArray[Any]) -> NDArray[Any]:
    """Return how many are counted before each place of an order, and at its end."""
    import numpy as np

    running = np.zeros((len(counts), len(order) + 1), dtype=counts.dtype)
    np.cumsum(counts.take(order, axis=1), axis=1, out=running[:, 1:])
    return running


def _ranked(predictions: Predictions) -> list[_Ranked]:
    """Return the ranking of the positive class of a binary task, else of each class against the rest."""
    size = len(predictions.classes)
    wanted = [1] if size == 2 else range(size)
    return [_Ranked(predictions.truth == index, predictions.scores[:, index]) for index in wanted]


def _roc_auc(reached: _Reached) -> NDArray[Any]:
    """Mann-Whitney U over the number of pairs, ties as halves (Hanley & McNeil 1982)."""
    import numpy as np

    positives = _last_column(reached.positives)
    negatives = reached.total - positives
    # Negatives down to the middle of the step: those that its positives do not beat.
    unbeaten = 0.5 * (reached.above + reached.rows - 2 * reached.positives + reached.gained)
    beaten = np.einsum("ij,ij->i", reached.gained, negatives[:, None] - unbeaten)
    return np.asarray(beaten / (positives * negatives))


def _average_precision(reached: _Reached) -> NDArray[Any]:
    """Sum of precision times the gain in recall, as `sklearn.metrics.average_precision_score` has it."""
    import numpy as np

    # A step of which no row was drawn gains nothing, whatever its precision.
    precision = reached.positives / np.maximum(reached.rows, 1)
    positives = _last_column(reached.positives)
    total = np.einsum("ij,ij->i", reached.gained, precision)
    return np.asarray(total / np.where(positives < reached.total, positives, np.nan))


def _last_column(values: NDArray[Any]) -> NDArray[Any]:
    """Return the last column as floats; zeros when there is none, which is when no row is positive."""
    import numpy as np

    return values[:, -1].astype(np.float64) if values.shape[1] else np.zeros(len(values))


_RANKING = {"roc_auc": _roc_auc, "average_precision": _average_precision}


def _confusion(name: str, predictions: Predictions) -> Statistic:
    import numpy as np

    size = len(predictions.classes)
    cell = predictions.truth * size + predictions.labels

    def score(counts: NDArray[Any]) -> NDArray[Any]:
        # One matrix product with a column a cell is as fast for two classes, and takes 64 numbers a row for eight.
        table = np.stack([np.bincount(cell, weights=line, minlength=size * size) for line in counts])
        return _CONFUSION[name](table.reshape(-1, size, size))

    return score


def _recalls(table: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return hits, true rows and predicted rows of each class; true rows are NaN where a class is absent."""
    import numpy as np

    hits, true, predicted = np.einsum("bii->bi", table), table.sum(axis=2), table.sum(axis=1)
    complete = (true > 0).all(axis=1, keepdims=True)
    return hits, np.where(complete, true, np.nan), predicted


def _of_task(values: NDArray[Any]) -> NDArray[Any]:
    """Return the positive class's value of a binary task, else the mean over classes."""
    import numpy as np

    return np.asarray(values[:, 1] if values.shape[1] == 2 else values.mean(axis=1))


def _balanced_accuracy(table: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    hits, true, _ = _recalls(table)
    return np.asarray((hits / true).mean(axis=1))


def _recall(table: NDArray[Any]) -> NDArray[Any]:
    hits, true, _ = _recalls(table)
    return _of_task(hits / true)


def _precision(table: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    hits, true, predicted = _recalls(table)
    return _of_task(hits / np.maximum(predicted, 1) + 0 * true)


def _f1(table: NDArray[Any]) -> NDArray[Any]:
    hits, true, predicted = _recalls(table)
    return _of_task(2 * hits / (true + predicted))


_CONFUSION: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "balanced_accuracy": _balanced_accuracy,
    "recall": _recall,
    "precision": _precision,
    "f1": _f1,
}


# ---------------------------------------------------------------- regression


def _rmse(truth: NDArray[Any], predicted: NDArray[Any]) -> Statistic:
    import numpy as np

    mean = _mean(np.square(truth - predicted))
    return lambda counts: np.sqrt(mean(counts))


def _mae(truth: NDArray[Any], predicted: NDArray[Any]) -> Statistic:
    import numpy as np

    return _mean(np.abs(truth - predicted))


def _r2(truth: NDArray[Any], predicted: NDArray[Any]) -> Statistic:
    import numpy as np

    centred = truth - truth.mean()
    residual, first, second = _mean(np.square(truth - predicted)), _mean(centred), _mean(np.square(centred))

    def score(counts: NDArray[Any]) -> NDArray[Any]:
        square = second(counts)
        variance = square - np.square(first(counts))
        # All resampled rows may have one target value: what is left of the variance is then rounding.
        return np.asarray(1 - residual(counts) / np.where(variance > 1e-12 * square, variance, np.nan))

    return score


def _median_absolute_error(truth: NDArray[Any], predicted: NDArray[Any]) -> Statistic:
    import numpy as np

    errors = np.abs(truth - predicted)
    order = np.argsort(errors, kind="stable")
    ranked = errors[order]

    def median(counts: NDArray[Any]) -> NDArray[Any]:
        reached = _running(counts, order)[:, 1:]
        rows = reached[:, -1:]  # of a resample: groups are not all of one size
        lower = (reached < (rows + 1) // 2).sum(axis=1)
        upper = (reached < rows // 2 + 1).sum(axis=1)
        return np.asarray((ranked[lower] + ranked[upper]) / 2)

    return median


def _max_error(truth: NDArray[Any], predicted: NDArray[Any]) -> Statistic:
    """The largest error drawn. A bootstrap of a maximum is biased downwards (Efron & Tibshirani 1993, sec. 7.4)."""
    import numpy as np

    errors = np.abs(truth - predicted)
    return lambda counts: np.asarray(np.where(counts > 0, errors, 0.0).max(axis=1))


_REGRESSION: dict[str, Callable[[NDArray[Any], NDArray[Any]], Statistic]] = {
    "rmse": _rmse,
    "mae": _mae,
    "r2": _r2,
    "median_absolute_error": _median_absolute_error,
    "max_error": _max_error,
}
