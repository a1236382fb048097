"""What a task remembers while it runs, so that its lineage can be reported afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_mlops_provider.job import StepRequest
    from airflow_mlops_provider.results import StepResult


@dataclass
class Computed:
    """One compute step of a task.

    :param result: None while it runs, and when it failed.
    """

    request: StepRequest
    result: StepResult | None = None


@dataclass
class Work:
    """What a task has done. Taking these notes costs nothing; they are read only when OpenLineage listens.

    :param step: of the operator.
    :param model: registered model.
    :param registry: URI of the MLflow registry that the task used; None when it used none.
    :param result: what the task returned; None before, and when it was skipped or failed.
    """

    step: str
    model: str
    registry: str | None = None
    computed: list[Computed] = field(default_factory=list)
    result: StepResult | None = None
