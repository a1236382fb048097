"""How often a champion is replaced falsely by somebody who challenges it each day for 90 days, and how soon rightly.

Each day the champion's own recipe and several others are judged on a holdout that moved on by a day, so that looks
share most of their rows. What judges is the package's own: the choice of the winner, its gate, what a look may spend.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from airflow_mlops_provider.evaluation.against_champion import choose
from airflow_mlops_provider.evaluation.champion_gates import held_against, rate_of
from airflow_mlops_provider.evaluation.metrics import gain, measure, predictions_of
from airflow_mlops_provider.evaluation.report import CandidateScores, ChampionScores
from airflow_mlops_provider.evaluation.resampled_together import resampled_together
from airflow_mlops_provider.evaluation.resampling import block_units, row_units
from airflow_mlops_provider.registry.looks import Look, unseen_by
from airflow_mlops_provider.spec import ChampionGate
from airflow_mlops_provider.spec.evaluation import Bootstrap
from judging.parallel import each
from judging.rates import Rate
from judging.worlds import DAY, World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.evaluation.metrics import Predictions

DAYS, SOON = 90, 14
START = datetime(2013, 1, 1, tzinfo=UTC)
OWN = "the champion's recipe"
WORLDS = {
    "2,000 independent rows, 100 of them new": World(20, 100, positives=0.5),
    "60 days, nothing in common": World(60, 50, by="day"),
    "60 days, 5 % in common": World(60, 50, 0.05, by="day"),
    "60 days, 20 % in common": World(60, 50, 0.2, by="day"),
    "60 days, 20 % follow an AR(0.8)": World(60, 50, 0.2, "ar", by="day"),
    "60 days, 20 % follow the week": World(60, 50, 0.2, "week", by="day"),
}
NOW, BEFORE = ChampionGate(kind="champion"), ChampionGate(kind="champion", refresh=False, alpha=None)
_ERROR = 0.7
#: Share of a model's error that it has in common with all others.
_COMMON = 0.7
#: Size of the error that is another one each day, since a model is trained anew.
_REFITTED = 0.1
#: Size of errors beyond those, of a model whose roc_auc is lower by 0.03.
_WORSE_BY_003 = 0.7
#: Plain standard errors of a gain of which no interval at 97.5 % lies above zero.
_HOPELESS = 1.8


def rates(repetitions: int, seed: int, worlds: Sequence[str] = tuple(WORLDS)) -> list[Rate]:
    """Return how often the champion is replaced falsely in 90 daily challenges, and rightly in 14; and refreshed."""
    seeds = range(seed * 1_000_000, seed * 1_000_000 + repetitions)
    found = [
        Rate(
            "challenges",
            name,
            f"any false replacement in {DAYS} daily challenges of the best of {challengers}",
            sum(each(partial(falsely_replaced, WORLDS[name], challengers, gate), some)),
            len(some),
            rule,
            at_most=0.05 if rule == "now" else None,
        )
        for name in worlds
        for challengers in (1, 3, 10)
        # Of the earlier rule, a few tell enough.
        for rule, gate, some in (("before", BEFORE, seeds[: max(repetitions // 10, 1)]), ("now", NOW, seeds))
    ]
    return [*found, *_power(seeds[: max(repetitions // 4, 1)]), *_refreshes(seeds[: max(repetitions // 4, 1)])]


def _power(seeds: Sequence[int]) -> list[Rate]:
    """Return how often a recipe that is better by 0.03 of roc_auc is promoted."""
    name = "2,000 independent rows, 100 of them new"
    days = each(partial(days_until_replaced, WORLDS[name], NOW), seeds)
    what = "a recipe better by 0.03 of roc_auc takes the champion's place"
    return [
        Rate("challenges", name, f"{what} {when}", sum(map(took, days)), len(days), at_least=0.9)
        for when, took in (
            ("at a single gate", lambda day: day == 0),
            (f"within {SOON} daily challenges", lambda day: day is not None),
        )
    ]


def _refreshes(seeds: Sequence[int]) -> list[Rate]:
    """Return how often the champion's own recipe goes on, as good as it was, and worse by twice the margin."""
    name, margin = "2,000 independent rows, 100 of them new", ChampionGate(kind="champion", margin=0.015)
    as_good = [
        Rate("challenges", name, "the champion's recipe is refreshed, as good as it was", happened, len(seeds), rule)
        for rule, gate in (("before", BEFORE), ("now", NOW))
        for happened in (sum(each(partial(refreshed, WORLDS[name], gate), seeds)),)
    ]
    worse = each(partial(refreshed, WORLDS[name], margin, own_worse=_WORSE_BY_003), seeds)
    what = "a refresh worse than the champion by twice the margin of 0.015 is refused"
    return [*as_good, Rate("challenges", name, what, len(seeds) - sum(worse), len(seeds))]


