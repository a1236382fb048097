"""The section `preparation`: what is decided before anything is fitted; also an operator's dict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt, model_validator

from airflow_mlops_provider.spec.frozen import Frozen, OpenShare, Share, Span, Task

if TYPE_CHECKING:
    from airflow_mlops_provider.spec.data import Columns

FoldKind = Literal["k_fold", "stratified", "grouped", "stratified_grouped", "time_series"]


class Missing(Frozen):
    """How much of a feature may be missing."""

    max_share: Share = Field(
        0.3,
        description="Largest share of missing values in a feature, both in the training rows and in the held-out rows.",
    )
    over: Literal["drop", "fail"] = Field(
        "fail",
        description="What happens when a feature exceeds `max_share`: `fail` fails the task, `drop` drops the feature.",
    )


class Split(Frozen):
    """How the holdout is chosen.

    `time` holds out the last part by timestamp. `random` goes by a hash of the row's keys, or of its group where there
    is one, so that a row stays on its side from day to day. `cross_validation` holds out each of `folds` folds in turn,
    formed as `kind` says.
    """

    by: Literal["time", "random", "cross_validation"] = Field(
        "time",
        description="How rows are held out: `time` takes the latest rows, `random` goes by a hash of the keys, "
        "`cross_validation` holds out each of several folds in turn.",
    )
    holdout: OpenShare = Field(0.2, description="Share of the rows to hold out in a split by `time` or `random`.")
    folds: int = Field(5, ge=2, le=50, description="Number of folds of a cross-validation.")
    kind: FoldKind = Field(
        "k_fold",
        description="How a cross-validation forms its folds: at random, with equal class shares, by whole groups, or "
        "in the order of time.",
    )
    group: str | None = Field(
        None,
        description="Key or category whose rows belong together, such as a customer or a patient. A split at random, "
        "folds by group and bootstrap intervals keep its rows together.",
    )
    embargo: Span | None = Field(
        None,
        description="Rows this close before a holdout, a search fold or a validation part are not used to train for "
        "it. Defaults to `data.label_delay`.",
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
            raise ValueError(f"kind {self.kind} is for a cross-validation; by is {self.by}")
        if self.embargo is not None and not self.in_time:
            raise ValueError("embargo is for a split by time or kind time_series: here the rows have no order")
        if self.grouped and self.group is None:
            raise ValueError(f"kind {self.kind} needs group, the column whose rows stay together")
        if self.group is not None and self.by == "cross_validation" and self.kind in ("k_fold", "stratified"):
            raise ValueError(f"kind {self.kind} splits groups: set kind to grouped or stratified_grouped")
        return self


class Overlap(Frozen):
    """How many held-out rows may be known from training."""

    policy: Literal["fail", "warn"] = Field(
        "warn",
        description="What happens when more than `max_share` of the held-out rows are known: `fail` fails the task, "
        "`warn` reports it.",
    )
    max_share: Share = Field(0.0, description="Largest share of the held-out rows that may be known from training.")


class Leakage(Frozen):
    """How much may appear on both sides of the split."""

    duplicates: Overlap | None = Field(
        Overlap(),
        description="Limit on held-out rows that equal a training row in every feature and the target. `null` turns "
        "the check off.",
    )
    keys: Overlap | None = Field(
        None,
        description="Limit on held-out rows whose keys also appear in a training row. `null`, the default, turns the "
        "check off.",
    )
    groups: Overlap = Field(
        Overlap(policy="fail"),
        description="Limit on held-out rows whose `split.group` also appears in the training rows, as may happen in a "
        "split by time.",
    )


class Preparation(Frozen):
    """How the data is split and checked before any model is fitted."""

    missing: Missing = Field(Missing(), description="How much of a feature may be missing.")
    max_categories: PositiveInt = Field(
        1000, description="Largest number of distinct values in a categorical feature. More are an error."
    )
    split: Split = Field(Split(), description="How the holdout is chosen.")
    leakage: Leakage = Field(Leakage(), description="How much may appear on both sides of the split.")
    max_target_association: Share = Field(
        0.999,
        description="A feature that alone predicts the target better than this is a leak and fails the task. Measured "
        "as AUC, or as |rank correlation| for regression.",
    )
    warn_target_association: Share = Field(
        0.98,
        description="A feature that alone predicts the target better than this is reported. It may be a noisy copy of "
        "the target, or a very good feature.",
    )


def split_problem(split: Split, columns: Columns, task: Task) -> str | None:
    """Return why a dataset of these columns cannot be split so; None when it can."""
    if split.in_time and columns.timestamp is None:
        how = "time" if split.by == "time" else "kind time_series"
        return f"a split by {how} needs data.columns.timestamp; or set preparation.split.by to random"
    if split.by == "cross_validation" and split.kind.startswith("stratified") and task == "regression":
        return f"preparation.split.kind {split.kind} needs classes; a regression has none"
    if split.group is not None and split.group not in (known := [*columns.keys, *columns.categorical]):
        return f"preparation.split.group is {split.group!r}, not among the keys and categories {known}"
    return None
