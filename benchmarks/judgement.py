"""How often the decisions of a training are wrong, in worlds whose truth is known.

    python benchmarks/judgement.py [--quick] [--repetitions N] [--worlds NAME ...] [--out FILE]

prints the figures of `docs/how-sure.md`. In each world many holdouts are drawn. All candidates and the champion are
equally good, so each replacement is false; and where no feature says anything of the target, so is each first champion.
What judges is the package's own: the units that are drawn, the resamples, the intervals, the bounds of the gates.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.signal import lfilter

from airflow_mlops_provider.evaluation.bootstrap import interval, resample
from airflow_mlops_provider.evaluation.champion_gates import span
from airflow_mlops_provider.evaluation.differences import difference_of
from airflow_mlops_provider.evaluation.metrics import measure, predictions_of, too_rare
from airflow_mlops_provider.evaluation.resampled_metrics import statistics_of
from airflow_mlops_provider.evaluation.resampling import block_units, group_units, row_units
from airflow_mlops_provider.spec.metrics import LOSSES

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mlops_provider.evaluation.metrics import Predictions
    from airflow_mlops_provider.evaluation.resampling import Units

    Noise = Callable[[np.random.Generator], np.ndarray]

DAY = 86_400_000_000
RESAMPLES = 2000


@dataclass(frozen=True)
class World:
    """Where holdouts come from.

    :param units: days or customers; as many as rows where each row stands for itself.
    :param rows: of each unit.
    :param share: of a model's error that all rows of a unit have in common.
    :param level: how that share goes on from one unit to the next.
    :param by: `day`, `customer` or `row`.
    :param positives: share of rows of the positive class.
    :param tails: how a regression's errors are distributed; a binary task where it is None.
    """

    units: int
    rows: int = 1
    share: float = 0.0
    level: str = "independent"
    by: str = "row"
    positives: float = 0.3
    tails: str | None = None

    @property
    def metrics(self) -> list[str]:
        """What is judged."""
        return ["roc_auc", "log_loss"] if self.tails is None else ["rmse", "mae"]

    def unit(self) -> np.ndarray:
        """Return the unit of each row."""
        return np.repeat(np.arange(self.units), self.rows)

    def drawn(self) -> Units:
        """Return what the package draws of such rows."""
        if self.by == "day":
            return block_units(self.unit() * DAY, timedelta(0))
        return row_units(self.units * self.rows) if self.by == "row" else group_units(self.unit(), "customer")

    def common(self, chance: np.random.Generator) -> np.ndarray:
        """Return what all rows of a unit have in common, one value a unit, of variance 1."""
        free = chance.standard_normal(self.units + 200)
        if self.level == "ar":
            return lfilter([0.6], [1, -0.8], free)[200:]
        if self.level == "week":
            return np.where(np.arange(self.units) % 7 >= 5, 1.58, -0.63)
        return free[200:]


WORLDS = {
    "500 independent rows": World(500),
    "2,000 independent rows": World(2000),
    "60 days, nothing in common": World(60, 50, by="day"),
    "60 days, 5 % in common": World(60, 50, 0.05, by="day"),
    "60 days, 20 % in common": World(60, 50, 0.2, by="day"),
    "60 days, 20 % follow an AR(0.8)": World(60, 50, 0.2, "ar", by="day"),
    "60 days, 20 % follow the week": World(60, 50, 0.2, "week", by="day"),
    "20 days, 20 % in common": World(20, 100, 0.2, by="day"),
    "100 customers, 20 % in common": World(100, 20, 0.2, by="customer"),
    "3,000 rows, 2 % positive": World(3000, positives=0.02),
    "300 rows, normal errors": World(300, tails="normal"),
    "300 rows, errors of Student's t(3)": World(300, tails="t3"),
}


def holdout(world: World, models: int, chance: np.random.Generator, *, noise: bool = False) -> list[Predictions]:
    """Return what equally good models say of one holdout; nothing of the target where there is only noise."""
    size, unit, drawn = world.units * world.rows, world.unit(), world.drawn()

    def error() -> np.ndarray:
        own, common = chance.standard_normal(size), world.common(chance)[unit]
        return np.sqrt(1 - world.share) * own + np.sqrt(world.share) * common

    signal = chance.standard_normal(size)
    if world.tails is not None:
        spread: dict[str, Noise] = {
            "normal": lambda g: g.standard_normal(size),
            "t3": lambda g: g.standard_t(3, size),
        }
        truth = signal + spread[world.tails](chance)
        said = [(0 if noise else signal) + 0.5 * error() for _ in range(models)]
        return [predictions_of("regression", truth, one, units=drawn) for one in said]
    score = (0 if noise else 1.2) * signal + chance.logistic(size=size)
    truth = (score > np.quantile(score, 1 - world.positives)).astype(int)
    level = np.log(world.positives / (1 - world.positives))
    found = []
    for _ in range(models):
        logit = level + (0.0 if noise else 1.0) * signal + (0.3 if noise else 0.7) * error()
        likely = 1 / (1 + np.exp(-logit))
        found.append(predictions_of("binary", truth, np.column_stack([1 - likely, likely]), (0, 1), units=drawn))
    return found


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


def rates(world: World, repetitions: int, seed: int) -> dict[str, dict[str, float]]:
    """Return how often a world's intervals hold the truth, and how often its gates are wrong, by metric."""
    found: dict[str, dict[str, float]] = {}
    for metric in world.metrics:
        chance = np.random.default_rng(seed)
        truth = np.mean([measure(metric, holdout(world, 1, chance)[0]).value for _ in range(max(repetitions, 400))])
        counted: dict[str, list[bool]] = {}
        for number in range(repetitions):
            names = ["champion", "first", *(f"other {index}" for index in range(9))]
            models = dict(zip(names, holdout(world, len(names), chance), strict=True))
            champion = {"champion": models.pop("champion")}
            for size in (1, 3, 10):
                some = dict(list(models.items())[:size])
                said = judged(some, champion, metric, number)
                low, high = said["champion"]
                counted.setdefault(f"false replacement, best of {size}", []).append(low is not None and low > 0)
                if size == 1 and low is not None and high is not None:
                    counted.setdefault("coverage of a difference", []).append(low <= 0 <= high)
                    own = said["interval"]
                    counted.setdefault("coverage of a metric", []).append(own.low <= truth <= own.high)
                    counted.setdefault("given", []).append(True)
            candidates = holdout(world, 2, chance, noise=True)
            dummy = nothing_known(candidates[0])
            low, _ = judged({"first": candidates[0], "other": candidates[1]}, {"dummy": dummy}, metric, number)["dummy"]
            counted.setdefault("noise becomes champion", []).append(low is not None and low > 0)
        found[metric] = {name: float(np.mean(each)) for name, each in counted.items() if name != "given"}
        found[metric]["intervals given"] = len(counted.get("given", [])) / repetitions
    return found


