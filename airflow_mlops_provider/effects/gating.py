"""What the gates are given besides an evaluation: what can only be measured at the moment of judging."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from airflow_mlops_provider.runner import request_behind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.storage import ArtifactStore


class StepRunner(Protocol):
    """Runs a step of one pipeline."""

    def __call__(self, step: str, section: dict[str, Any], inputs: dict[str, list[StepResult]]) -> StepResult:
        """Return its result."""


def champion_gates(gates: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the gates that hold a challenger against the champion, which choose the winner with `evaluate`.

    :param gates: those of a pipeline file.
    """
    return [dict(gate) for gate in gates if gate.get("kind") == "champion"]


def gate_inputs(
    run: StepRunner, store: ArtifactStore, evaluation: StepResult, gates: Sequence[Mapping[str, Any]], *, calls: int
) -> dict[str, list[StepResult]]:
    """Return the inputs of step `gate`: the evaluation and, where a gate asks for it, how fast its winner is now.

    :param gates: those of a pipeline file.
    :param calls: one-row predictions to time, `evaluation.latency_calls`.
    """
    inputs = {"evaluation": [evaluation]}
    if not any(gate.get("kind") == "latency" for gate in gates):
        return inputs
    dataset = request_behind(store, evaluation, shown_only=True).inputs["dataset"]
    section = {"calls": calls, "measured_at": datetime.now(UTC).isoformat()}
    return {**inputs, "latency": [run("latency", section, {**inputs, "dataset": dataset})]}
