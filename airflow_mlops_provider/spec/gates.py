"""The gates: what a challenger must reach before it may be promoted."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from airflow_mlops_provider.spec.frozen import DottedName, Finite, Frozen, OpenShare, Share, Span
from airflow_mlops_provider.spec.judgement import GapName
from airflow_mlops_provider.spec.metrics import less_is_better
from airflow_mlops_provider.spec.parameters import function_problem

OnFail = Literal["fail", "skip"]
#: Which number a gate holds against its bound.
JudgedBy = Literal["point", "low", "high"]
_FIRST = "Metric that the gate judges, one of `evaluation.metrics`. Defaults to the first of them."
_ON_FAIL = "What a failing gate does: `fail` fails the task, `skip` skips the promotion and leaves the run green."
_MIN = "Smallest value that passes. Without it, there is no lower bound."
_MAX = "Largest value that passes. Without it, there is no upper bound."
_IN_UNITS = "in units of the metric. For a loss such as `log_loss`, a decrease is the gain."


class _Gate(Frozen):
    name: str | None = Field(
        None,
        description="Name of the gate in the table of verdicts, unique in the pipeline. Defaults to its `kind`, or to "
        "the name of its function.",
    )
    on_fail: OnFail = Field("fail", description=_ON_FAIL)

    @property
    def label(self) -> str:
        """The name that people see."""
        return self.name or str(getattr(self, "kind", ""))


class AbsoluteGate(_Gate):
    """Requires a metric to be at least `min`, at most `max`, or both."""

    kind: Literal["absolute"]
    metric: str = Field(description="Metric that the gate judges, one of `evaluation.metrics`.")
    min: Finite | None = Field(None, description=_MIN)
    max: Finite | None = Field(None, description=_MAX)
    judged_by: JudgedBy = Field(
        "point",
        description="What must be within the bounds: the measured value (`point`), or the `low` or `high` end of its "
        "interval (`evaluation.bootstrap.confidence`). The worse end is corrected for `optimism`, the bias of picking "
        "the best candidate.",
    )

    @model_validator(mode="after")
    def _bounded(self) -> AbsoluteGate:
        if self.min is None and self.max is None:
            raise ValueError("set min or max")
        return self


class ChampionGate(_Gate):
    """Requires the challenger to be better than the champion on the same holdout, or at most a margin worse.

    A challenger with another recipe than the champion's is a replacement. The lower bound of its gain decides, at an
    error rate that all looks at replacements of this champion share. The champion's own recipe on newer data is a
    refresh: it passes unless the interval shows that it is worse. Without a champion the gate passes. When the champion
    cannot be compared, because it needs a feature that is no longer read or predicts another target, `on_incomparable`
    decides, and `on_fail` does not apply.
    """

    kind: Literal["champion"]
    metric: str | None = Field(None, description=_FIRST)
    rule: Literal["better", "not_worse"] = Field(
        "better",
        description="`better` requires a gain of more than the margin over the champion. `not_worse` allows the "
        "challenger to be worse by at most the margin.",
    )
    margin: Finite = Field(0.0, ge=0, description=f"Margin of `rule`, {_IN_UNITS}")
    confidence: OpenShare = Field(
        0.95,
        description="Confidence level of the two-sided interval of the gain. It applies to a refresh, and to a single "
        "look at a replacement.",
    )
    refresh: bool = Field(
        True,
        description="Whether a refresh, the champion's recipe on newer data, passes unless it is shown to be worse by "
        "more than `margin`. It also stands in for a better candidate that is not proven. `false` applies `rule` to "
        "every challenger.",
    )
    alpha: OpenShare | None = Field(
        0.05,
        description="Chance of a false replacement within `alpha_period`, shared by all looks at a replacement. "
        "`null` judges each look on its own.",
    )
    alpha_period: Span = Field(
        timedelta(days=90),
        gt=timedelta(0),
        description="Data time over which `alpha` is spent, such as `90 days`. The first look at a replacement spends "
        "half of `alpha` by default. Later looks spend the other half, in proportion to the new data.",
    )
    on_fail: OnFail = Field("skip", description=_ON_FAIL)
    on_incomparable: Literal["fail", "skip", "pass"] = Field(
        "fail",
        description="What happens when the champion cannot be compared: `fail` fails the task, so that a person "
        "decides, `skip` leaves the champion in place, `pass` lets the other gates decide.",
    )


class BaselineGate(_Gate):
    """Requires the challenger to beat a dummy that knows only the training target. A tie does not pass.

    The lower bound of the two-sided interval of the gain decides, measured on the same held-out rows. It allows for the
    choice of the best among several candidates.
    """

    kind: Literal["baseline"]
    metric: str | None = Field(None, description=_FIRST)
    min_gain: Finite = Field(0.0, ge=0, description=f"Smallest gain over the dummy that passes, {_IN_UNITS}")
    confidence: OpenShare = Field(
        0.95, description="Confidence level of the two-sided bootstrap interval of the gain over the dummy."
    )


class SliceGate(_Gate):
    """Requires the metric of the worst slice to be at least `min`, at most `max`, or both."""

    kind: Literal["worst_slice"]
    metric: str | None = Field(None, description=_FIRST)
    min: Finite | None = Field(None, description=_MIN)
    max: Finite | None = Field(None, description=_MAX)
    judged_by: JudgedBy = Field(
        "point",
        description="What must be within the bounds: the worst slice's value (`point`), which is often bad by chance "
        "among many slices, or the `low` or `high` end of intervals that hold for all slices at once (first metric "
        "only).",
    )

    @model_validator(mode="after")
    def _bounded(self) -> SliceGate:
        if self.min is None and self.max is None:
            raise ValueError("set min or max")
        return self


class LatencyGate(_Gate):
    """Requires the model to predict fast enough on this machine. It is timed each time the gate runs."""

    kind: Literal["latency"]
    max_p95_ms: Finite = Field(
        100.0,
        gt=0,
        description="Largest 95th percentile of the time of a one-row prediction, in milliseconds. On Linux, time "
        "spent waiting for a processor does not count.",
    )
    min_rows_per_second: Finite | None = Field(
        None,
        gt=0,
        description="Smallest number of rows per second when one call predicts many rows. Not checked when left out.",
    )


class PredictionsGate(_Gate):
    """Requires all predictions to be finite, and to look like the training target."""

    kind: Literal["predictions"]
    min_class_share: Share | None = Field(
        None,
        description="Smallest share of the rows for which each class must be predicted. Defaults to a tenth of an "
        "equal share, such as 0.05 for two classes. It is lowered for a class that is rarer in the holdout than in "
        "training.",
    )
    max_shift: Finite | None = Field(
        None,
        gt=0,
        description="Largest shift of the predictions from the training target that the holdout does not explain: "
        "total variation distance (default 0.25), or for regression the Wasserstein distance in standard deviations "
        "(default 0.5).",
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
    """Requires the stored model to be small enough."""

    kind: Literal["model_size"]
    max_mb: Finite = Field(500.0, gt=0, description="Largest size of the model file, in megabytes (10^6 bytes).")


class ChampionAgeGate(_Gate):
    """Requires the champion to have served for some time (in data time), so that models do not churn."""

    kind: Literal["champion_age"]
    min: Span = Field(
        description="Shortest data time that a champion must serve before it may be replaced, such as `7 days`."
    )
    on_fail: OnFail = Field("skip", description=_ON_FAIL)


_COLUMN = "Column whose groups the gate judges, one of `evaluation.fairness.groups`. Defaults to all of them."
_JUDGED_BY = (
    "What must meet the bound: the measured value (`point`), or the `low` or `high` end of its interval "
    "(`evaluation.bootstrap.confidence`)."
)


class GapGate(_Gate):
    """Requires the groups of `evaluation.fairness` to be no further apart than `max`."""

    kind: Literal["max_gap"]
    gap: GapName = Field(description="Gap between groups that the gate judges, one of `evaluation.fairness.gaps`.")
    max: Finite = Field(
        ge=0,
        description="Largest gap that passes. It is a difference of shares, or for regression in units of the target.",
    )
    column: str | None = Field(None, description=_COLUMN)
    judged_by: JudgedBy = Field("point", description=_JUDGED_BY)


class GroupMetricGate(_Gate):
    """Requires the metric of the worst group to be at least `min`."""

    kind: Literal["min_group_metric"]
    metric: str | None = Field(None, description=f"{_FIRST} It must not be a loss: for losses, use `max_gap`.")
    min: Finite = Field(description="Smallest value of the metric that passes, for the group with the worst value.")
    column: str | None = Field(None, description=_COLUMN)
    judged_by: JudgedBy = Field("point", description=_JUDGED_BY)

    @model_validator(mode="after")
    def _more_is_better(self) -> GroupMetricGate:
        if self.metric is not None and less_is_better(self.metric):
            raise ValueError(f"{self.metric} is a loss, where less is better: choose another metric")
        return self


class ImportanceGate(_Gate):
    """Requires the winner not to rely on a feature more than is plausible. Needs `evaluation.explanation`."""

    kind: Literal["max_importance"]
    columns: dict[str, Share] = Field(
        default_factory=dict,
        description="Largest share of the total importance that each feature may have, by name of the feature.",
    )
    any: Share | None = Field(
        None,
        description="Largest share of the total importance that any feature outside `columns` may have. Without it, "
        "those features are not checked.",
    )

    @model_validator(mode="after")
    def _bounded(self) -> ImportanceGate:
        if not self.columns and self.any is None:
            raise ValueError("set columns or any")
        return self


class CustomGate(_Gate):
    """A function of your own judges the evaluation."""

    kind: Literal["custom"]
    function: DottedName = Field(
        description="The dotted name of a function in the plugins folder or an allowed module, such as "
        "`business_gates.worth_it`. It gets the evaluation and returns a verdict.",
    )
    params: dict[str, Any] = Field(
        default_factory=dict, description="Keyword arguments that the function gets besides the evaluation."
    )

    @field_validator("function")
    @classmethod
    def _of_the_user(cls, function: str) -> str:
        if (problem := function_problem(function)) is not None:
            raise ValueError(problem)
        return function

    @property
    def label(self) -> str:
        """The name that people see."""
        return self.name or self.function.rpartition(".")[2]


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
    | ImportanceGate
    | CustomGate,
    Field(discriminator="kind"),
]
