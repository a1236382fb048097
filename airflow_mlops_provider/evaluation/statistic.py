"""A statistic of rows as a function of how often each of them counts: what resamples and the jackknife need of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.resampling import Units

    #: Counts or other weights, resamples x rows or units, to one value a resample; NaN where the metric is undefined.
    Counted = Callable[[NDArray[Any]], NDArray[Any]]


class Statistic:
    """A metric of one model as a function of how often each row counts.

    :param of_rows: of counts of rows.
    :param of_units: makes the same function of counts of units, whose cost does not grow with rows; None where a metric
        cannot be had from what was added up a unit.
    :param bounded: whether no row can carry it away, as those of a classification cannot.
    """

    def __init__(
        self, of_rows: Counted, of_units: Callable[[Units], Counted] | None = None, *, bounded: bool = False
    ) -> None:
        self._of_rows, self._of_units, self.bounded = of_rows, of_units, bounded

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
        return Statistic(lambda counts: self._of_rows(counts[:, rows]), within, bounded=self.bounded)

    def as_bounded(self) -> Statistic:
        """Return this statistic as one that no row can carry away."""
        return Statistic(self._of_rows, self._of_units, bounded=True)


def mean_of(values: NDArray[Any], among: NDArray[Any] | None = None) -> Statistic:
    """Return the mean of a value of each row, over the rows that are meant."""
    import numpy as np

    weights = np.ones(len(values)) if among is None else among.astype(np.float64)
    weighted = values * weights

    def of_units(units: Units) -> Counted:
        total, count = (np.bincount(units.codes, weights=each, minlength=units.count) for each in (weighted, weights))
        return lambda counts: (counts @ total) / (counts @ count)

    return Statistic(lambda counts: (counts @ weighted) / (counts @ weights), of_units)


def function_of(parts: Sequence[Statistic], function: Callable[..., NDArray[Any]]) -> Statistic:
    """Return a statistic that is a function of others."""

    def of_units(units: Units) -> Counted:
        each = [counted for part in parts if (counted := part.of_units(units)) is not None]
        return lambda counts: function(*(one(counts) for one in each))

    return Statistic(lambda counts: function(*(part(counts) for part in parts)), of_units)
