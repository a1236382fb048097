"""The trials of a shard, by each method, until there are enough."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.search.halving import halved
from airflow_mlops_provider.search.rules import Rules, Stop
from airflow_mlops_provider.search.space import listed_points, new_study, suggested
from airflow_mlops_provider.search.trials import DEFAULT
from airflow_mlops_provider.spec.metrics import less_is_better

if TYPE_CHECKING:
    from airflow_mlops_provider.search.space import Point
    from airflow_mlops_provider.search.trials import Bench, Trial
    from airflow_mlops_provider.spec.search import Search

log = logging.getLogger(__name__)


@dataclass
class ShardResult:
    """What a shard did."""

    stop: Stop = "trials"
    trials: list[Trial] = field(default_factory=list)


def run_shard(search: Search, bench: Bench, index: int) -> ShardResult:
    """Return the trials of one shard, in their order. The first of the first shard is the default.

    The same settings on the same rows give the same trials: drawn by the seed, and those in the journal as they are
    there. Only a timeout looks at the clock.

    :raises SpecError: when a parameter is not one of the estimator's, or Optuna is missing.
    """
    shard = ShardResult()
    rules = Rules(search, bench.metric)
    if index == 0:
        shard.trials.append(bench.trial(DEFAULT, 0, {}))
    if search.method == "halving":
        points = dict(_numbered(search, bench.seed, index))
        shard.trials += halved(points, bench, index, rules)
        shard.stop = "timeout" if rules.late else "trials"
    else:
        _one_by_one(search, bench, index, shard, rules)
    log.info("Shard %s of %s: %s trials, ended by %s.", index + 1, search.shards, len(shard.trials), shard.stop)
    return shard


def _one_by_one(search: Search, bench: Bench, index: int, shard: ShardResult, rules: Rules) -> None:
    points = _Study(search, bench, index) if search.method == "bayesian" else _Points(search, bench, index)
    for number in range(index + 1, search.count + 1, search.shards):
        trial = bench.trial(number, index, points.ask(number))
        shard.trials.append(trial)
        points.tell(trial)
        # What would have ended after this trial anyway was not stopped.
        if (stop := rules.stop(trial)) is not None and number + search.shards <= search.count:
            shard.stop = stop
            return


def _numbered(search: Search, seed: int, index: int) -> list[tuple[int, Point]]:
    """Return every n-th point of the list, with its number in it."""
    points = listed_points(search, seed)
    return [(number, points[number - 1]) for number in range(index + 1, len(points) + 1, search.shards)]


class _Points:
    """Points that are known beforehand."""

    def __init__(self, search: Search, bench: Bench, index: int) -> None:
        self._points = dict(_numbered(search, bench.seed, index))

    def ask(self, number: int) -> Point:
        """Return the point of a number."""
        return self._points[number]

    def tell(self, trial: Trial) -> None:
        """Learn nothing."""


class _Study:
    """The shard's own study, in which each trial learns from those before.

    It lies in memory. Given the journal's trials again, it goes on as if it had never ended, its random numbers
    included, which Optuna's own journal does not keep.
    """

    def __init__(self, search: Search, bench: Bench, index: int) -> None:
        self._search = search
        self._study = new_study(less_is_better(bench.metric), _seed_of(bench.seed, index))
        self._pending: Any = None

    def ask(self, number: int) -> Point:
        """Return the next point."""
        self._pending = self._study.ask()
        return suggested(self._search, self._pending)

    def tell(self, trial: Trial) -> None:
        """Learn from what became of it."""
        from optuna.trial import TrialState

        if trial.score is None:
            self._study.tell(self._pending, state=TrialState.FAIL)
        else:
            self._study.tell(self._pending, trial.score)


def _seed_of(seed: int, index: int) -> int:
    import numpy as np

    return int(np.random.SeedSequence((seed, index)).generate_state(1)[0])
