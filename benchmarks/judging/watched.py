"""Champions that are watched: their holdouts, and the days after it, in worlds whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.signal import lfilter

from airflow_mlops_provider.evaluation.block_errors import block_errors
from airflow_mlops_provider.evaluation.bootstrap import resample
from airflow_mlops_provider.evaluation.metrics import measure, predictions_of
from airflow_mlops_provider.evaluation.resampled_metrics import statistics_of
from airflow_mlops_provider.evaluation.resampling import block_units
from airflow_mlops_provider.monitoring.live_metrics import LiveMeasured, Plan, measure_window, plan

if TYPE_CHECKING:
    from airflow_mlops_provider.evaluation.block_report import BlockErrors
    from airflow_mlops_provider.evaluation.metrics import Predictions

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
_MICROSECONDS = DAY // timedelta(microseconds=1)
#: What a row loses on average where losses are drawn themselves; their standard deviation is 1.
LOSS = 5.0


@dataclass(frozen=True)
class Days:
    """A world of days, in which two models are watched.

    :param share: of the variance of a row's loss that all rows of a day have in common.
    :param level: how that share goes on from one day to the next.
    :param worse: by how much a champion is worse that should be rolled back, in units of the metric.
    :param metric: `mae` of losses that are drawn themselves, or `roc_auc` of independent rows.
    """

    share: float = 0.0
    level: str = "independent"
    worse: float = 0.1
    metric: str = "mae"
    rows: int = 500
    holdout: int = 60

    def common(self, days: int, chance: np.random.Generator) -> np.ndarray:
        """Return what the rows of each day have in common, of variance 1."""
        free = chance.standard_normal(days + 200)
        if self.level == "ar":
            return lfilter([0.6], [1, -0.8], free)[200:]
        if self.level == "week":
            first = int(chance.integers(7))
            return np.where((np.arange(days) + first) % 7 >= 5, 1.58, -0.63)
        return free[200:]


WORLDS = {
    "nothing in common": Days(),
    "5 % in common": Days(0.05, worse=0.5),
    "20 % in common": Days(0.2, worse=1.0),
    "20 % follow an AR(0.8)": Days(0.2, "ar", worse=1.0),
    "20 % follow the week": Days(0.2, "week", worse=1.0),
    "nothing in common, roc_auc": Days(worse=0.03, metric="roc_auc"),
}


class Watched:
    """A champion and the one before it: their holdout, and the days that follow it.

    :param worse: by how much the champion is worse, in units of the metric (of roc_auc: about).
    :param days: that follow.
    """

    def __init__(self, world: Days, days: int, chance: np.random.Generator, worse: float = 0.0) -> None:
        self.world, self.chance, self.worse = world, chance, worse
        self.levels = [world.common(world.holdout + days, chance) for _ in range(2)]
        versions = self._versions(0, world.holdout)
        self.holdout = float(measure(world.metric, versions[0]).value or 0)
        self.errors = self._errors(versions)

    def window(self, day: int, length: int = 1) -> tuple[list[Predictions], Plan]:
        """Return what champion and former champion say of the days up to one, the first after the holdout being 1."""
        start = self.world.holdout + day - length
        moments = np.repeat(np.arange(start, start + length) * _MICROSECONDS, self.world.rows)
        drawn = plan(len(moments), moments=moments, block=DAY)
        return self._versions(start, length), drawn

    def measured(self, versions: list[Predictions], drawn: Plan, seed: int, resamples: int = 300) -> LiveMeasured:
        """Return what the package measures of a window."""
        return measure_window(
            [self.world.metric],
            versions,
            drawn,
            decides=self.world.metric,
            errors=self.errors,
            holdout={self.world.metric: self.holdout},
            confidence=0.95,
            seed=seed,
            resamples=resamples,
        )

    def promise_again(self, day: int) -> None:
        """Take the days before one for the holdout, as a retraining does that changes nothing else."""
        versions = self._versions(day, self.world.holdout)
        self.holdout = float(measure(self.world.metric, versions[0]).value or 0)
        self.errors = self._errors(versions)

    def facts(self, found: LiveMeasured, margin: float) -> dict[str, Any]:
        """Return the facts of the live step, as the governor takes them."""
        since = found.since_holdout[self.world.metric]
        return {
            "judged": True,
            "holdout": self.holdout,
            "allowed": margin * abs(self.holdout),
            "former": 0.0,
            "decayed": since.high is not None and since.high < -margin * abs(self.holdout),
            "comparison": None if found.comparison is None else found.comparison.model_dump(),
        }

    def _versions(self, start: int, days: int) -> list[Predictions]:
        rows = self.world.rows
        unit = np.repeat(np.arange(start, start + days), rows)
        drawn = block_units(unit * _MICROSECONDS, DAY)
        signal, truth = self.chance.standard_normal(len(unit)), np.zeros(len(unit))
        if self.world.metric == "roc_auc":
            truth = (1.2 * signal + self.chance.logistic(size=len(unit)) > 1).astype(int)
        found, alike = [], self.chance.standard_normal(len(unit))
        for index, level in enumerate(self.levels):
            error = self.chance.standard_normal(len(unit))
            if self.world.metric == "mae":
                both = np.sqrt(1 - self.world.share) * error + np.sqrt(self.world.share) * level[unit]
                found.append(predictions_of("regression", truth, LOSS + both + (index == 0) * self.worse, units=drawn))
                continue
            # Models of the same features err alike. An error of 0.98 beside a signal of 1 costs 0.03 of the area more
            # than one of 0.7.
            error = np.sqrt(0.7) * alike + np.sqrt(0.3) * error
            likely = 1 / (1 + np.exp(-signal - (0.7 + (index == 0) * self.worse / 0.108) * error))
            scores = np.column_stack([1 - likely, likely])
            found.append(predictions_of("binary", truth, scores, (0, 1), units=drawn))
        return found

    def _errors(self, versions: list[Predictions]) -> BlockErrors | None:
        metric = self.world.metric
        statistics = {
            (who, metric): statistics_of([metric], one)[metric] for who, one in zip(("new", 1), versions, strict=True)
        }
        drawn = resample(statistics, versions[0].drawn, 2, 0)
        return block_errors(statistics, drawn, versions[0].drawn, "new", dummy=0, champion=1)
