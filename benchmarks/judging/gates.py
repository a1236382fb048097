"""How often the gates of a training are wrong, and how often its intervals hold the truth.

All models of a world are equally good, so each replacement is false; where no feature says anything of the target, so
is each first champion. What judges is the package's own: the units, the resamples, the intervals, the gates' bounds.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from airflow_mlops_provider.evaluation.bootstrap import interval, resample
from airflow_mlops_provider.evaluation.champion_gates import span
from airflow_mlops_provider.evaluation.differences import difference_of
from airflow_mlops_provider.evaluation.metrics import measure, too_rare
from airflow_mlops_provider.evaluation.resampled_metrics import statistics_of
from airflow_mlops_provider.spec.metrics import LOSSES
from judging.parallel import each
from judging.rates import Rate
from judging.worlds import WORLDS, holdout, nothing_known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.evaluation.draws import Draws
    from airflow_mlops_provider.evaluation.metrics import Predictions
    from judging.worlds import World

RESAMPLES = 2000
#: Holdouts whose mean is a metric's truth.
TRUTH = 400
#: The world in which a gate has to see a better challenger, and the share of its own error that it has left.
SEEN, BETTER = "2,000 independent rows", 0.57
REPLACED, NOISE, DIFFERENCE, METRIC, GIVEN = (
    "false replacement, best of {}",
    "noise becomes champion",
    "a difference's interval holds the truth",
    "a metric's interval holds the truth",
    "an interval is given",
)


def rates(repetitions: int, seed: int, worlds: Sequence[str] = tuple(WORLDS)) -> list[Rate]:
    """Return how often gates are wrong and intervals hold the truth, by world and metric; and what they can see."""
    places = [(name, metric) for name in worlds for metric in WORLDS[name].metrics]
    found = each(partial(_counted, repetitions, seed), places)
    return [*(rate for rates_of_one in found for rate in rates_of_one), power(repetitions, seed)]


def judged(
    predictions: dict[str, Predictions], others: dict[str, Predictions], metric: str, seed: int
) -> dict[str, Any]:
    """Return what the package says of the best of several models beside others: intervals, and the gates' bounds."""
    return bounds_of(predictions, others, metric, drawn_of({**predictions, **others}, metric, seed))


def drawn_of(models: dict[str, Predictions], metric: str, seed: int) -> dict[str, Draws]:
    """Return one metric of models on the same resamples."""
    statistics = {name: statistics_of([metric], one)[metric] for name, one in models.items()}
    return resample(statistics, next(iter(models.values())).drawn, RESAMPLES, seed)


def bounds_of(
    predictions: dict[str, Predictions], others: dict[str, Predictions], metric: str, drawn: dict[str, Draws]
) -> dict[str, Any]:
    """Return intervals and the gates' bounds, of models that were drawn together with more."""
    sign = -1 if metric in LOSSES else 1
    winner = max(predictions, key=lambda name: sign * drawn[name].point)
    rare = too_rare(metric, predictions[winner])
    found: dict[str, Any] = {"interval": interval(drawn["first"], 0.95, rare) if "first" in drawn else None}
    for name in others:
        gained = difference_of(
            metric, {one: drawn[one] for one in predictions}, winner, drawn[name], name, rare, skill=name == "dummy"
        )
        found[name] = span(gained.quantiles, 0.95)
    return found


def power(repetitions: int, seed: int) -> Rate:
    """Return how often a better challenger, whose gain in roc_auc is 0.03, is promoted by a gate that stands alone."""
    world, chance, passed = WORLDS[SEEN], np.random.default_rng(seed), 0
    for _ in range(repetitions):
        champion, better = holdout(world, 2, chance, better=BETTER)
        low, _ = judged({"first": better}, {"champion": champion}, "roc_auc", seed)["champion"]
        passed += low is not None and low > 0
    return Rate("gates", f"{SEEN}, roc_auc", "a gain of 0.03 is seen", passed, repetitions, at_least=0.9)


def _counted(repetitions: int, seed: int, place: tuple[str, str]) -> list[Rate]:
    name, metric = place
    world = WORLDS[name]
    chance = np.random.default_rng(seed)
    truth = _truth(world, metric, chance)
    counted: dict[str, list[bool]] = defaultdict(list)
    # All holdouts by the same resamples, which are drawn once.
    for _ in range(repetitions):
        names = ["champion", "first", *(f"other {index}" for index in range(9))]
        models = dict(zip(names, holdout(world, len(names), chance), strict=True))
        drawn = drawn_of(models, metric, seed)
        champion = {"champion": models.pop("champion")}
        for size in (1, 3, 10):
            found = bounds_of(dict(list(models.items())[:size]), champion, metric, drawn)
            low, high = found["champion"]
            counted[REPLACED.format(size)].append(low is not None and low > 0)
            if size == 1:
                own = found["interval"]
                counted[GIVEN].append(own.low is not None)
                if low is not None:
                    counted[DIFFERENCE].append(low <= 0 <= high)
                if own.low is not None:
                    counted[METRIC].append(own.low <= truth <= own.high)
        first, other = holdout(world, 2, chance, noise=True)
        low, _ = judged(
            {"first": first, "other": other}, {"dummy": nothing_known(first, world.positives)}, metric, seed
        )["dummy"]
        counted[NOISE].append(low is not None and low > 0)
    # Where rows are independent and many, an interval that is too wide is wrong, too.
    bounds: dict[str, dict[str, float]] = {
        **{REPLACED.format(size): {"at_most": 0.025} for size in (1, 3, 10)},
        NOISE: {"at_most": 0.05},
        DIFFERENCE: {"at_least": 0.93} | ({"at_most": 0.97} if world.by == "row" else {}),
        METRIC: {"at_least": 0.93} | ({"at_most": 0.97} if world.by == "row" and world.tails is None else {}),
        GIVEN: {},
    }
    return [
        Rate("gates", f"{name}, {metric}", what, sum(counted[what]), len(counted[what]), **bound)
        for what, bound in bounds.items()
    ]


def _truth(world: World, metric: str, chance: np.random.Generator) -> float:
    """Return what a metric is on all rows that a world could ever have."""
    if metric == "rmse":
        return float(np.sqrt(world.square + 0.25))
    return float(np.mean([measure(metric, holdout(world, 1, chance)[0]).value for _ in range(TRUTH)]))
