"""What is usual for a column: how far stretches of its own reference lie from the rest of it.

Days differ from each other though nothing changes: by their weather, by the day of the week, by what the day before was
like. Independent rows show none of that. So the reference is cut, in time, into stretches as long as the window, and a
window is unusual when it lies farther away than they do: by a prediction bound for one more of them, which allows for
how few they are and for how closely they follow each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from airflow_mlops_provider.evaluation.dependence import long_run_factor
from airflow_mlops_provider.monitoring.effect_sizes import by_chance, distance

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from numpy.typing import NDArray

    from airflow_mlops_provider.monitoring.effect_sizes import Scale

BoundBy = Literal["threshold", "chance", "stretches"]

#: Fewest stretches that say what is usual; where there are fewer, half as long ones are taken.
FEWEST = 8
#: Standard deviations above the mean of the stretches: of a column, which counts among others, as for 5 % of normal
#: values; of what makes a window drift by itself. `benchmarks/judging/drift.py` measures both.
AMONG_OTHERS, ALONE = 1.645, 4.0
#: No bound lies beyond so many times the farthest stretch: of few that follow each other Student's t has no end.
_FARTHEST = 2.0
#: Standard deviations above the mean of what independent rows show: with many columns, chance alone passes the 99th
#: percentile every week.
_BY_CHANCE = 4.0
_DRAWS = 60
#: A stretch counts with this share of the rows of the middle one: the first and the last are cut off.
_WHOLE = 0.5
#: Rows of a stretch below which its distance is that of chance alone.
_LEAST_ROWS = 10


@dataclass(frozen=True)
class Stretches:
    """How a reference is cut.

    :param length: of a stretch: the window's, or shorter where the reference holds too few of them.
    :param of: the stretch of each sampled row, counted from 0.
    :param count: how many there are.
    :param moments: of each sampled row, in microseconds since 1970.
    :param end: where they end, less multiples of `window`.
    :param window: how long they should be.
    """

    length: timedelta
    of: NDArray[Any]
    count: int
    moments: NDArray[Any]
    end: datetime
    window: timedelta

    def among(self, rows: NDArray[Any]) -> NDArray[Any] | None:
        """Return the stretch of each of some rows, cut anew: those with predictions are the newest part of all.

        :param rows: which rows, one truth value a row.
        """
        found = cut(self.moments[rows], self.end, self.window)
        return None if found is None else found.of


@dataclass(frozen=True)
class Usual:
    """How far a window may lie from the reference.

    :param bound: a larger distance is unusual.
    :param by: what it follows from: the largest of what the settings, chance and the stretches say.
    :param stretches: distance of each stretch from the rest, NaN of one that is not whole; empty when too few are.
    """

    bound: float
    by: BoundBy
    stretches: NDArray[Any]


def cut(moments: NDArray[Any], end: datetime, length: timedelta) -> Stretches | None:
    """Cut a reference into what windows would have been before.

    The stretches end at the window's end, less multiples of its length. None when there are fewer than `FEWEST`,
    however short they are.

    :param moments: of each sampled row, in microseconds since 1970.
    """
    import numpy as np

    span = int(moments.max() - moments.min()) if len(moments) else 0
    micros, halved = round(length.total_seconds() * 1e6), 0
    while micros * FEWEST > span and micros > 1:
        micros, halved = micros // 2, halved + 1
    numbers, of = np.unique((moments - int(end.timestamp() * 1e6)) // max(micros, 1), return_inverse=True)
    if len(numbers) < FEWEST:
        return None
    return Stretches(length / 2**halved, of, len(numbers), moments, end, length)


def usual_distance(
    scale: Scale,
    codes: NDArray[Any],
    of: NDArray[Any] | None,
    *,
    shares: NDArray[Any],
    rows: int,
    threshold: float,
    deviations: float,
    seed: int,
    stretches: int | None = None,
) -> Usual:
    """Return the distance beyond which a window is unusual.

    :param codes: the bins of the reference's values.
    :param of: the stretch of each of them; None when the reference knows no time.
    :param shares: of the values, in each bin, from which independent rows are drawn.
    :param rows: values of the window.
    :param threshold: the least distance that matters.
    :param deviations: `AMONG_OTHERS` or `ALONE`.
    :param stretches: how many there are, also without a value; those with values when left out.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    drawn = by_chance(scale, shares, (len(codes), rows), _DRAWS, rng)
    found: list[tuple[float, BoundBy]] = [
        (threshold, "threshold"),
        (float(drawn.mean() + _BY_CHANCE * drawn.std()), "chance"),
    ]
    apart, sizes = (np.empty(0), np.empty(0)) if of is None else _apart(scale, codes, of, stretches or 0)
    if (whole := np.isfinite(apart)).sum() < FEWEST:
        return Usual(*max(found), np.empty(0))
    # Stretches have another number of rows than the window: chance moves them farther, or less far.
    middle = int(np.median(sizes[whole]))
    own = scale.counts(codes) / len(codes)
    noise = np.square(by_chance(scale, own, (len(codes) - middle, middle), _DRAWS, rng)).mean() * middle
    apart = np.sqrt(np.maximum(np.square(apart) - noise / np.maximum(sizes, 1), 0) + np.square(drawn).mean())
    found.append((prediction_bound(apart[whole], deviations), "stretches"))
    return Usual(*max(found), apart)


