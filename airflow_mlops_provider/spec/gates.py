"""The gates: what a challenger must reach before it may be promoted."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from airflow_mlops_provider.spec.frozen import Finite, Frozen, OpenShare, Share, Span
from airflow_mlops_provider.spec.judgement import GapName
from airflow_mlops_provider.spec.metrics import LOSSES

OnFail = Literal["fail", "skip"]
#: Which number a gate holds against its bound.
JudgedBy = Literal["point", "low", "high"]
_FIRST = "One of `evaluation.metrics`; the first of them when left out."


class _Gate(Frozen):
    name: str | None = Field(None, description="Shown in the table; the kind when left out.")
    on_fail: OnFail = Field("fail", description="Fail the task, or skip the promotion and stay green.")

    @property
    def label(self) -> str:
        """The name that people see."""
        return self.name or str(getattr(self, "kind", ""))


class AbsoluteGate(_Gate):
    """The metric is at least `min`, or at most `max`."""

    kind: Literal["absolute"]
    metric: str = Field(description="One of `evaluation.metrics`.")
    min: Finite | None = Field(None, description="Least value that passes.")
    max: Finite | None = Field(None, description="Largest value that passes.")
    judged_by: JudgedBy = Field(
        "point",
        description="What is held against the bound: the measured value, or an end of its interval "
        "(`evaluation.bootstrap.confidence`). The worse end is that of the best of several candidates: `optimism` is "
        "taken off.",
    )

    @model_validator(mode="after")
    def _bounded(self) -> AbsoluteGate:
        if self.min is None and self.max is None:
            raise ValueError("name min or max")
        return self


class ChampionGate(_Gate):
    """The challenger is better than the champion on the same holdout, or not worse by more than a margin.

    The lower bound of the gain decides, at an error rate that all looks at this champion share. The champion's own
    recipe on newer data is a refresh, which passes unless the interval shows it worse. Without a champion the gate
    passes. With one that cannot be compared, since it needs a feature that is no longer read or predicts another
    target, `on_incomparable` decides, whatever `on_fail` says.
    """

    kind: Literal["champion"]
    metric: str | None = Field(None, description=_FIRST)
    rule: Literal["better", "not_worse"] = Field(
        "better", description="The gain is above the margin, or a loss is at most the margin."
    )
    margin: Finite = Field(0.0, ge=0, description="In units of the metric; for a loss, a fall of it is a gain.")
    confidence: OpenShare = Field(
        0.95, description="Of the two-sided interval of the gain: of a refresh, and of a single look at a replacement."
    )
    refresh: bool = Field(
        True,
        description="Let the champion's own recipe pass on newer data unless the interval shows it worse than the "
        "margin, and put it in the place of a better one that is not proven better. `false` holds every challenger to "
        "`rule`.",
    )
    alpha: OpenShare | None = Field(
        0.05,
        description="Chance of a false replacement in `alpha_period`, over all looks; null judges each look by itself.",
    )
    alpha_period: Span = Field(
        timedelta(days=90),
        gt=timedelta(0),
        description="Over which `alpha` is spent, in the data's time: half by the first look at a replacement of a "
        "champion, half by those after it, in proportion to the data that came since the last; such as `90 days`.",
    )
    on_fail: OnFail = Field("skip", description="Fail the task, or skip the promotion and stay green.")
    on_incomparable: Literal["fail", "skip", "pass"] = Field(
        "fail",
        description="What follows when the champion cannot be compared: a person must decide, the champion stays, or "
        "the other gates alone decide.",
    )


class BaselineGate(_Gate):
    """The challenger beats a dummy that knows only the training target; a tie does not beat it.

    The lower bound of the two-sided interval of the gain decides, on the same held-out rows, for the best of so many
    candidates.
    """

    kind: Literal["baseline"]
    metric: str | None = Field(None, description=_FIRST)
    min_gain: Finite = Field(0.0, ge=0, description="In units of the metric; for a loss, a fall of it is a gain.")
    confidence: OpenShare = Field(0.95, description="Of the two-sided bootstrap interval of the gain.")


class SliceGate(_Gate):
    """The worst slice still reaches the bound."""

    kind: Literal["worst_slice"]
    metric: str | None = Field(None, description=_FIRST)
    min: Finite | None = Field(None, description="Least value that passes.")
    max: Finite | None = Field(None, description="Largest value that passes.")
    judged_by: JudgedBy = Field(
        "point",
        description="What is held against the bound: the measured value of the worst slice, which is low by chance "
        "where there are many, or an end of the intervals that hold for all slices at once "
        "(`evaluation.bootstrap.confidence`). Ends are of the first metric alone.",
    )

    @model_validator(mode="after")
    def _bounded(self) -> SliceGate:
        if self.min is None and self.max is None:
            raise ValueError("name min or max")
        return self


class LatencyGate(_Gate):
    """The model answers fast enough on this machine. It is timed each time that the gate judges."""

    kind: Literal["latency"]
    max_p95_ms: Finite = Field(
        100.0, gt=0, description="95th percentile of a one-row predict, milliseconds, whatever else the machine does."
    )
    min_rows_per_second: Finite | None = Field(None, gt=0, description="Of one predict on many rows.")


class PredictionsGate(_Gate):
    """Predictions are complete and look like the training target."""

    kind: Literal["predictions"]
    min_class_share: Share | None = Field(
        None,
        description="Each class must be the most probable one for at least this share of the rows; when left out, a "
        "tenth of an equal share: 0.05 for two classes, 0.01 for ten. Less of a class that the held-out rows have less "
        "often than the training rows, in proportion.",
    )
    max_shift: Finite | None = Field(
        None,
        gt=0,
        description="Total variation distance of the mean predicted probabilities from the class shares of the "
        "training target (0.25 when left out); for regression, Wasserstein distance of predictions and training "
        "target over the target's standard deviation (0.5 when left out: predictions vary less than targets). What "
        "lies between the training and the held-out target does not count: there the target itself moved.",
    )

    def least_share(self, classes: int) -> float:
        """Return the smallest share that a class may have among so many."""
        return 0.1 / max(classes, 1) if self.min_class_share is None else self.min_class_share

    def limit(self, task: str) -> float:
        """Return the largest shift for a task."""
        if self.max_shift is not None:
            return self.max_shift
        return 0.5 if task == "regression" else 0.25


class SizeGate(_Gate):
    """The stored model is not too large."""

    kind: Literal["model_size"]
    max_mb: Finite = Field(500.0, gt=0, description="Of the model file, in megabytes (10^6 bytes).")


class ChampionAgeGate(_Gate):
    """The champion has served at least this long (in data time), so that models do not churn."""

    kind: Literal["champion_age"]
    min: Span = Field(description="Such as `7 days`.")
    on_fail: OnFail = Field("skip", description="Fail the task, or skip the promotion and stay green.")


_COLUMN = "One of `evaluation.fairness.groups`; each of them when left out."
_JUDGED_BY = (
    "What is held against the bound: the measured value, or an end of its interval (`evaluation.bootstrap.confidence`)."
)


class GapGate(_Gate):
    """The groups are not further apart than this. `evaluation.fairness` says what the groups are."""

    kind: Literal["max_gap"]
    gap: GapName = Field(description="One of `evaluation.fairness.gaps`.")
    max: Finite = Field(ge=0, description="Largest gap that passes; a share, for a regression in units of the target.")
    column: str | None = Field(None, description=_COLUMN)
    judged_by: JudgedBy = Field("point", description=_JUDGED_BY)


class GroupMetricGate(_Gate):
    """The group with the worst value of a metric still reaches the bound."""

    kind: Literal["min_group_metric"]
    metric: str | None = Field(None, description=f"{_FIRST} No loss: for those there is `max_gap`.")
    min: Finite = Field(description="Least value that passes.")
    column: str | None = Field(None, description=_COLUMN)
    judged_by: JudgedBy = Field("point", description=_JUDGED_BY)

    @model_validator(mode="after")
    def _more_is_better(self) -> GroupMetricGate:
        if self.metric in LOSSES:
            raise ValueError(f"{self.metric} is a loss, of which the least is the best: choose another metric")
        return self


class ImportanceGate(_Gate):
    """The winner does not rely on a column more than is plausible. Needs `evaluation.explanation`."""

    kind: Literal["max_importance"]
    columns: dict[str, Share] = Field(
        default_factory=dict, description="Largest share of the whole importance, by feature."
    )
    any: Share | None = Field(None, description="Largest share of a feature that `columns` does not name.")

    @model_validator(mode="after")
    def _bounded(self) -> ImportanceGate:
        if not self.columns and self.any is None:
            raise ValueError("name columns or any")
        return self


Gate = Annotated[
    AbsoluteGate
    | ChampionGate
    | BaselineGate
    | SliceGate
    | LatencyGate
    | PredictionsGate
    | SizeGate
    | ChampionAgeGate
    | GapGate
    | GroupMetricGate
    | ImportanceGate,
    Field(discriminator="kind"),
]
