"""The winner by groups, as it is stored."""

from __future__ import annotations

from pydantic import Field

from airflow_mlops_provider.spec.frozen import Finite, Frozen, OpenShare


class GroupMetric(Frozen):
    """One metric of one group, with its interval. Nulls: `why` says why."""

    value: Finite | None
    low: Finite | None = None
    high: Finite | None = None
    why: str | None = None


class Group(Frozen):
    """The held-out rows with one value of one column.

    :param metrics: the metrics of the evaluation and the rates behind the gaps, by name. Of several classes a rate
        has one each, one class against the rest: `true_positive_rate[late]`.
    """

    column: str
    value: str
    rows: int
    metrics: dict[str, GroupMetric]


class SmallGroup(Frozen):
    """A group with too few rows to be judged."""

    column: str
    value: str
    rows: int


class Gap(GroupMetric):
    """How far the two groups that are furthest apart are apart.

    :param metric: what they differ in.
    :param highest: the group with the largest value, `lowest` that with the least.
    """

    column: str
    gap: str
    metric: str | None = None
    highest: str | None = None
    lowest: str | None = None


class FairnessReport(Frozen):
    """The winner by groups.

    :param groups: those that are judged, by column, the largest first.
    :param small: the largest of those that are not, `small_counts` how many there are by column.
    """

    min_rows: int
    confidence: OpenShare
    resamples: int
    groups: list[Group] = Field(default_factory=list)
    small: list[SmallGroup] = Field(default_factory=list)
    small_counts: dict[str, int] = Field(default_factory=dict)
    gaps: list[Gap] = Field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        """The columns whose values are groups."""
        return list(self.small_counts)

    def of(self, column: str) -> list[Group]:
        """Return the judged groups of a column."""
        return [group for group in self.groups if group.column == column]

    def group(self, column: str, value: str | None) -> Group:
        """Return one judged group."""
        return next(group for group in self.of(column) if group.value == value)

    @property
    def shown(self) -> dict[str, float]:
        """The gaps as metrics of a run, at most four a column."""
        return {f"fairness.{gap.column}.{gap.gap}": gap.value for gap in self.gaps if gap.value is not None}
