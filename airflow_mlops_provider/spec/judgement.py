"""Whom a model serves badly, and what it relies on: the two sections of `evaluation` that need an extra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from pydantic import Field, PositiveInt

from airflow_mlops_provider.spec.frozen import Frozen
from airflow_mlops_provider.spec.metrics import less_is_better

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.spec.data import Columns
    from airflow_mlops_provider.spec.evaluation import Evaluation
    from airflow_mlops_provider.spec.gates import Gate

ClassificationGap = Literal[
    "demographic_parity_difference",
    "equal_opportunity_difference",
    "equalized_odds_difference",
    "error_rate_difference",
]
RegressionGap = Literal["mean_prediction_difference", "mean_error_difference", "mae_difference"]
GapName = ClassificationGap | RegressionGap
CLASSIFICATION_GAPS: tuple[str, ...] = get_args(ClassificationGap)
REGRESSION_GAPS: tuple[str, ...] = get_args(RegressionGap)


class Fairness(Frozen):
    """Measures the winner on groups of rows, and the gaps between them (Fairlearn; extra `[fairness]`)."""

    groups: list[str] = Field(
        min_length=1,
        max_length=10,
        description="Columns whose values form the groups: features, keys, or columns of `data.columns.groups`.",
    )
    gaps: list[GapName] = Field(
        default_factory=list, description="Gaps between the groups to measure. Defaults to all gaps of the task."
    )
    min_rows: PositiveInt = Field(
        200, description="A group with fewer held-out rows than this is counted but not judged."
    )

    def gaps_of(self, task: str) -> list[str]:
        """Return the gaps that are measured."""
        return list(self.gaps or gaps_known(task))


class Explanation(Frozen):
    """Explains which columns the winner relies on.

    It uses SHAP (extra `[explain]`) where the model allows it, and permutation importance otherwise.
    """

    method: Literal["auto", "permutation"] = Field(
        "auto",
        description="`auto` uses SHAP where the model allows it, as trees and linear models do, and permutation "
        "importance otherwise. `permutation` always uses permutation importance, which needs no extra.",
    )
    rows: PositiveInt = Field(
        500, le=5000, description="Largest number of rows to sample from the holdout, and from its worst slice."
    )
    top: PositiveInt = Field(
        5,
        le=20,
        description="Number of most important columns whose partial dependence is drawn and whose importance MLflow "
        "shows.",
    )


def gaps_known(task: str) -> tuple[str, ...]:
    """Return the gaps that a task has."""
    return REGRESSION_GAPS if task == "regression" else CLASSIFICATION_GAPS


def check_judgement(
    task: str, metrics: Sequence[str], evaluation: Evaluation, columns: Columns, gates: Sequence[Gate]
) -> None:
    """Refuse groups that are no columns, gaps that the task does not have, and gates on what is not measured.

    :raises ValueError: names the setting.
    """
    if (fairness := evaluation.fairness) is not None:
        present = [*columns.features, *columns.groups, *columns.keys]
        if unknown := sorted(set(fairness.groups) - set(present)):
            raise ValueError(
                f"evaluation.fairness.groups names {unknown}: list it under data.columns.groups, "
                f"unless it is a feature or a key: {present}"
            )
        if unknown := sorted(set(fairness.gaps) - set(gaps_known(task))):
            raise ValueError(f"evaluation.fairness.gaps names {unknown}; a {task} pipeline has {gaps_known(task)}")
    for gate in gates:
        if gate.kind in ("max_gap", "min_group_metric"):
            _check_group_gate(gate, task, evaluation)
            if gate.kind == "min_group_metric" and gate.metric is None and less_is_better(metrics[0]):
                raise ValueError(f"gate {gate.label!r} would use {metrics[0]}, a loss: set its metric")
        elif gate.kind == "max_importance":
            _check_importance_gate(gate.label, list(gate.columns), evaluation, columns)


def _check_group_gate(gate: Gate, task: str, evaluation: Evaluation) -> None:
    fairness = evaluation.fairness
    if fairness is None:
        raise ValueError(f"gate {gate.label!r} needs evaluation.fairness, which names the groups")
    column, gap = getattr(gate, "column", None), getattr(gate, "gap", None)
    if column is not None and column not in fairness.groups:
        raise ValueError(f"gate {gate.label!r} names column {column!r}, not among {fairness.groups}")
    if gap is not None and gap not in fairness.gaps_of(task):
        raise ValueError(f"gate {gate.label!r} names gap {gap!r}; measured are {fairness.gaps_of(task)}")


def _check_importance_gate(label: str, named: list[str], evaluation: Evaluation, columns: Columns) -> None:
    if evaluation.explanation is None:
        raise ValueError(f"gate {label!r} needs evaluation.explanation: {{}} is enough")
    if unknown := sorted(set(named) - set(columns.features)):
        raise ValueError(f"gate {label!r} names {unknown}, not among the features {columns.features}")
