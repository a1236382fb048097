"""A statistic on the resamples of some units, and by how much its error is wider than they show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.evaluation.dependence import long_run_factor
from airflow_mlops_provider.evaluation.heavy_tails import wider_on
from airflow_mlops_provider.evaluation.metrics import gain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Draws:
    """One statistic on the resamples of some units.

    :param point: on the units as they are.
    :param values: one a resample.
    :param left_out: without one unit after another.
    :param ordered: whether the units follow each other in time.
    :param besides: without one after another of the groups, where blocks are drawn and rows belong to groups, too.
    :param why: why nothing can be concluded; None when something can.
    :param effective: as how many units of equal size they count; their number when left out.
    :param least: a variance below which its own must not be taken, and the degrees of freedom of that.
    :param bounded: whether no unit can carry it away, however heavy the tail of those that were seen.
    :param between_models: it is the difference of two models, of which one may wait for more days.
    """

    point: float
    values: NDArray[Any]
    left_out: NDArray[Any]
    ordered: bool = False
    besides: NDArray[Any] | None = None
    why: str | None = None
    effective: float | None = None
    least: tuple[float, float] | None = None
    bounded: bool = False
    between_models: bool = False

    def gain_over(self, metric: str, other: Draws | float) -> Draws:
        """Return by how much this is better than another on the same resamples, or than a number that is known."""
        return self._combined(other, lambda mine, theirs: gain(metric, mine, theirs))

    def share_over(self, other: Draws | float) -> Draws:
        """Return by which share of both a loss is smaller than another: where the target grows, the share does not.

        A share of the other one alone is skewed: of equally good models, the best of several is above 0 too often.
        """
        import numpy as np

        with np.errstate(divide="ignore", invalid="ignore"):
            return self._combined(other, lambda mine, theirs: (theirs - mine) / (theirs + mine))

    def skill_over(self, other: Draws | float) -> Draws:
        """Return the skill score of a loss beside that of a dummy (Murphy 1988), which is seldom about as large."""
        import numpy as np

        with np.errstate(divide="ignore", invalid="ignore"):
            return self._combined(other, lambda mine, theirs: 1 - mine / theirs)

    def recorded(self, value: float, error: float | None) -> Draws:
        """Return a statistic of which only its value and its error are known, to be set beside this one.

        :param error: standard error; that of this one where nobody knows it.
        """
        import numpy as np

        spread = float(self.values[np.isfinite(self.values)].std()) if error is None and len(self.values) else error
        drawn = np.random.default_rng(len(self.values)).normal(value, spread or 0.0, len(self.values))
        alone = np.full(len(self.left_out), value)
        besides = None if self.besides is None else np.full(len(self.besides), value)
        return Draws(value, drawn, alone, self.ordered, besides, bounded=self.bounded)

    def _combined(self, other: Draws | float, function: Callable[[Any, Any], Any]) -> Draws:
        def over(part: str) -> Any:
            return function(getattr(self, part), getattr(other, part) if isinstance(other, Draws) else other)

        return Draws(
            over("point"),
            over("values"),
            over("left_out"),
            self.ordered,
            None if self.besides is None else over("besides"),
            self.why or (other.why if isinstance(other, Draws) else None),
            self.effective,
            bounded=self.bounded,
        )

    @property
    def sides(self) -> tuple[float, float]:
        """By which factors the lower and the upper side of an interval are wider, where few units may carry it away."""
        return (1.0, 1.0) if self.bounded else wider_on(self.left_out)

    @property
    def wider(self) -> tuple[float, float]:
        """By how much intervals have to be wider than the resamples say, and the degrees of freedom of their error."""
        import numpy as np

        units = self.effective or len(self.left_out)
        factor, freedom = (
            long_run_factor(self.left_out, between_models=self.between_models) if self.ordered else (1.0, units - 1.0)
        )
        freedom = min(freedom, units - 1.0)
        own, ratio = _error(self.left_out) * factor**0.5, factor * units / (units - 1)
        if self.besides is not None and own > 0 and (other := _error(self.besides)) > own:
            ratio, freedom, own = ratio * (other / own) ** 2, min(freedom, len(self.besides) - 1.0), other
        if self.least is not None and 0 < own**2 < self.least[0]:
            ratio, freedom = ratio * self.least[0] / own**2, self.least[1]
        return float(np.sqrt(ratio)), freedom


def widest(families: Sequence[Sequence[Draws]]) -> Draws:
    """Return the largest distance between the members of a family, on the same resamples."""
    import numpy as np

    def spread(part: Callable[[Draws], Any]) -> Any:
        stacked = [np.stack([part(one) for one in family]) for family in families]
        return np.max([each.max(axis=0) - each.min(axis=0) for each in stacked], axis=0)

    first = families[0][0]
    besides = None if first.besides is None else spread(lambda one: one.besides)
    return Draws(
        float(spread(lambda one: one.point)),
        spread(lambda one: one.values),
        spread(lambda one: one.left_out),
        first.ordered,
        besides,
        next((one.why for family in families for one in family if one.why is not None), None),
        first.effective,
        bounded=first.bounded,
    )


def _error(left_out: NDArray[Any]) -> float:
    """Return the jackknife's standard error (Efron & Tibshirani 1993, ch. 11), of units that are independent."""
    import numpy as np

    return float(np.sqrt((len(left_out) - 1) * left_out.var()))
