"""What came of a search: every trial, which parameters are kept, and why, in words."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, JsonValue

from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.evaluation.metrics import gain
from airflow_mlops_provider.exceptions import ModelError, out_of_memory
from airflow_mlops_provider.search.rules import Stop
from airflow_mlops_provider.search.trials import Trial
from airflow_mlops_provider.spec.frozen import Finite
from airflow_mlops_provider.spec.metrics import less_is_better
from airflow_mlops_provider.spec.search import Range, Search

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.search.methods import ShardResult

#: Fewer trials say nothing of what matters.
_LEAST_TRIALS = 8
_FOREST = {"n_estimators": 64, "max_depth": 16, "random_state": 0}


class SearchReport(Document):
    """A search, done.

    :param splitter: scikit-learn's, by which the folds were made.
    :param embargo: time before a fold whose rows did not train for it.
    :param rows: training rows that were searched on.
    :param trials: by number; the first is that of the parameters as they stand.
    :param stopped: why each shard ended.
    :param chosen: number of the trial whose parameters are taken; 0 when they stay as they stand.
    :param reason: why, in words.
    :param importance: how much of the trials' differences each parameter explains; together 1, empty when unknown.
    """

    SCHEMA: ClassVar[int] = 3

    candidate: str
    search: Search
    metric: str
    splitter: str
    embargo: timedelta = timedelta(0)
    rows: int
    trials: list[Trial]
    stopped: list[Stop]
    chosen: int
    reason: str
    importance: dict[str, Finite] = Field(default_factory=dict)

    @classmethod
    def upgraded(cls, raw: Any, schema: int) -> Any:
        """Read a report of schema 1, whose chosen trial is called `kept`."""
        return raw if schema > 1 else {("chosen" if key == "kept" else key): value for key, value in raw.items()}

    @property
    def params(self) -> dict[str, JsonValue]:
        """What is set anew, by name in the space; nothing when the parameters stay as they stand."""
        return self.of(self.chosen).params

    @property
    def default(self) -> Trial:
        """The trial of the parameters as they stand."""
        return self.trials[0]

    @property
    def best(self) -> Trial | None:
        """The best trial of those that saw all rows, but for the default; None when none could be measured."""
        return best_of(self.metric, self.trials[1:])

    @property
    def less_is_better(self) -> bool:
        """Whether the metric is a loss."""
        return less_is_better(self.metric)

    def of(self, number: int) -> Trial:
        """Return a trial."""
        return next(trial for trial in self.trials if trial.number == number)

    def facts(self) -> dict[str, Any]:
        """Return what a task says of it, but for the parameters."""
        best = self.best
        return {
            "method": self.search.method,
            "metric": self.metric,
            "trials": len(self.trials) - 1,
            "failed": sum(trial.score is None for trial in self.trials[1:]),
            "stopped": sorted(set(self.stopped)),
            "seconds": round(sum(trial.seconds for trial in self.trials), 1),
            "kept": self.chosen,
            "best": None if best is None else best.score,
            "default": self.default.score,
        }


def best_of(metric: str, trials: Sequence[Trial]) -> Trial | None:
    """Return the best trial of those that saw all rows; of equal ones the first."""
    measured = [trial for trial in trials if trial.score is not None and trial.share == 1.0]
    return min(measured, key=lambda trial: (-gain(metric, trial.score or 0.0, 0.0), trial.number), default=None)


def report_of(
    candidate: str,
    search: Search,
    shards: Sequence[ShardResult],
    *,
    metric: str,
    splitter: str,
    embargo: timedelta,
    rows: int,
) -> SearchReport:
    """Put the shards together, and decide.

    :raises ModelError: when no trial, not even the default, could be fitted.
    """
    trials = sorted((trial for shard in shards for trial in shard.trials), key=lambda trial: trial.number)
    best, default = best_of(metric, trials[1:]), trials[0]
    if best is None and default.score is None:
        if "MemoryError" in (default.why or ""):
            raise out_of_memory(f"candidate {candidate!r}: the trials of its search ran out of memory")
        raise ModelError(
            f"candidate {candidate!r}: none of {len(trials)} trials of its search could be measured",
            got=default.why,
            hint="Correct its parameters, its search.space, or its impute_numeric, encode and scale.",
        )
    chosen, reason = _decide(metric, default, best)
    return SearchReport(
        candidate=candidate,
        search=search,
        metric=metric,
        splitter=splitter,
        embargo=embargo,
        rows=rows,
        trials=trials,
        stopped=[shard.stop for shard in shards],
        chosen=chosen,
        reason=f"{reason}; {_ended(search, shards, len(trials) - 1)}",
        importance=importance_of(search, trials[1:]),
    )


def _decide(metric: str, default: Trial, best: Trial | None) -> tuple[int, str]:
    if best is None or best.score is None:
        return (
            default.number,
            f"no trial could be measured: the configured params are kept ({metric} {default.score})",
        )
    if default.score is None:
        return best.number, f"trial {best.number} has {metric} {best.score:.5g}; the configured params fail"
    better = gain(metric, best.score, default.score)
    if better > 0:
        return best.number, (
            f"trial {best.number} has {metric} {best.score:.5g}, "
            f"{better:.3g} better than the configured params ({default.score:.5g})"
        )
    return default.number, (
        f"the configured params are kept: their {metric} is {default.score:.5g}, "
        f"and the best trial, {best.number}, has {best.score:.5g}"
    )


def _ended(search: Search, shards: Sequence[ShardResult], trials: int) -> str:
    texts = {
        "trials": "all trials were run",
        "timeout": f"stopped by its timeout of {search.timeout}",
        "early_stop": f"stopped by early_stop after {search.early_stop} trials in a row without improvement",
    }
    stops = sorted({shard.stop for shard in shards})
    return f"{trials} of {search.count} trials: " + ", in other shards ".join(texts[stop] for stop in stops)


def importance_of(search: Search, trials: Sequence[Trial]) -> dict[str, float]:
    """Return how much of the scores' differences each parameter explains, largest first.

    By the mean decrease of impurity in a forest fitted to the trials (Breiman 2001; Optuna's
    `MeanDecreaseImpurityImportanceEvaluator` is the same). Values of a list are told apart by their place in it.
    """
    import numpy as np
    from sklearn.ensemble import RandomForestRegressor

    measured = [trial for trial in trials if trial.score is not None]
    scores = np.asarray([trial.score for trial in measured])
    if len(measured) < _LEAST_TRIALS or np.ptp(scores) == 0:
        return {}
    points = np.asarray([[position(search, name, trial.params[name]) for name in search.space] for trial in measured])
    forest = RandomForestRegressor(**_FOREST).fit(points, scores)
    shares = sorted(zip(search.space, forest.feature_importances_, strict=True), key=lambda item: -item[1])
    return {name: round(float(share), 6) for name, share in shares}


def position(search: Search, name: str, value: JsonValue) -> float:
    """Return where on its axis a value lies: 0 at the lower end, 1 at the upper."""
    from math import log

    values = search.space[name]
    if not isinstance(values, Range):
        return values.index(value) / max(1, len(values) - 1)
    low, high, at = values.low, values.high, float(str(value))
    if values.log:
        low, high, at = log(low), log(high), log(at)
    return (at - low) / (high - low)
