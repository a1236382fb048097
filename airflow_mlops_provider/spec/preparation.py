"""The section `preparation`: what is decided before anything is fitted; also an operator's dict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt, model_validator

from airflow_mlops_provider.spec.frozen import Frozen, OpenShare, Share, Span, Task

if TYPE_CHECKING:
    from airflow_mlops_provider.spec.sections import Columns

FoldKind = Literal["k_fold", "stratified", "grouped", "stratified_grouped", "time_series"]


class Missing(Frozen):
    """How much of a feature may be missing."""

    max_share: Share = Field(0.3, description="Largest share of missing values, on either side of the split.")
    over: Literal["drop", "fail"] = Field("fail", description="What happens to a feature with more.")


class Split(Frozen):
    """How the holdout is taken.

    `time`: the last part by timestamp. `random`: by a hash of the row's keys (of its group, where there is one), so a
    row stays on its side from day to day. `cross_validation`: `folds` holdouts, of the kind that `kind` says.
    """

    by: Literal["time", "random", "cross_validation"] = Field("time", description="What decides.")
    holdout: OpenShare = Field(0.2, description="Share of the rows held out, by time or at random.")
    folds: int = Field(5, ge=2, le=50, description="Of a cross-validation.")
    kind: FoldKind = Field("k_fold", description="Of a cross-validation: how rows come to their folds.")
    group: str | None = Field(
        None,
        description="A key or category whose rows stay together: a customer, a patient. "
        "Intervals draw them together, too.",
    )
    embargo: Span | None = Field(
        None,
        description="Rows of this time before a holdout (a fold of a search, a validation part) do not train for it; "
        "`data.label_delay` when left out.",
    )

    @property
    def in_time(self) -> bool:
        """Whether what trains lies before what is held out."""
        return self.by == "time" or (self.by == "cross_validation" and self.kind == "time_series")

    @property
    def grouped(self) -> bool:
        """Whether the kind needs a group."""
        return self.by == "cross_validation" and self.kind in ("grouped", "stratified_grouped")

    @model_validator(mode="after")
    def _settings_belong_together(self) -> Split:
        if self.kind != "k_fold" and self.by != "cross_validation":
            raise ValueError(f"kind {self.kind} is one of a cross-validation; by is {self.by}")
        if self.embargo is not None and not self.in_time:
            raise ValueError("embargo is of a split by time, or of kind time_series: here no row is before another")
        if self.grouped and self.group is None:
            raise ValueError(f"kind {self.kind} needs group, the column whose rows stay together")
        if self.group is not None and self.by == "cross_validation" and self.kind in ("k_fold", "stratified"):
            raise ValueError(f"kind {self.kind} tears groups apart: set kind to grouped or stratified_grouped")
        return self


class Overlap(Frozen):
    """How much of the holdout may be known from training."""

    policy: Literal["fail", "warn"] = Field("warn", description="Whether more fails the task or is reported.")
    max_share: Share = Field(0.0, description="Largest share of the held-out rows.")


class Leakage(Frozen):
    """What may stand on both sides of the split."""

    duplicates: Overlap | None = Field(
        Overlap(), description="Held-out rows that equal a training row in every feature and the target; null: any."
    )
    keys: Overlap | None = Field(None, description="Held-out rows whose keys a training row has as well; null: any.")
    groups: Overlap = Field(
        Overlap(policy="fail"), description="Held-out rows whose `split.group` trains as well, in a split by time."
    )


class Preparation(Frozen):
    """What is decided before anything is fitted."""

    missing: Missing = Field(Missing(), description="How much of a feature may be missing.")
    max_categories: PositiveInt = Field(1000, description="More distinct values than this in a category is an error.")
    split: Split = Field(Split(), description="How the holdout is taken.")
    leakage: Leakage = Field(Leakage(), description="What may stand on both sides of the split.")
    max_target_association: Share = Field(
        0.999,
        description="A feature that alone tells the target better than this (AUC or |rank correlation|) leaks it.",
    )
    warn_target_association: Share = Field(
        0.98, description="One that tells it better than this is reported: a copy with noise, or a very good feature."
    )


def split_problem(split: Split, columns: Columns, task: Task) -> str | None:
    """Return why a dataset of these columns cannot be split so; None when it can."""
    if split.in_time and columns.timestamp is None:
        how = "time" if split.by == "time" else "kind time_series"
        return f"a split by {how} needs data.columns.timestamp; else set preparation.split.by to random"
    if split.by == "cross_validation" and split.kind.startswith("stratified") and task == "regression":
        return f"preparation.split.kind {split.kind} needs classes; a regression has none"
    if split.group is not None and split.group not in (known := [*columns.keys, *columns.categorical]):
        return f"preparation.split.group is {split.group!r}, not among the keys and categories {known}"
    return None