def usual_shift(missing: NDArray[Any], stretches: Stretches | None, threshold: float) -> float:
    """Return the difference of the shares of missing values beyond which a window is unusual.

    :param missing: whether the value of each row of the reference is missing.
    """
    import numpy as np

    if stretches is None or not missing.any():
        return threshold
    sizes = np.bincount(stretches.of, minlength=stretches.count)
    whole = _whole(sizes)
    shares = np.bincount(stretches.of, missing, minlength=stretches.count)[whole] / sizes[whole]
    if len(shares) < FEWEST:
        return threshold
    return max(threshold, prediction_bound(np.abs(shares - missing.mean()), ALONE))


def level(ratios: NDArray[Any], weights: NDArray[Any], share: float) -> NDArray[Any]:
    """Return what columns that hold a share of the weight reach together: the largest ratio that all of them have.

    :param ratios: distance over bound of each column, in the last axis.
    :param weights: of each column.

    >>> import numpy as np
    >>> float(level(np.array([3.0, 0.5, 2.0]), np.array([0.2, 0.5, 0.3]), 0.5))
    2.0
    """
    import numpy as np

    order = np.argsort(-ratios, axis=-1, kind="stable")
    reached = np.cumsum(weights[order], axis=-1) >= min(share, weights.sum()) - 1e-9
    place = np.argmax(reached, axis=-1, keepdims=True)
    return np.take_along_axis(np.take_along_axis(ratios, order, axis=-1), place, axis=-1)[..., 0]


def usual_level(columns: Sequence[Usual], weights: Sequence[float], share: float) -> float | None:
    """Return the level beyond which a window is unusual; None when the reference knows no stretches.

    Columns that move together, or one that holds the share alone, reach a level of 1 as often as one column does.
    """
    import numpy as np

    known = [(usual, weight) for usual, weight in zip(columns, weights, strict=True) if len(usual.stretches)]
    if not known:
        return None
    apart = np.stack([usual.stretches / usual.bound for usual, _ in known], axis=-1)
    whole = np.isfinite(apart).all(axis=-1)
    if whole.sum() < FEWEST:
        return None
    return prediction_bound(level(apart[whole], np.array([weight for _, weight in known]), share), ALONE)


def prediction_bound(values: NDArray[Any], deviations: float) -> float:
    """Return the bound that one more value exceeds as rarely as a normal one does so many standard deviations.

    By Student's t on as many values as the series is worth: values that follow each other are worth fewer (for
    independent ones: Hahn & Meeker 1991, Statistical Intervals).

    :param values: of one stretch after another.

    >>> import numpy as np
    >>> round(prediction_bound(np.random.default_rng(0).normal(size=5000), 3.0), 1)
    3.0
    """
    import numpy as np
    from scipy.stats import norm, t

    _, freedom = long_run_factor(values)
    worth = freedom + 1
    sd = float(np.sqrt(np.square(values - values.mean()).mean() * worth / freedom * (1 + 1 / worth)))
    bound = float(values.mean()) + float(t.isf(norm.sf(deviations), freedom)) * sd
    return min(bound, _FARTHEST * float(values.max()))


def _apart(scale: Scale, codes: NDArray[Any], of: NDArray[Any], count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return how far each stretch lies from the rest of the reference, NaN of one that is not whole; and its rows."""
    import numpy as np

    every, sizes = scale.counts(codes), np.bincount(of, minlength=count)
    found = np.full(len(sizes), np.nan)
    if np.count_nonzero(sizes) < FEWEST:
        return found, sizes
    parts = np.split(codes[np.argsort(of, kind="stable")], np.cumsum(sizes)[:-1])
    for number in np.flatnonzero(_whole(sizes)):
        part = scale.counts(parts[number])
        found[number] = distance(scale, every - part, part)
    return found, sizes


def _whole(sizes: NDArray[Any]) -> NDArray[Any]:
    """Return which stretches are whole, by their rows."""
    import numpy as np

    present = sizes[sizes > 0]
    least = max(_WHOLE * float(np.median(present)), _LEAST_ROWS) if len(present) else np.inf
    return np.asarray(sizes >= least)