@dataclass(frozen=True)
class Stream:
    """Rows that go on from day to day, and what several recipes say of them.

    Most of a model's error is that of all models, which know the same features.

    :param world: a holdout of it is judged each day.
    :param worse: size of the champion's errors beyond those of the others; and of those of its own recipe today.
    """

    world: World
    chance: np.random.Generator
    recipes: int
    days: int
    worse: float = 0.0
    own_worse: float = 0.0
    signal: np.ndarray = field(init=False)
    truth: np.ndarray = field(init=False)
    errors: np.ndarray = field(init=False)
    beyond: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        """Draw all days at once."""
        size = (self.world.units + self.days) * self.world.rows
        signal = self.chance.standard_normal(size)
        score = 1.2 * signal + self.chance.logistic(size=size)
        truth = (score > np.quantile(score, 1 - self.world.positives)).astype(int)
        whole = World(self.world.units + self.days, self.world.rows, level=self.world.level)
        share, unit = self.world.share, whole.unit()
        everybody = self.chance.standard_normal(size)
        errors = np.stack(
            [
                np.sqrt(_COMMON) * everybody
                + np.sqrt((1 - _COMMON) * share) * whole.common(self.chance)[unit]
                + np.sqrt((1 - _COMMON) * (1 - share)) * self.chance.standard_normal(size)
                for _ in range(self.recipes + 1)
            ]
        )
        beyond = self.chance.standard_normal(size)
        for name, value in (("signal", signal), ("truth", truth), ("errors", errors), ("beyond", beyond)):
            object.__setattr__(self, name, value)

    def predictions(self, day: int) -> tuple[Predictions, dict[str, Predictions]]:
        """Return what the champion and the candidates of a day say of its holdout."""
        rows = slice(day * self.world.rows, (day + self.world.units) * self.world.rows)
        units = row_units(self.world.units * self.world.rows)
        if self.world.by == "day":
            moments = (day + self.world.unit()) * DAY
            units = block_units(moments, timedelta(0))
        signal, truth = self.signal[rows], self.truth[rows]
        level = np.log(self.world.positives / (1 - self.world.positives))

        def one(place: int, worse: float) -> Predictions:
            error = _ERROR * self.errors[place, rows] + worse * self.beyond[rows]
            error = error + _REFITTED * self.chance.standard_normal(len(error))
            likely = 1 / (1 + np.exp(-(level + signal + error)))
            return predictions_of("binary", truth, np.column_stack([1 - likely, likely]), (0, 1), units=units)

        others = {f"recipe {place}": one(place, 0.0) for place in range(1, self.recipes + 1)}
        return one(0, self.worse), {OWN: one(0, self.own_worse), **others}


def challenged(
    champion: Predictions,
    predictions: dict[str, Predictions],
    gate: ChampionGate,
    looks: list[Look],
    as_of: datetime,
    metric: str,
    *,
    screened: bool = False,
    resamples: int = 2000,
) -> str | None:
    """Return which candidate takes the champion's place, and keep the look at a replacement; None when none does.

    :param screened: do not resample where the best is so little better that no interval could lie above zero.
    """
    values = {name: _value(metric, one) for name, one in predictions.items()}
    scores = {name: CandidateScores(metrics={metric: value}, recipe=name) for name, value in values.items()}
    best = max(values, key=lambda name: gain(metric, values[name], 0.0))
    beside = ChampionScores(
        seq=1,
        version=1,
        order_key=START,
        compared="paired",
        metrics={metric: _value(metric, champion)},
        recipe=OWN,
        unseen=unseen_by(looks, OWN, str(as_of), as_of),
    )
    if best != OWN or not gate.refresh:
        spent, later = rate_of(gate, beside), as_of + timedelta(days=1)
        looks.append(Look(recipe=OWN, lineage=str(as_of), as_of=as_of, spent=spent, candidate=best, at=later))
    if screened and _plain(champion, predictions[best]) < _HOPELESS:
        return None
    together = resampled_together(
        [metric],
        predictions,
        scores,
        Bootstrap(resamples=resamples),
        len(looks),
        closest_to=best,
        besides={OWN: predictions[OWN]} if OWN in predictions else {},
        champion=champion,
    )
    found = choose(together, beside, best, OWN if OWN in predictions else None, [gate])
    return found.winner if held_against(gate, metric, scores[found.winner], found.champion).passed else None


def _value(metric: str, predictions: Predictions) -> float:
    # The package's own takes ten times as long, by checking what is known here.
    return (
        float(_losses(predictions).mean()) if metric == "log_loss" else float(measure(metric, predictions).value or 0)
    )


def _losses(predictions: Predictions) -> np.ndarray:
    return -np.log(predictions.scores[np.arange(predictions.rows), predictions.truth])


def _plain(champion: Predictions, best: Predictions) -> float:
    """Return the mean fall of the log loss in its plain standard errors, which no interval is narrower than."""
    falls, units = _losses(champion) - _losses(best), champion.drawn
    each = np.bincount(units.codes, weights=falls - falls.mean())
    return float(falls.sum() / np.sqrt(np.square(each).sum()))


def falsely_replaced(world: World, challengers: int, gate: ChampionGate, seed: int) -> bool:
    """Return whether one of so many equally good recipes takes the champion's place within 90 daily challenges."""
    stream, looks = Stream(world, np.random.default_rng(seed), challengers, DAYS), []
    for day in range(DAYS):
        champion, predictions = stream.predictions(day)
        del predictions[OWN]
        if challenged(
            champion, predictions, gate, looks, START + timedelta(days=day), "log_loss", screened=True, resamples=1000
        ):
            return True
    return False


def days_until_replaced(world: World, gate: ChampionGate, seed: int) -> int | None:
    """Return on which of 14 daily challenges a recipe that is better by 0.03 of roc_auc takes the champion's place."""
    stream, looks = Stream(world, np.random.default_rng(seed), 1, SOON, worse=_WORSE_BY_003), []
    for day in range(SOON):
        champion, predictions = stream.predictions(day)
        del predictions[OWN]
        if challenged(champion, predictions, gate, looks, START + timedelta(days=day), "roc_auc"):
            return day
    return None


def refreshed(world: World, gate: ChampionGate, seed: int, own_worse: float = 0.0) -> bool:
    """Return whether the champion's own recipe takes its place, beside two others that are as good as the champion."""
    champion, predictions = Stream(world, np.random.default_rng(seed), 2, 1, own_worse=own_worse).predictions(0)
    return challenged(champion, predictions, gate, [], START, "roc_auc") == OWN
