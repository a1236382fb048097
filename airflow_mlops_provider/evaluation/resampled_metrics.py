"""The metrics as functions of resample counts: what is sorted once is not sorted again for each resample.

Equal to `metrics.measure` of the repeated rows, which the tests hold to 1e-9; NaN where that is undefined.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_mlops_provider.evaluation.metrics import broken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.metrics import Predictions
    from airflow_mlops_provider.evaluation.resampling import Units

    #: Counts or other weights, resamples x rows or units, to one value a resample; NaN where the metric is undefined.
    Counted = Callable[[NDArray[Any]], NDArray[Any]]


class Statistic:
    """A metric of one model as a function of how often each row counts.

    :param of_rows: of counts of rows.
    :param of_units: makes the same function of counts of units, whose cost does not grow with rows; None where a metric
        cannot be had from what was added up a unit.
    """

    def __init__(self, of_rows: Counted, of_units: Callable[[Units], Counted] | None = None) -> None:
        self._of_rows, self._of_units = of_rows, of_units

    def __call__(self, counts: NDArray[Any]) -> NDArray[Any]:
        """Return the metric of each line of counts of rows."""
        return self._of_rows(counts)

    def of_units(self, units: Units) -> Counted | None:
        """Return the function of counts of units; None where it needs those of rows."""
        return None if self._of_units is None else self._of_units(units)

    def among(self, rows: NDArray[Any]) -> Statistic:
        """Return this statistic of some rows as one of all of them, so that it can be drawn with others.

        :param rows: positions of its rows, ascending.
        """
        of_units = self._of_units
        within = None if of_units is None else lambda units: of_units(replace(units, codes=units.codes[rows]))
        return Statistic(lambda counts: self._of_rows(counts[:, rows]), within)


def mean_of(values: NDArray[Any], among: NDArray[Any] | None = None) -> Statistic:
    """Return the mean of a value of each row, over the rows that are meant."""
    import numpy as np

    weights = np.ones(len(values)) if among is None else among.astype(np.float64)
    weighted = values * weights

    def of_units(units: Units) -> Counted:
        total, count = (np.bincount(units.codes, weights=each, minlength=units.count) for each in (weighted, weights))
        return lambda counts: (counts @ total) / (counts @ count)

    return Statistic(lambda counts: (counts @ weighted) / (counts @ weights), of_units)


def _from(parts: Sequence[Statistic], function: Callable[..., NDArray[Any]]) -> Statistic:
    """Return a statistic that is a function of others."""

    def of_units(units: Units) -> Counted:
        each = [counted for part in parts if (counted := part.of_units(units)) is not None]
        return lambda counts: function(*(one(counts) for one in each))

    return Statistic(lambda counts: function(*(part(counts) for part in parts)), of_units)


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


def _classification(name: str, predictions: Predictions, ranked: list[_Ranked]) -> Statistic:
    import numpy as np

    if name in ("log_loss", "brier", "accuracy"):
        return mean_of(_row_losses(name, predictions))
    if (one := _RANKING.get(name)) is None:
        return _confusion(name, predictions)

    def of_rows(counts: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.mean([one(ranks.reached(counts)) for ranks in ranked], axis=0))

    if name != "roc_auc":
        return Statistic(of_rows)

    def of_units(units: Units) -> Counted:
        each = [ranks.wins(units) for ranks in ranked]
        return lambda counts: np.asarray(np.mean([wins(counts) for wins in each], axis=0))

    return Statistic(of_rows, of_units)


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
        self._positive, self._scores = positive, scores

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

    def wins(self, units: Units) -> Counted:
        """Return the area under the ROC curve as a function of counts of units.

        It is the share of pairs that a positive row wins, ties as halves; so many are won by the positives of one unit
        over the negatives of another, whatever else is drawn.
        """
        import numpy as np

        size, positive = units.count, self._positive
        order = np.argsort(self._scores[positive], kind="stable")
        scores, codes = self._scores[positive][order], units.codes[positive][order]
        negatives, unit = self._scores[~positive], units.codes[~positive]
        won = np.zeros((size, size))
        for number, theirs in enumerate(_split(negatives, unit, size)):
            beaten = np.searchsorted(theirs, scores, "left") + np.searchsorted(theirs, scores, "right")
            won[:, number] = np.bincount(codes, weights=beaten / 2, minlength=size)
        hits, misses = (np.bincount(each, minlength=size).astype(np.float64) for each in (codes, unit))
        return lambda counts: ((counts @ won) * counts).sum(axis=1) / ((counts @ hits) * (counts @ misses))


def _split(values: NDArray[Any], unit: NDArray[Any], size: int) -> list[NDArray[Any]]:
    """Return the values of each unit, ascending."""
    import numpy as np

    order = np.lexsort((values, unit))
    return np.split(values[order], np.searchsorted(unit[order], np.arange(1, size)))


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

    def of_rows(counts: NDArray[Any]) -> NDArray[Any]:
        # One matrix product with a column a cell is as fast for two classes, and takes 64 numbers a row for eight.
        table = np.stack([np.bincount(cell, weights=line, minlength=size * size) for line in counts])
        return _CONFUSION[name](table.reshape(-1, size, size))

    def of_units(units: Units) -> Counted:
        cells = np.bincount(units.codes * size * size + cell, minlength=units.count * size * size)
        table = cells.reshape(units.count, size * size).astype(np.float64)
        return lambda counts: _CONFUSION[name]((counts @ table).reshape(-1, size, size))

    return Statistic(of_rows, of_units)


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

    return _from([mean_of(np.square(truth - predicted))], np.sqrt)


def _mae(truth: NDArray[Any], predicted: NDArray[Any]) -> Statistic:
    import numpy as np

    return mean_of(np.abs(truth - predicted))


def _r2(truth: NDArray[Any], predicted: NDArray[Any]) -> Statistic:
    import numpy as np

    centred = truth - truth.mean()

    def score(residual: NDArray[Any], first: NDArray[Any], square: NDArray[Any]) -> NDArray[Any]:
        variance = square - np.square(first)
        # All resampled rows may have one target value: what is left of the variance is then rounding.
        return np.asarray(1 - residual / np.where(variance > 1e-12 * square, variance, np.nan))

    return _from([mean_of(each) for each in (np.square(truth - predicted), centred, np.square(centred))], score)


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

    return Statistic(median)


def _max_error(truth: NDArray[Any], predicted: NDArray[Any]) -> Statistic:
    """The largest error drawn. A bootstrap of a maximum is biased downwards (Efron & Tibshirani 1993, sec. 7.4)."""
    import numpy as np

    errors = np.abs(truth - predicted)
    return Statistic(lambda counts: np.asarray(np.where(counts > 0, errors, 0.0).max(axis=1)))


_REGRESSION: dict[str, Callable[[NDArray[Any], NDArray[Any]], Statistic]] = {
    "rmse": _rmse,
    "mae": _mae,
    "r2": _r2,
    "median_absolute_error": _median_absolute_error,
    "max_error": _max_error,
}
