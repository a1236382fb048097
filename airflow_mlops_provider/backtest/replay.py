"""The past day by day, for up to three policies at once: never retrain, always retrain, and the pipeline's own."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_mlops_provider.as_of import as_of_text, in_utc
from airflow_mlops_provider.backtest.report import (
    ALWAYS,
    NEVER,
    POLICY,
    LiveWindow,
    Replay,
    ReplayEvent,
    Summary,
    common_mean,
    in_days,
)
from airflow_mlops_provider.backtest.training import train
from airflow_mlops_provider.effects.watching import Watcher, champion_pair
from airflow_mlops_provider.exceptions import DataError, ModelError, SpecError
from airflow_mlops_provider.monitoring.governor import decide
from airflow_mlops_provider.monitoring.incidents import left_out
from airflow_mlops_provider.registry.champion_store import MemoryChampions
from airflow_mlops_provider.registry.rollback import roll_back
from airflow_mlops_provider.spec.metrics import as_settings, label_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from airflow_mlops_provider.backtest.report import PolicyName, What
    from airflow_mlops_provider.backtest.steps import Steps
    from airflow_mlops_provider.monitoring.governor import Decision
    from airflow_mlops_provider.registry import LedgerEntry
    from airflow_mlops_provider.registry.looks import Look
    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.spec import Monitoring, Pipeline, Scoring

#: A step a day for 27 years.
_MAX_STEPS = 10_000
_FIRST = "the lack of a champion"


@dataclass
class World:
    """One policy's past: its ledger, and what it did."""

    policy: PolicyName
    steps: Steps
    on_event: Callable[[ReplayEvent], None]
    looks: list[Look] = field(default_factory=list)
    trainings: int = 0
    promotions: int = 0
    rollbacks: int = 0
    champions: MemoryChampions = field(init=False)

    def __post_init__(self) -> None:
        """Begin without a champion."""
        self.champions = MemoryChampions(self.steps.pipeline.model_name)

    @property
    def history(self) -> list[LedgerEntry]:
        """Who became champion so far."""
        return self.champions.read().history

    def reason_to_retrain(self, as_of: datetime) -> str | None:
        """Return why this policy retrains now; None when it does not."""
        return "the step" if self.policy == ALWAYS else None

    def retrain(self, as_of: datetime, why: str) -> None:
        """Train, and promote what passes the gates."""
        self.trainings += 1
        done = train(self.steps, as_of, self.champions, why, self.looks, without=self.broken(as_of))
        if done.entry is None:
            self.say(as_of, "training failed" if done.failed else "not promoted", why, done.reason)
            return
        self.promotions += 1
        self.say(as_of, "promoted", why, f"version {done.entry.version}, {done.reason}")

    def broken(self, as_of: datetime) -> list[tuple[datetime, datetime]]:
        """Return the stretches of time whose rows are left out of a training."""
        return []

    def say(self, as_of: datetime, what: What, why: str, outcome: str = "") -> None:
        """Tell an event."""
        self.on_event(ReplayEvent(as_of=as_of, policy=self.policy, what=what, why=why, outcome=outcome))

    def live(self, as_of: datetime, labelled: StepResult, metric: str) -> tuple[int, float | None]:
        """Return on how many labelled rows the champion was measured, and its metric there."""
        pair = champion_pair(self.history)
        if pair is None:
            return 0, None
        # Settings of its own: what a threshold says must not change what is compared, or the cache.
        measured = [one for one in self.steps.pipeline.measured if label_of(one) == metric]
        section = {"live": {"metric": metric, "min_rows": 1}, "metrics": as_settings(measured)}
        facts = self.steps.run(
            "live", as_of=as_of, section=section, inputs={"dataset": [labelled]}, champion=pair.champion
        ).facts
        value = facts.get("champion")
        return int(str(facts["rows"])), float(value) if isinstance(value, float | int) else None

    def summary(self, windows: list[LiveWindow]) -> Summary:
        """Return what it came to."""
        return Summary(
            policy=self.policy,
            live=common_mean(windows, self.policy)[0],
            trainings=self.trainings,
            promotions=self.promotions,
            rollbacks=self.rollbacks,
        )


@dataclass
class Watched(World):
    """The world of the pipeline's own policy: watched and mended as its monitoring DAG does it."""

    watcher: Watcher | None = None
    decisions: list[Decision] = field(default_factory=list)

    def reason_to_retrain(self, as_of: datetime) -> str | None:
        """Decide the window, roll back when it says so, and return why it asks for a retraining."""
        decision = self._decide(as_of)
        if decision is None:
            return None
        self.decisions.append(decision)
        why = f"{decision.rule}: {'; '.join(decision.reasons)}"
        if decision.action == "roll_back":
            self._roll_back(as_of, why)
        return why if decision.requests_retraining else None

    def broken(self, as_of: datetime) -> list[tuple[datetime, datetime]]:
        """Return the stretches of incidents, as the training DAG leaves them out."""
        if self.watcher is None:
            return []
        window = self.steps.pipeline.data.window
        since = None if window is None else as_of - window
        return left_out(self.watcher.monitoring.incident, self.decisions, since, as_of)

    def _decide(self, as_of: datetime) -> Decision | None:
        pair = champion_pair(self.history)
        if pair is None or self.watcher is None:
            return None
        try:
            scored = self.watcher.score(as_of, pair)
            drift = self.watcher.drift(scored, pair)
            live = self.watcher.live(as_of, pair, self.watcher.broken(scored, drift, self.decisions))
            estimate = self.watcher.estimate(scored, pair)
        except (DataError, ModelError) as error:
            # The monitoring DAG fails on it, and the window stays undecided.
            self.say(as_of, "not measured", str(error))
            return None
        return decide(
            self.watcher.monitoring,
            scored.window,
            drift=drift.facts,
            live=live,
            estimate=None if estimate is None else estimate.facts,
            champion=pair.incumbent,
            history=self.decisions,
        )

    def _roll_back(self, as_of: datetime, why: str) -> None:
        head = self.history[-1]
        outcome = roll_back(self.champions, to="previous", reason=why, idem=f"backtest rollback {as_of.isoformat()}")
        self.rollbacks += 1
        serving = head if outcome.entry is None else outcome.entry
        self.say(as_of, "rolled back", why, f"version {serving.version} serves again, {head.version} is in quarantine")


