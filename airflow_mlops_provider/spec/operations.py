"""The sections of a pipeline after the deploy: scoring, monitoring, and what may follow by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, PositiveInt

from airflow_mlops_provider.spec.frozen import Finite, Frozen, Moment, OpenShare, Share, Span
from airflow_mlops_provider.spec.sinks import Sink


class Scoring(Frozen):
    """Scores new rows with the champion, once for each interval of the pipeline's schedule."""

    window: Span = Field(
        timedelta(days=1),
        gt=timedelta(0),
        description="Length of time before `as_of` whose rows a run scores. Without a timestamp column, it scores all "
        "rows.",
    )
    shadow: bool = Field(
        False,
        description="Whether to score the same rows with the challenger too. Its predictions are stored separately and "
        "compared with the champion's.",
    )
    shards: PositiveInt = Field(
        1, le=64, description="Number of tasks that share the rows of a window. Each scores some of its row groups."
    )
    sinks: list[Sink] = Field(
        default_factory=list,
        max_length=8,
        description="Where the champion's predictions go besides the artifact store: database tables, or functions of "
        "your own.",
    )


class Drift(Frozen):
    """How far a scored window may lie from the champion's reference, by effect sizes and not by p-values."""

    numeric_threshold: Finite = Field(
        0.1,
        gt=0,
        description="Smallest distance of a numeric column that counts as drift, in standard deviations of the "
        "reference. A column that varies more than this within the reference needs a larger distance.",
    )
    categorical_threshold: Finite = Field(
        0.1,
        gt=0,
        description="Smallest Jensen-Shannon distance of a categorical column that counts as drift, from 0 to 0.83. A "
        "column that varies more than this within the reference needs a larger distance.",
    )
    share: Share = Field(
        0.5,
        description="A window drifts when the features that drifted hold at least this share of the champion's feature "
        "importance.",
    )
    ignore: list[str] = Field(
        default_factory=list,
        description="Features that are not compared. List those that follow the calendar, such as the month, because "
        "they differ in every window.",
    )
    sample_rows: PositiveInt = Field(
        50_000,
        le=1_000_000,
        description="Largest number of rows to sample for the comparison, both from the window and from the reference.",
    )
    min_rows: PositiveInt = Field(200, description="A window with fewer rows than this is not judged for drift.")


MarginOf = Literal["value", "skill"]
_MARGIN_OF: MarginOf = Field(
    "value",
    description="What `margin` is a share of: `value` is the metric's value on the holdout, `skill` is the champion's "
    "advantage over a dummy there.",
)


class Live(Frozen):
    """How far the live metric may fall below its value on the holdout."""

    metric: str | None = Field(
        None,
        description="Metric to measure on labelled rows, one of `evaluation.metrics`. Defaults to the first of them.",
    )
    margin: Finite = Field(
        0.1,
        ge=0,
        description="How far the live metric may fall below its value on the holdout, as a share of what `margin_of` "
        "names. A larger fall is decay.",
    )
    margin_of: MarginOf = _MARGIN_OF
    confidence: OpenShare = Field(
        0.95,
        description="Confidence level of the live metric's interval. It is decay only when the whole interval lies "
        "beyond the margin.",
    )
    min_rows: PositiveInt = Field(200, description="A window with fewer labelled rows than this is not judged.")


class Estimated(Frozen):
    """How far the live metric, estimated before labels arrive, may fall below its value on the holdout."""

    metric: str | None = Field(
        None,
        description="Metric to estimate without labels, one of `evaluation.metrics`. Defaults to the first of them.",
    )
    margin: Finite = Field(
        0.1,
        ge=0,
        description="How far the estimated metric may fall below its value on the holdout, as a share of what "
        "`margin_of` names. A larger fall makes the window a bad one.",
    )
    margin_of: MarginOf = _MARGIN_OF
    confidence: OpenShare = Field(
        0.95,
        description="Confidence level of the estimate's interval. A window is bad only when the whole interval lies "
        "beyond the margin.",
    )
    min_rows: PositiveInt = Field(200, description="No metric is estimated for a window with fewer rows than this.")


class Retraining(Frozen):
    """The governor, which limits how often bad windows lead to a retraining."""

    after: PositiveInt = Field(
        2,
        description="Number of bad windows in a row before a retraining is requested. Windows that are not judged are "
        "skipped.",
    )
    cooldown: Span = Field(
        timedelta(days=7),
        description="Shortest data time between two retraining requests. It doubles with each request, from the second "
        "on, that led to no new champion, except for decay.",
    )
    budget: int = Field(
        4, ge=0, description="Largest number of retraining requests within `period`. 0 allows no retraining."
    )
    period: Span = Field(
        timedelta(days=30),
        gt=timedelta(0),
        description="Length of data time in which `budget` limits the retraining requests, such as `30 days`.",
    )
    min_rows: int = Field(
        1000,
        ge=0,
        description="Smallest number of rows that must be scored after the last training or retraining request before "
        "the next request.",
    )
    fallback_after: PositiveInt | None = Field(
        None,
        description="Number of retrainings for decay without a new champion after which the former champion returns, "
        "if it is better on the window's rows. Without this setting, it never does.",
    )


class Incident(Frozen):
    """When the data of a window is broken, so that no retraining follows from it."""

    max_missing: Share | None = Field(
        None,
        description="Largest share of missing values in a feature of a scored window. More is an incident. Defaults to "
        "`preparation.missing.max_share`.",
    )
    expectations: bool = Field(
        True,
        description="Whether a scored window is an incident when it fails one of the `validation.expectations` that "
        "check each value and have the policy `fail`.",
    )
    leave_out: bool = Field(True, description="Whether later trainings leave out the rows of incident windows.")
    repaired: list[Moment] = Field(
        default_factory=list,
        description="The `as_of` of each incident window that was repaired at the source. Later trainings use its rows "
        "again.",
    )


class Probation(Frozen):
    """Trial time of a new champion, which is rolled back when it does worse than the former one on the same rows."""

    length: Span = Field(
        timedelta(days=7),
        description="How long a new champion is on probation, in data time. A length of 0 turns probation off.",
    )
    margin: Finite | None = Field(
        None,
        ge=0,
        description="How much worse a new champion may be than the former one, in units of the live metric. Defaults "
        "to the margin that a gate `champion` on the same metric lets a refresh, or any challenger, lose, else to 0.",
    )
    alpha: OpenShare = Field(
        0.025,
        description="Chance that a new champion is rolled back although it is as good as the former one, over its "
        "whole probation.",
    )


class Monitoring(Frozen):
    """How scored windows are watched, and when the model is retrained or rolled back."""

    drift: Drift = Field(Drift(), description="How far a scored window may lie from the champion's reference.")
    live: Live = Field(Live(), description="How far the live metric may fall below its value on the holdout.")
    estimated: Estimated | None = Field(
        None,
        description="How far the metric that is estimated for rows without labels may fall. Without this section, "
        "nothing is estimated.",
    )
    retraining: Retraining = Field(
        Retraining(), description="How many bad windows lead to a retraining, and how often one may be requested."
    )
    incident: Incident = Field(Incident(), description="When the data of a scored window counts as broken.")
    probation: Probation = Field(
        Probation(), description="How long a new champion is on probation, and when it is rolled back."
    )
    max_age: Span | None = Field(
        None,
        description="Largest age, in data time, of the last row that the champion was fitted on. An older champion is "
        "retrained. Defaults to no limit.",
    )

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
