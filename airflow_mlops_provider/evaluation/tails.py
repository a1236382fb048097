"""Bounds of a gain at error rates far smaller than resamples resolve: what repeated looks are judged by.

Of 2,000 resamples one lies beyond a rate of 0.0005. So evaluation stores the ends at a ladder of rates, by the
standard error and Student's t, and a gate takes the one that its look may spend.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.evaluation.report import Difference

#: One-sided rates of the ends in `Difference.tail`: each half of the one before, down to less than one in a million.
RATES = tuple(0.025 / 2**step for step in range(16))
#: Power with which a gain is called visible (Cohen 1988).
POWER = 0.8


def least(tail: Sequence[float], quantiles: Sequence[float]) -> list[float]:
    """Return ends no higher than that of the resamples at the first rate: their errors may lean to one side."""
    if not tail or not quantiles:
        return []
    end = quantiles[math.floor(RATES[0] * (len(quantiles) - 1))]
    return [min(one, end) for one in tail]


def lower_end(difference: Difference, rate: float) -> float | None:
    """Return the lower end of a gain at a one-sided error rate of at most `RATES[0]`; None where it is not known.

    >>> from airflow_mlops_provider.evaluation.report import Difference
    >>> lower_end(Difference(value=0.1, tail=[0.05, 0.04, 0.03]), 0.00625)
    0.03
    """
    if rate <= 0:
        return None
    place = max(math.log2(RATES[0] / rate), 0.0)
    below = math.floor(place)
    if below >= len(difference.tail):
        return None
    upper, lower = difference.tail[below], difference.tail[min(below + 1, len(difference.tail) - 1)]
    return upper + (place - below) * (lower - upper)


def visible(difference: Difference, rate: float) -> float | None:
    """Return the smallest gain that is detected with 80 % power at a one-sided error rate (Bloom 1995).

    The standard error times the sum of two normal quantiles; the first is Student's, and that of the best of several,
    where that is larger.
    """
    if not difference.error or rate <= 0:
        return None
    normal = NormalDist()
    needed, low = normal.inv_cdf(1 - rate), lower_end(difference, rate)
    if low is not None and difference.value is not None:
        needed = max(needed, (difference.value - low) / difference.error)
    return difference.error * (needed + normal.inv_cdf(POWER))
