"""What a replay found, as a value."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field

from airflow_mlops_provider.as_of import as_of_text
from airflow_mlops_provider.monitoring.governor import Decision
from airflow_mlops_provider.spec.frozen import Finite, Frozen

#: Those that are set beside each other, in the order in which they are shown.
PolicyName = Literal["never retrain", "retrain every step", "this policy"]
NEVER: PolicyName = "never retrain"
ALWAYS: PolicyName = "retrain every step"
POLICY: PolicyName = "this policy"

What = Literal["promoted", "not promoted", "training failed", "rolled back", "not measured"]


class ReplayEvent(Frozen):
    """Something that a policy did, and why.

    :param why: what triggered it, or what went wrong.
    :param outcome: what came of it.
    """

    as_of: datetime
    policy: PolicyName
    what: What
    why: str
    outcome: str = ""

    def sentence(self) -> str:
        """Return the event in words.

        >>> from datetime import UTC
        >>> as_of = datetime(2013, 3, 1, tzinfo=UTC)
        >>> ReplayEvent(as_of=as_of, policy="this policy", what="promoted", why="drift: 3 of 8").sentence()
        '2013-03-01: promoted. Because of drift: 3 of 8'
        """
        text = ", ".join(part for part in (f"{as_of_text(self.as_of)}: {self.what}", self.outcome) if part)
        return f"{text.rstrip('.')}. Because of {self.why}"


class LiveWindow(Frozen):
    """The live metric of each policy on the same labelled rows: those that came with one step.

    :param values: by policy; None where there is no champion, or the metric has no value on these rows.
    """

    as_of: datetime
    rows: int
    values: dict[str, Finite | None]


class Summary(Frozen):
    """One policy over the whole replay.

    :param live: mean of the live metric over the windows that all policies have one for, weighted by rows.
    """

    policy: PolicyName
    live: Finite | None
    trainings: int = 0
    promotions: int = 0
    rollbacks: int = 0


class Replay(Frozen):
    """A replay of one pipeline.

    :param rows: labelled rows that the means are over.
    :param computed: how often each step did its work.
    :param cached: how often its result lay in the store already.
    """

    pipeline: str
    start: datetime
    end: datetime
    step: timedelta
    metric: str
    rows: int
    windows: int
    policies: list[Summary]
    events: list[ReplayEvent] = Field(default_factory=list)
    decisions: list[Decision] = Field(default_factory=list)
    live: list[LiveWindow] = Field(default_factory=list)
    computed: dict[str, int] = Field(default_factory=dict)
    cached: dict[str, int] = Field(default_factory=dict)
    seconds: Finite = 0.0


def in_days(span: timedelta) -> str:
    """Return a span as people say it.

    >>> in_days(timedelta(days=1)), in_days(timedelta(hours=36))
    ('1 day', '1.5 days')
    """
    days = span / timedelta(days=1)
    return f"{days:.4g} day{'' if days == 1 else 's'}"


def common_mean(windows: list[LiveWindow], policy: PolicyName) -> tuple[float | None, int]:
    """Return a policy's mean over the windows that all policies have a value for, and their rows."""
    shared = [one for one in windows if all(value is not None for value in one.values.values())]
    rows = sum(one.rows for one in shared)
    if not rows:
        return None, 0
    return sum(float(one.values[policy] or 0.0) * one.rows for one in shared) / rows, rows
