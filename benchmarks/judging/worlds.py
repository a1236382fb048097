"""Worlds whose truth is known: holdouts of models that are all equally good."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.signal import lfilter

from airflow_mlops_provider.evaluation.metrics import predictions_of
from airflow_mlops_provider.evaluation.resampling import block_units, group_units, row_units

if TYPE_CHECKING:
    from airflow_mlops_provider.evaluation.metrics import Predictions
    from airflow_mlops_provider.evaluation.resampling import Units

DAY = 86_400_000_000


@dataclass(frozen=True)
class World:
    """Where holdouts come from.

    :param units: days or customers; as many as rows where each row stands for itself.
    :param rows: of each unit.
    :param share: of a model's error that all rows of a unit have in common.
    :param level: how that share goes on from one unit to the next.
    :param by: `day`, `customer` or `row`.
    :param positives: share of rows of the positive class.
    :param tails: how a regression's errors are distributed; a binary task where it is None. A number is the standard
        deviation of the logarithm of lognormal ones.
    :param largest: share of all rows that the first unit has; equal units where it is 0.
    """

    units: int
    rows: int = 1
    share: float = 0.0
    level: str = "independent"
    by: str = "row"
    positives: float = 0.3
    tails: str | float | None = None
    largest: float = 0.0

    @property
    def metrics(self) -> list[str]:
        """What is judged."""
        return ["roc_auc", "log_loss"] if self.tails is None else ["rmse", "mae"]

    @property
    def square(self) -> float:
        """The mean square of a regression's errors."""
        if isinstance(self.tails, float):
            return float(np.exp(2 * self.tails**2))
        return {"normal": 1.0, "laplace": 2.0, "t3": 3.0}[str(self.tails)]

    def unit(self) -> np.ndarray:
        """Return the unit of each row."""
        sizes = np.full(self.units, self.rows)
        if self.largest:
            sizes[0] = round(self.largest / (1 - self.largest) * self.rows * (self.units - 1))
        return np.repeat(np.arange(self.units), sizes)

    def drawn(self) -> Units:
        """Return what the package draws of such rows."""
        if self.by == "day":
            return block_units(self.unit() * DAY, timedelta(0))
        unit = self.unit()
        return row_units(len(unit)) if self.by == "row" else group_units(unit, "customer")

    def error(self, chance: np.random.Generator, size: int) -> np.ndarray:
        """Return what a regression's target has beyond its signal."""
        if isinstance(self.tails, float):
            return chance.lognormal(0, self.tails, size) * chance.choice([-1, 1], size)
        if self.tails == "laplace":
            return chance.laplace(size=size)
        return chance.standard_t(3, size) if self.tails == "t3" else chance.standard_normal(size)

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
    "20 days, 20 % follow an AR(0.8)": World(20, 100, 0.2, "ar", by="day"),
    "10 days, 20 % follow an AR(0.8)": World(10, 200, 0.2, "ar", by="day"),
    "100 customers, 20 % in common": World(100, 20, 0.2, by="customer"),
    "40 customers, of one a third of the rows": World(40, 40, 0.2, by="customer", largest=1 / 3),
    "100 customers, of one half of the rows": World(100, 20, 0.2, by="customer", largest=0.5),
    "3,000 rows, 2 % positive": World(3000, positives=0.02),
    "300 rows, normal errors": World(300, tails="normal"),
    "300 rows, Laplace's errors": World(300, tails="laplace"),
    "300 rows, errors of Student's t(3)": World(300, tails="t3"),
    "300 rows, lognormal(0.5) errors": World(300, tails=0.5),
    "300 rows, lognormal(1) errors": World(300, tails=1.0),
    "300 rows, lognormal(2) errors": World(300, tails=2.0),
}


def holdout(
    world: World, models: int, chance: np.random.Generator, *, noise: bool = False, better: float = 1.0
) -> list[Predictions]:
    """Return what equally good models say of one holdout; nothing of the target where there is only noise.

    :param better: standard deviation of the last classifier's own error, as a share of the others'.
    """
    unit, drawn = world.unit(), world.drawn()
    size = len(unit)

    def error() -> np.ndarray:
        own, common = chance.standard_normal(size), world.common(chance)[unit]
        return np.sqrt(1 - world.share) * own + np.sqrt(world.share) * common

    signal = chance.standard_normal(size)
    if world.tails is not None:
        truth = signal + world.error(chance, size)
        # Around what a dummy says: where tails are heavy, whoever knew the middle would know more than it.
        known = truth.mean() if noise else signal
        predictions = [known + 0.5 * error() for _ in range(models)]
        return [predictions_of("regression", truth, one, units=drawn) for one in predictions]
    score = (0 if noise else 1.2) * signal + chance.logistic(size=size)
    truth = (score > _threshold(0 if noise else 1.2, world.positives)).astype(int)
    level = np.log(world.positives / (1 - world.positives))
    found = []
    for number in range(models):
        own = better if number == models - 1 else 1.0
        logit = level + (0.0 if noise else 1.0) * signal + (0.3 if noise else 0.7) * own * error()
        likely = 1 / (1 + np.exp(-logit))
        found.append(predictions_of("binary", truth, np.column_stack([1 - likely, likely]), (0, 1), units=drawn))
    return found


@cache
def _threshold(signal: float, positives: float) -> float:
    """Return what so large a share of all rows that there could be score more than.

    By the rows of a holdout themselves each holdout would have equally many positive ones, and be no independent draw.
    """
    chance = np.random.default_rng(0)
    scores = signal * chance.standard_normal(4_000_000) + chance.logistic(size=4_000_000)
    return float(np.quantile(scores, 1 - positives))


def nothing_known(like: Predictions, positives: float) -> Predictions:
    """Return what a dummy says of the same rows.

    :param positives: share of the positive class, as training shows it.
    """
    if like.task == "regression":
        return predictions_of("regression", like.truth, np.full(like.rows, like.truth.mean()), units=like.units)
    scores = np.tile([1 - positives, positives], (like.rows, 1))
    return predictions_of(like.task, like.truth, scores, like.classes, units=like.units)
