"""Bootstrap of the metrics by a plan of what is drawn, fast enough to be on in every training.

A resample with replacement is a vector of counts, one a unit (Efron & Tibshirani 1993, ch. 6 and 13). A metric is
prepared once, with its sorting, and is then a function of counts. Models that are judged together share the counts, so
their difference is paired.

An interval is the percentile one, made as much wider as few units, and units that follow each other, ask for: by
Student's t over the normal quantile with as many degrees of freedom as there are independent units (Cameron, Gelbach &
Miller 2008), and by the long-run variance of what each unit contributes (`dependence`). The contributions are those of
the jackknife: the statistic without one unit after another.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.evaluation.draws import Draws
from airflow_mlops_provider.evaluation.refusals import too_few_defined, too_few_units, undecided
from airflow_mlops_provider.evaluation.report import Interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from threadpoolctl import ThreadpoolController

    from airflow_mlops_provider.evaluation.resampling import Units
    from airflow_mlops_provider.evaluation.statistic import Statistic

#: Counts held at once: 4 MB, which stays in a processor's cache.
_CHUNK = 1_000_000
_QUANTILES = 1001
#: Standard errors of the difference within which another candidate might as well have been the best. Where one is the
#: best by chance, the others lie two and more behind it.
_CONTENDS = 4.0


def resample(statistics: Mapping[Any, Statistic], units: Units, resamples: int, seed: int) -> dict[Any, Draws]:
    """Return each statistic on the same resamples of the same units."""
    import numpy as np

    why, whole = too_few_units(units), np.ones((1, units.count))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"), _threads().limit(limits=1):
        if why is not None:
            points = _values(statistics, units, whole)
            return {key: Draws(float(point[0]), np.empty(0), np.empty(0), why=why) for key, point in points.items()}
        drawn, without = _counts(units.count, resamples, seed), 1 - np.eye(units.count)
        values = _values(statistics, units, np.concatenate([whole, without, drawn]))
        besides = {} if units.besides is None else _values(statistics, units.besides, 1 - np.eye(units.besides.count))
    ordered, ends, effective = units.drawn == "block", [1, 1 + units.count], units.effective
    return {
        key: Draws(
            float(point[0]),
            value,
            left_out,
            ordered,
            besides.get(key),
            effective=effective,
            bounded=statistics[key].bounded,
        )
        for key, (point, left_out, value) in ((key, np.split(each, ends)) for key, each in values.items())
    }


def jackknife(statistics: Mapping[Any, Statistic], units: Units) -> dict[Any, NDArray[Any]]:
    """Return each statistic without one unit after another."""
    import numpy as np

    with np.errstate(divide="ignore", invalid="ignore", over="ignore"), _threads().limit(limits=1):
        return _values(statistics, units, 1 - np.eye(units.count))


def interval(draws: Draws | None, confidence: float, why: str | None = None) -> Interval:
    """Return the two-sided interval of a resampled statistic; `why` says why there is none."""
    import numpy as np

    if draws is None or (why := why or draws.why) is not None:
        return Interval(low=None, high=None, confidence=confidence, resamples=0, why=why)
    defined = draws.values[np.isfinite(draws.values)]
    if why := too_few_defined(len(defined), len(draws.values)) or undecided(draws):
        return Interval(low=None, high=None, confidence=confidence, resamples=len(defined), why=why)
    low, high = widened(draws, np.array([(1 - confidence) / 2, (1 + confidence) / 2]))
    return Interval(low=float(low), high=float(high), confidence=confidence, resamples=len(defined))


def quantiles(draws: Draws, alternatives: Sequence[Draws] = ()) -> tuple[list[float], str | None]:
    """Return 1,001 quantiles of a resampled statistic in ascending order, or why there are none.

    :param alternatives: the same statistic of those among which this one was chosen as the best.
    """
    import numpy as np

    defined = draws.values[np.isfinite(draws.values)]
    if why := draws.why or too_few_defined(len(defined), len(draws.values)) or undecided(draws):
        return [], why
    return [float(value) for value in widened(draws, np.linspace(0, 1, _QUANTILES), alternatives)], None


def widened(draws: Draws, shares: NDArray[Any], alternatives: Sequence[Draws] = ()) -> NDArray[Any]:
    """Return quantiles of a statistic's error around its value: those of the resamples, wider as they have to be.

    The lower ones of the best of several are simultaneous: they hold for whichever of them were chosen.

    :param shares: ascending, from 0 to 1.
    :param alternatives: those among which it was chosen.
    """
    import numpy as np
    from scipy.stats import norm, t

    factor, freedom = draws.wider
    below, above = draws.sides
    defined = draws.values[np.isfinite(draws.values)]
    inside = np.clip(shares, 0.5 / len(defined), 1 - 0.5 / len(defined))
    normal = norm.ppf(inside)
    # In the middle both are 0: there the factor is that of their slopes, and of no interest to an interval.
    tails = np.where(np.abs(normal) > 1e-6, t.ppf(inside, freedom) / np.where(normal == 0, 1, normal), 1.0)
    errors = (_at(defined, inside) - draws.point) * factor * tails * np.where(inside < 0.5, below, above)
    if others := _contenders(draws, alternatives):
        errors = np.where(inside < 0.5, np.minimum(errors, _of_the_best(draws, others, inside)), errors)
    return np.asarray(np.maximum.accumulate(draws.point + errors))


def lower_ends(draws: Draws, rates: Sequence[float], alternatives: Sequence[Draws] = ()) -> tuple[float, list[float]]:
    """Return the standard error of a statistic, and its lower ends at error rates that no number of resamples resolves.

    By Student's t, and for the best of several by Bonferroni among those that might as well have been chosen: far out
    in the tails the largest error of several is hardly smaller.

    :param rates: one-sided, each below 0.5.
    :param alternatives: those among which it was chosen.
    """
    import numpy as np
    from scipy.stats import t

    together = [draws, *_contenders(draws, alternatives)]
    factors, freedoms = zip(*(one.wider for one in together), strict=True)
    error = _spread(draws.values) * max(factors)
    tails = t.isf(np.asarray(rates) / len(together), min(freedoms))
    below = max(one.sides[0] for one in together)
    return error, [float(each) for each in draws.point - error * below * tails]


def _contenders(draws: Draws, alternatives: Sequence[Draws]) -> list[Draws]:
    """Return the alternatives that might as well have been chosen (Hansen, J. Bus. Econ. Stat. 23, 2005)."""
    import numpy as np

    found = []
    for alternative in alternatives:
        behind, error = draws.point - alternative.point, _spread(draws.values - alternative.values)
        if np.isfinite(alternative.point) and error > 0 and behind <= _CONTENDS * error:
            found.append(alternative)
    return found


def _of_the_best(draws: Draws, alternatives: Sequence[Draws], shares: NDArray[Any]) -> NDArray[Any]:
    """Return quantiles of the largest studentised error of several, in this one's unit (White 2000; Hansen 2005).

    As wide as the one of them that has to be widest: what seems the best is often one whose error seems small.
    """
    import numpy as np
    from scipy.stats import norm, t

    together = [one for one in (draws, *alternatives) if _spread(one.values) > 0]
    if not together:
        return np.zeros(len(shares))
    factors, freedoms = zip(*(one.wider for one in together), strict=True)
    above = np.stack([(one.values - one.point) / _spread(one.values) for one in together])
    largest = above[:, np.isfinite(above).all(axis=0)].max(axis=0)
    tails = t.isf(norm.sf(_at(largest, 1 - shares)), min(freedoms))
    return np.asarray(-_spread(draws.values) * max(factors) * tails)


def _at(values: NDArray[Any], shares: NDArray[Any]) -> NDArray[Any]:
    """Return many quantiles as `numpy.quantile` has them, which finds each place anew."""
    import numpy as np

    return np.asarray(np.interp(shares * (len(values) - 1), np.arange(len(values)), np.sort(values)))


def _spread(values: NDArray[Any]) -> float:
    import numpy as np

    defined = values[np.isfinite(values)]
    return float(defined.std()) if len(defined) else 0.0


@cache
def _threads() -> ThreadpoolController:
    """Return what bounds the threads of numpy: found once, since looking for libraries takes longer than a window."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _values(statistics: Mapping[Any, Statistic], units: Units, counts: NDArray[Any]) -> dict[Any, NDArray[Any]]:
    """Return statistics of counts of units, in the order in which they were requested."""
    import numpy as np

    functions = {key: one.of_units(units) for key, one in statistics.items()}
    found = {key: function(counts) for key, function in functions.items() if function is not None}
    slow = {key: statistics[key] for key, function in functions.items() if function is None}
    parts: dict[Any, list[NDArray[Any]]] = {key: [] for key in slow}
    size = max(1, _CHUNK // max(units.rows, 1))
    for start in range(0, len(counts) if slow else 0, size):
        # Whole numbers of four bytes: what is summed along the rows is summed fastest.
        lines = counts[start : start + size].astype(np.int32)[:, units.codes]
        for key, one in slow.items():
            parts[key].append(one(lines))
    found |= {key: np.concatenate(each) for key, each in parts.items()}
    return {key: found[key] for key in statistics}


@lru_cache(maxsize=1)
def _counts(units: int, resamples: int, seed: int) -> NDArray[Any]:
    """Return how often each unit is drawn, resamples x units; an evaluation asks for the same ones again and again."""
    import numpy as np

    drawn = np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), size=resamples)
    counts = np.asarray(drawn, dtype=np.float64)
    counts.setflags(write=False)
    return counts