def nothing_known(like: Predictions) -> Predictions:
    """Return what a dummy says of the same rows."""
    if like.task == "regression":
        return predictions_of("regression", like.truth, np.full(like.rows, like.truth.mean()), units=like.units)
    share = like.truth.mean()
    scores = np.tile([1 - share, share], (like.rows, 1))
    return predictions_of(like.task, like.truth, scores, like.classes, units=like.units)


def table(found: dict[str, dict[str, dict[str, float]]]) -> str:
    """Return the rates as they stand in the documentation."""
    shown = {
        "false replacement, best of 1": "best of 1",
        "false replacement, best of 3": "best of 3",
        "false replacement, best of 10": "best of 10",
        "noise becomes champion": "noise",
        "coverage of a difference": "difference held",
        "coverage of a metric": "metric held",
    }
    lines = ["| World | Metric | " + " | ".join(shown.values()) + " |", "| --- " * (2 + len(shown)) + "|"]
    for world, metrics in found.items():
        for metric, each in metrics.items():
            cells = [f"{each[name]:.1%}" if name in each else "none given" for name in shown]
            lines.append(f"| {world} | {metric} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Print the rates of every world."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=400)
    parser.add_argument("--quick", action="store_true", help="40 repetitions of three worlds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worlds", nargs="*", default=list(WORLDS))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    repetitions, worlds = (40, [*WORLDS][:1] + [*WORLDS][3:5]) if given.quick else (given.repetitions, given.worlds)
    found = {}
    for name in worlds:
        found[name] = rates(WORLDS[name], repetitions, given.seed)
        for metric, each in found[name].items():
            print(f"{name}, {metric}: " + ", ".join(f"{what} {rate:.3f}" for what, rate in each.items()))
            sys.stdout.flush()
    print(table(found))
    if given.out is not None:
        text = json.dumps({"repetitions": repetitions, "seed": given.seed, "worlds": found}, indent=1)
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
