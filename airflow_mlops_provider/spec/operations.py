"""The sections of a pipeline after the deploy: scoring, monitoring, and what may follow by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, PositiveInt

from airflow_mlops_provider.spec.frozen import Finite, Frozen, Moment, OpenShare, Share, Span


class Scoring(Frozen):
    """What the champion predicts, and how often: once for each interval of the pipeline's schedule."""

    window: Span = Field(
        timedelta(days=1),
        gt=timedelta(0),
        description="A run scores the rows of this much time before its as_of; all rows when there is no timestamp.",
    )
    shadow: bool = Field(False, description="Score with the challenger as well, stored apart and compared.")
    shards: PositiveInt = Field(1, le=64, description="Tasks that share a window's rows, each some row groups of it.")


class Drift(Frozen):
    """How far the current window may lie from the champion's reference. Effect sizes, never p-values."""

    numeric_threshold: Finite = Field(
        0.1,
        gt=0,
        description="The least distance that matters, in standard deviations of the reference (numeric columns). "
        "What is usual in the reference may ask for more.",
    )
    categorical_threshold: Finite = Field(
        0.1, gt=0, description="The least Jensen-Shannon distance that matters (categorical columns; 0 to 0.83)."
    )
    share: Share = Field(
        0.5, description="A window drifts when columns with this share of the champion's importance drift."
    )
    ignore: list[str] = Field(
        default_factory=list,
        description="Features that are not compared: those of the calendar, such as the month, differ in every window.",
    )
    sample_rows: PositiveInt = Field(50_000, le=1_000_000, description="Rows of each side that are compared.")
    min_rows: PositiveInt = Field(200, description="A window with fewer rows says nothing.")


MarginOf = Literal["value", "skill"]
_MARGIN_OF: MarginOf = Field(
    "value",
    description="What `margin` is a share of: `value`, that of the holdout, or `skill`, by which it is better than a "
    "dummy's there.",
)


class Live(Frozen):
    """How far the live metric may fall below what the holdout promised."""

    metric: str | None = Field(None, description="The first of evaluation.metrics when left out.")
    margin: Finite = Field(0.1, ge=0, description="A fall of more than this share of the holdout's value is decay.")
    margin_of: MarginOf = _MARGIN_OF
    confidence: OpenShare = Field(0.95, description="Of the interval that must lie below.")
    min_rows: PositiveInt = Field(200, description="A window with fewer labelled rows says nothing.")


class Estimated(Frozen):
    """How far the live metric, estimated before there are labels, may fall below what the holdout promised."""

    metric: str | None = Field(None, description="The first of evaluation.metrics when left out.")
    margin: Finite = Field(0.1, ge=0, description="A fall of more than this share of the holdout's value is bad.")
    margin_of: MarginOf = _MARGIN_OF
    confidence: OpenShare = Field(0.95, description="Of the interval, the whole of which has to be beyond the margin.")
    min_rows: PositiveInt = Field(200, description="A window with fewer rows says nothing.")


class Retraining(Frozen):
    """The governor: which bad windows lead to a retraining."""

    after: PositiveInt = Field(2, description="Bad windows in a row.")
    cooldown: Span = Field(
        timedelta(days=7),
        description="Between two requests, in data time; doubled with each from which no champion came.",
    )
    budget: int = Field(4, ge=0, description="Requests within the period.")
    period: Span = Field(timedelta(days=30), gt=timedelta(0), description="Of the budget, in data time.")
    min_rows: int = Field(1000, ge=0, description="New rows since the last training.")
    fallback_after: PositiveInt | None = Field(
        None,
        description="Go back to the former champion after so many retrainings for decay from which no champion came, "
        "where it is better on the window's rows; never when left out.",
    )


class Incident(Frozen):
    """Broken data: a window from which nothing is to be learned."""

    max_missing: Share | None = Field(
        None,
        description="Largest share of missing values in a feature; that of `preparation.missing` when left out.",
    )
    expectations: bool = Field(
        True, description="Whether a scored window that fails an expectation of each value is an incident."
    )
    leave_out: bool = Field(True, description="Leave the rows of such windows out of later trainings.")
    repaired: list[Moment] = Field(
        default_factory=list,
        description="The as_of of windows whose rows were mended at the source, and are learned from again.",
    )


class Probation(Frozen):
    """A new champion's first days: it is rolled back when it does worse than the former one on the same rows."""

    length: Span = Field(timedelta(days=7), description="In data time; none when zero.")
    margin: Finite | None = Field(
        None,
        ge=0,
        description="How much worse it may be, in units of the live metric; when left out, what a gate `champion` by "
        "the same metric lets a refresh, or by the rule `not_worse` any challenger, lose, else 0.",
    )
    alpha: OpenShare = Field(
        0.025, description="Chance that a champion as good as the former one is rolled back, over its whole probation."
    )


class Monitoring(Frozen):
    """What is watched, and what follows."""

    drift: Drift = Field(Drift(), description="How far the current window may lie from the champion's reference.")
    live: Live = Field(Live(), description="How far the live metric may fall below what the holdout promised.")
    estimated: Estimated | None = Field(
        None, description="How far the estimated metric of rows without labels may fall; not estimated when left out."
    )
    retraining: Retraining = Field(Retraining(), description="Which bad windows lead to a retraining.")
    incident: Incident = Field(Incident(), description="When a window's data is broken.")
    probation: Probation = Field(Probation(), description="When a new champion is rolled back.")
    max_age: Span | None = Field(None, description="A champion older than this, in data time, asks for a retrain.")

    def losing(self, margin: float) -> Monitoring:
        """Return the section with probation's margin, where it is left out."""
        if self.probation.margin is not None:
            return self
        return self.model_copy(update={"probation": self.probation.model_copy(update={"margin": margin})})

    def prepared(self, max_missing: float) -> Monitoring:
        """Return it with the share of missing values that training allows, where it says nothing of its own."""
        if self.incident.max_missing is not None:
            return self
        return self.model_copy(update={"incident": self.incident.model_copy(update={"max_missing": max_missing})})
