"""Why there is no interval: too few units, resamples without a value, or an error that few rows carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.evaluation.heavy_tails import LEAST_INDEX, tail_index

if TYPE_CHECKING:
    from airflow_mlops_provider.evaluation.draws import Draws
    from airflow_mlops_provider.evaluation.resampling import Units

#: Below this share of defined resamples the interval would be one of another population.
_MIN_DEFINED = 0.5
#: Fewer say nothing that could be relied on, whatever is made of them.
FEWEST_BLOCKS, FEWEST_GROUPS = 5, 5
#: Of a unit that holds half of all rows nothing says how much it varies.
_FEWEST_EQUAL = 4


def too_few_units(units: Units) -> str | None:
    """Return why there are too few units to conclude anything; None when there are enough."""
    least = FEWEST_BLOCKS if units.drawn == "block" else FEWEST_GROUPS
    for each in filter(None, (units, units.besides)):
        if each.count < least:
            return f"the rows come from {each.described.things}: at least {least} are needed for an interval"
        if each.effective < _FEWEST_EQUAL:
            return (
                f"the rows come from {each.described.things} so unequal that they count as {each.effective:.1f} "
                f"equal ones: at least {_FEWEST_EQUAL} are needed for an interval"
            )
    return None


def undecided(draws: Draws) -> str | None:
    """Return why the resamples say nothing of the error: it lies in few units."""
    import numpy as np

    if not np.isfinite(draws.left_out).all():
        return "the metric is undefined without one of the resampled units: too few rows of a class"
    if not draws.bounded and (index := tail_index(draws.left_out)) < LEAST_INDEX:
        return (
            f"a few rows dominate the error (tail index {index:.2g}, at least {LEAST_INDEX:g} is needed), and larger "
            "errors may follow: judge by mae, or transform the target"
        )
    return None


def too_few_defined(defined: int, resamples: int) -> str | None:
    """Return why a statistic that is undefined on many resamples has no interval."""
    if defined >= max(2, _MIN_DEFINED * resamples):
        return None
    return f"the metric is defined on {defined} of {resamples} resamples: too few rows, groups, or rows of a class"
