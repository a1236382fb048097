"""Whether few units carry the error of a statistic, by what each of them contributes (the jackknife's contributions).

An interval rests on the central limit theorem. Of skewed contributions it is too short on the heavier side, unless
there are many more units than 25 times the squared skewness (Cochran, Sampling Techniques, 1977, sec. 2.15). Where
their tail is so heavy that they have no variance, no number of resamples tells how far off the statistic may be: the
largest error has not come yet (Athreya, Ann. Stat. 15, 1987).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: By how much wider an interval is on the heavier side, for each unit of skewness squared over the number of units.
#: Chosen by measurement: intervals of RMSE of 60 to 2,000 rows hold the truth 93 to 98 % of the time, with normal,
#: Laplace, Student's t(3) and t(5) and lognormal(0.5, 1) errors; without it 72 to 95 %.
_WIDER = 12.0
#: Share of the contributions that are its tail, the fewest of them that show one, and the least index of a tail whose
#: interval can be relied on. Of 300 rows RMSE with lognormal(1.5) errors is below it 97 % of the time, with Laplace
#: errors 0.1 %.
_TAIL, _FEWEST, LEAST_INDEX = 0.1, 5, 1.0


def skewness(left_out: NDArray[Any]) -> float:
    """Return the skewness of the contributions over the square root of their number: between -1 and 1.

    :param left_out: the statistic without one unit after another.

    >>> import numpy as np
    >>> skewness(np.array([1.0, 2.0, 3.0])), skewness(np.array([1.0, 1.0, 1.0]))
    (0.0, 0.0)
    """
    import numpy as np

    contributions = left_out.mean() - left_out
    spread = float(np.square(contributions).mean())
    if spread <= 1e-24 * float(np.square(left_out).mean()):
        return 0.0
    return float((contributions**3).mean() / spread**1.5 / len(left_out) ** 0.5)


def wider_on(left_out: NDArray[Any]) -> tuple[float, float]:
    """Return by which factors the lower and the upper side of a normal interval have to be wider."""
    found = skewness(left_out)
    wider = 1 + _WIDER * found**2
    return (1.0, wider) if found > 0 else (wider, 1.0)


def tail_index(left_out: NDArray[Any]) -> float:
    """Return the index of the heavier tail of the contributions (Hill, Ann. Stat. 3, 1975); infinite for no tail.

    Where it is below 2 they have no variance, below 1 no mean; of finitely many it is estimated too low.

    :param left_out: the statistic without one unit after another.
    """
    import numpy as np

    size = int(_TAIL * len(left_out))
    if size < _FEWEST:
        return np.inf
    heavier = left_out if skewness(left_out) < 0 else -left_out
    *_, least = largest = np.sort(heavier - heavier.min())[-size - 1 :][::-1]
    if least <= 0:
        return np.inf if largest[0] <= 0 else 0.0
    logs = float(np.log(largest[:-1] / least).mean())
    return 1 / logs if logs > 0 else np.inf
