"""What the winner relies on, as it is stored."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from airflow_mlops_provider.spec.frozen import Finite, Frozen

Method = Literal["shap_tree", "shap_linear", "permutation"]


class ColumnImportance(Frozen):
    """One column of the data.

    :param importance: mean absolute SHAP value, in units of what the model adds up (log-odds, or the target's);
        by permutation, the fall of the first metric.
    :param share: of the sum over all columns; what is below nothing counts as nothing.
    """

    column: str
    importance: Finite
    share: Finite


class Attribution(Frozen):
    """The columns by importance, the most important first, on a sample of rows.

    :param why: why it is permutation importance and not SHAP, or why there is nothing.
    """

    method: Method
    rows: int
    columns: list[ColumnImportance] = Field(default_factory=list)
    why: str | None = None


class SliceAttribution(Attribution):
    """The same on the worst slice by the first metric."""

    column: str
    value: str


class Dependence(Frozen):
    """What the model says on average when one column has a value in every row (Friedman 2001).

    :param grid: the values, ascending; categories by frequency.
    :param answers: mean probability of each class (of two, the second), or the mean prediction, at each value.
    """

    column: str
    kind: Literal["numeric", "categorical"]
    grid: list[Finite | str]
    answers: dict[str, list[Finite]]


class ExplanationReport(Frozen):
    """What the winner relies on."""

    overall: Attribution
    worst_slice: SliceAttribution | None = None
    dependence: list[Dependence] = Field(default_factory=list)

    @property
    def shown(self) -> dict[str, float]:
        """The shares of the columns that are drawn, as metrics of a run."""
        drawn = {one.column for one in self.dependence}
        return {f"importance.{one.column}": one.share for one in self.overall.columns if one.column in drawn}