def replay(
    steps: Steps,
    *,
    start: datetime,
    end: datetime,
    step: timedelta,
    policy: Monitoring | None = None,
    every_step: bool = True,
    on_event: Callable[[ReplayEvent], None] | None = None,
) -> Replay:
    """Replay a pipeline's past.

    The first training is at `start`. At each moment after it, until `end`: the live metric of every policy's champion
    on the labelled rows that came since the last moment; the window decided; and whoever asks for it retrains. A
    policy without a champion trains at each moment until one passes the gates.

    :param policy: instead of the pipeline's own monitoring section.
    :param every_step: also replay the policy that retrains at every step, which costs the most.
    :param on_event: is given each event as it happens.
    :raises SpecError: the pipeline cannot be replayed, or the dates are the wrong way round.
    """
    began, pipeline = time.perf_counter(), steps.pipeline
    start, end = in_utc(start), in_utc(end)
    scoring, monitoring = _sections(pipeline, policy)
    _check_dates(start, end, step)
    events: list[ReplayEvent] = []

    def record(event: ReplayEvent) -> None:
        events.append(event)
        if on_event is not None:
            on_event(event)

    watcher = Watcher(
        pipeline=pipeline.name,
        task=pipeline.task,
        data=pipeline.data,
        scoring=scoring,
        monitoring=monitoring,
        metrics=as_settings(pipeline.measured),
        compute=steps.run,
        validation=pipeline.validation,
    )
    own = Watched(POLICY, steps, record, watcher=watcher)
    always = [World(ALWAYS, steps, record)] if every_step else []
    worlds = [World(NEVER, steps, record), *always, own]
    metric = monitoring.live.metric or pipeline.metrics[0]
    windows = []
    for number in range(int((end - start) / step) + 1):
        as_of = start + number * step
        if number:
            windows.append(_compared(steps, worlds, as_of, step, metric))
        for world in worlds:
            why = world.reason_to_retrain(as_of) if world.history else _FIRST
            if why is not None:
                world.retrain(as_of, why)
    return Replay(
        pipeline=pipeline.name,
        start=start,
        end=end,
        step=step,
        metric=metric,
        rows=common_mean(windows, POLICY)[1],
        windows=len(windows),
        policies=[world.summary(windows) for world in worlds],
        events=events,
        decisions=own.decisions,
        live=windows,
        computed=dict(steps.computed),
        cached=dict(steps.cached),
        seconds=round(time.perf_counter() - began, 2),
    )


def _compared(steps: Steps, worlds: list[World], as_of: datetime, step: timedelta, metric: str) -> LiveWindow:
    """Return the live metric of every policy on the labelled rows that came with one step.

    No champion was trained on them: the latest was trained a step ago.
    """
    start = as_of - step - steps.pipeline.data.label_delay
    try:
        labelled = steps.ingest(as_of, "live", start)
    except DataError:
        return LiveWindow(as_of=as_of, rows=0, values={world.policy: None for world in worlds})
    found = {world.policy: world.live(as_of, labelled, metric) for world in worlds}
    values: dict[str, float | None] = {name: value for name, (_, value) in found.items()}
    return LiveWindow(as_of=as_of, rows=max(rows for rows, _ in found.values()), values=values)


def _sections(pipeline: Pipeline, policy: Monitoring | None) -> tuple[Scoring, Monitoring]:
    monitoring = policy or pipeline.watched
    if pipeline.scoring is None or monitoring is None:
        raise SpecError(
            f"pipeline {pipeline.name!r} has no section monitoring, so there is no policy to replay",
            hint="Add one, and a section scoring; both may be empty: monitoring: {}",
        )
    if pipeline.data.columns.timestamp is None:
        raise SpecError(f"pipeline {pipeline.name!r} has no data.columns.timestamp, so its past cannot be replayed")
    return pipeline.scoring, monitoring.prepared(pipeline.preparation.missing.max_share)


def _check_dates(start: datetime, end: datetime, step: timedelta) -> None:
    if step.total_seconds() <= 0:
        raise SpecError("the step is not a duration", got=in_days(step), expected="such as 1d or 7d")
    if (end - start) / step > _MAX_STEPS:
        raise SpecError(
            "the step is too short", got=f"{(end - start) // step:,} steps", expected=f"at most {_MAX_STEPS:,}"
        )
    if start + step > end:
        raise SpecError(
            "there is nothing to replay between the dates",
            got=f"from {as_of_text(start)} to {as_of_text(end)}, in steps of {in_days(step)}",
            expected="an end at least one step after the start",
        )
