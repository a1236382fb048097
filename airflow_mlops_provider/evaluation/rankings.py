"""Metrics of a ranking as functions of resample counts: sorted once, whatever is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.resampling import Units
    from airflow_mlops_provider.evaluation.statistic import Counted

#: Steps of a ranking and resamples that are multiplied at once: half a megabyte.
_STEPS, _LINES = 512, 256
#: Below it whole numbers, and sums of them, are exact in four bytes.
_EXACT = 2**24


class Reached(NamedTuple):
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


class Ranked:
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
        self._last: tuple[NDArray[Any], Reached] | None = None
        self._positive, self._scores = positive, scores

    def reached(self, counts: NDArray[Any]) -> Reached:
        """Return what is counted at each step; metrics of the same counts share the work."""
        import numpy as np

        if self._last is None or self._last[0] is not counts:
            rows, positives = counted_along(counts, self._order), counted_along(counts, self._hits)[:, self._hit_ends]
            gained = np.diff(positives, axis=1, prepend=0)
            self._last = (
                counts,
                Reached(gained, positives, rows[:, self._starts], rows[:, self._ends], counts.sum(axis=1)),
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

    def precision(self, units: Units) -> Counted:
        """Return the average precision as a function of counts of units.

        How many rows and positives lie above a score is a sum over units, so that all resamples are one product of
        matrices. It is done a part of the ranking at a time, which stays in a processor's cache.
        """
        import numpy as np

        rows = np.bincount(units.codes, minlength=units.count).astype(np.float64)
        hits = np.bincount(units.codes[self._positive], minlength=units.count).astype(np.float64)

        def average(counts: NDArray[Any]) -> NDArray[Any]:
            drawn, positives = counts @ rows, counts @ hits
            # Whole numbers are exact in four bytes, up to a bound.
            whole = drawn.max(initial=0) < _EXACT and np.array_equal(counts, np.rint(counts))
            weights = counts.astype(np.float32 if whole else np.float64)
            found, before = np.zeros(len(counts)), np.zeros(len(counts), dtype=weights.dtype)
            for won, among in self._parts(units):
                won, among = won.astype(weights.dtype), among.astype(weights.dtype)
                for first in range(0, len(counts), _LINES):
                    lines = slice(first, first + _LINES)
                    reached = weights[lines] @ won
                    gained = np.diff(reached, axis=1, prepend=before[lines, None])
                    before[lines] = reached[:, -1]
                    # A step of which no row was drawn gains nothing, whatever its precision.
                    rows_reached = np.maximum(weights[lines] @ among, 1)
                    precision = np.divide(reached, rows_reached, dtype=np.float64)
                    found[lines] += np.einsum("ij,ij->i", gained, precision)
            return np.asarray(found / np.where(positives < drawn, positives, np.nan))

        return average

    def _parts(self, units: Units) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Yield positives and rows down to the end of each step, units x steps, so many steps at a time."""
        import numpy as np

        won, among = np.zeros((2, units.count), dtype=np.int64)
        positive = self._positive[self._order]
        for first in range(0, len(self._ends), _STEPS):
            ends = self._ends[first : first + _STEPS]
            rows = np.arange(self._ends[first - 1] if first else 0, ends[-1])
            cells = units.codes[self._order[rows]] * len(ends) + np.searchsorted(ends, rows, side="right")
            one, other = (
                np.bincount(each, minlength=units.count * len(ends)).reshape(units.count, -1).cumsum(axis=1)
                for each in (cells[positive[rows]], cells)
            )
            one, other = one + won[:, None], other + among[:, None]
            won, among = one[:, -1], other[:, -1]
            yield one, other


def _split(values: NDArray[Any], unit: NDArray[Any], size: int) -> list[NDArray[Any]]:
    """Return the values of each unit, ascending."""
    import numpy as np

    order = np.lexsort((values, unit))
    return np.split(values[order], np.searchsorted(unit[order], np.arange(1, size)))


def counted_along(counts: NDArray[Any], order: NDArray[Any]) -> NDArray[Any]:
    """Return how many are counted before each place of an order, and at its end."""
    import numpy as np

    running = np.zeros((len(counts), len(order) + 1), dtype=counts.dtype)
    np.cumsum(counts.take(order, axis=1), axis=1, out=running[:, 1:])
    return running


def roc_auc(reached: Reached) -> NDArray[Any]:
    """Mann-Whitney U over the number of pairs, ties as halves (Hanley & McNeil 1982)."""
    import numpy as np

    positives = _last_column(reached.positives)
    negatives = reached.total - positives
    # Negatives down to the middle of the step: those that its positives do not beat.
    unbeaten = 0.5 * (reached.above + reached.rows - 2 * reached.positives + reached.gained)
    beaten = np.einsum("ij,ij->i", reached.gained, negatives[:, None] - unbeaten)
    return np.asarray(beaten / (positives * negatives))


def average_precision(reached: Reached) -> NDArray[Any]:
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
