"""How often the gates of a training are wrong, and how often its intervals hold the truth.

All models of a world are equally good, so each replacement is false; where no feature says anything of the target, so
is each first champion. What judges is the package's own: the units, the resamples, the intervals, the gates' bounds.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from airflow_mlops_provider.evaluation.bootstrap import interval, resample
from airflow_mlops_provider.evaluation.champion_gates import span
from airflow_mlops_provider.evaluation.differences import difference_of
from airflow_mlops_provider.evaluation.metrics import measure, too_rare
from airflow_mlops_provider.evaluation.resampled_metrics import statistics_of
from airflow_mlops_provider.spec.metrics import LOSSES
from judging.rates import Rate
from judging.worlds import WORLDS, holdout, nothing_known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.evaluation.metrics import Predictions

RESAMPLES = 2000
REPLACED, NOISE, DIFFERENCE, METRIC = (
    "false replacement, best of {}",
    "noise becomes champion",
    "a difference's interval holds the truth",
    "a metric's interval holds the truth",
)


def rates(repetitions: int, seed: int, worlds: Sequence[str] = tuple(WORLDS)) -> list[Rate]:
    """Return how often gates are wrong and intervals hold the truth, by world and metric."""
    return [
        rate for name in worlds for metric in WORLDS[name].metrics for rate in _counted(name, metric, repetitions, seed)
    ]


def judged(said: dict[str, Predictions], others: dict[str, Predictions], metric: str, seed: int) -> dict[str, Any]:
    """Return what the package says of the best of several models beside others: intervals, and the gates' bounds."""
    everything = said | others
    drawn = resample(
        {name: statistics_of([metric], one)[metric] for name, one in everything.items()},
        next(iter(everything.values())).drawn,
        RESAMPLES,
        seed,
    )
    sign = -1 if metric in LOSSES else 1
    winner = max(said, key=lambda name: sign * (measure(metric, said[name]).value or 0))
    rare = too_rare(metric, said[winner])
    found: dict[str, Any] = {"interval": interval(drawn["first"], 0.95, rare) if "first" in drawn else None}
    for name in others:
        gained = difference_of(metric, {one: drawn[one] for one in said}, winner, drawn[name], name, rare)
        found[name] = span(gained.quantiles, 0.95)
    return found


def _counted(name: str, metric: str, repetitions: int, seed: int) -> list[Rate]:
    world = WORLDS[name]
    chance = np.random.default_rng(seed)
    truth = np.mean([measure(metric, holdout(world, 1, chance)[0]).value for _ in range(max(repetitions, 400))])
    counted: dict[str, list[bool]] = defaultdict(list)
    for number in range(repetitions):
        names = ["champion", "first", *(f"other {index}" for index in range(9))]
        models = dict(zip(names, holdout(world, len(names), chance), strict=True))
        champion = {"champion": models.pop("champion")}
        for size in (1, 3, 10):
            found = judged(dict(list(models.items())[:size]), champion, metric, number)
            low, high = found["champion"]
            counted[REPLACED.format(size)].append(low is not None and low > 0)
            if size == 1 and low is not None and high is not None:
                counted[DIFFERENCE].append(low <= 0 <= high)
                own = found["interval"]
                counted[METRIC].append(own.low <= truth <= own.high)
        first, other = holdout(world, 2, chance, noise=True)
        low, _ = judged({"first": first, "other": other}, {"dummy": nothing_known(first)}, metric, number)["dummy"]
        counted[NOISE].append(low is not None and low > 0)
    bounds: dict[str, dict[str, float]] = {
        **{REPLACED.format(size): {"at_most": 0.025} for size in (1, 3, 10)},
        NOISE: {"at_most": 0.05},
        DIFFERENCE: {"at_least": 0.93},
        METRIC: {"at_least": 0.93},
    }
    return [
        Rate("gates", f"{name}, {metric}", what, sum(counted[what]), len(counted[what]), **bound)
        for what, bound in bounds.items()
    ]
