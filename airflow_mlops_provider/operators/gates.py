"""From an evaluation to a verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.operators.step import Result, StepOperator, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_mlops_provider.results import StepResult


class QualityGateOperator(StepOperator):
    """Check the challenger against every gate, and show all verdicts before any of them takes effect.

    A failed gate with `on_fail: fail` fails the task. With `on_fail: skip` the task succeeds, and
    `PromoteModelOperator` is skipped with the reason, because a challenger that is not better is not an error.

    .. code-block:: python

        gate = QualityGateOperator(
            task_id="gate",
            pipeline="churn",
            evaluation=evaluate.output,
            metrics=["roc_auc", "log_loss"],
            gates=[{"kind": "absolute", "metric": "roc_auc", "min": 0.7}, {"kind": "champion"}],
        )

    :param evaluation: the output of `EvaluateModelOperator`.
    :param metrics: names of metrics. Gates that name no metric use the first one.
    :param gates: the `gates` of a pipeline file.
    :param latency_calls: number of one-row predictions that a gate `latency` times whenever the task runs.
    """

    template_fields: Sequence[str] = (*StepOperator.template_fields, "evaluation", "gates")
    step = "gate"

    def __init__(
        self,
        *,
        evaluation: Result,
        metrics: list[str],
        gates: list[dict[str, Any]],
        latency_calls: int = 50,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.latency_calls = latency_calls
        self.evaluation = evaluation
        self.metrics = metrics
        self.gates = gates

    def run(self, context: Context) -> StepResult:
        """Compute the verdicts and show them."""
        from airflow_mlops_provider.effects.gating import gate_inputs
        from airflow_mlops_provider.evaluation.verdicts import Verdicts, gates_table
        from airflow_mlops_provider.gauges import send_gates

        def compute(step: str, section: dict[str, Any], inputs: dict[str, list[StepResult]]) -> StepResult:
            return self.compute(context, section, inputs, step=step)

        evaluation = parsed(self.evaluation, "evaluation")
        inputs = gate_inputs(compute, self.store(), evaluation, self.gates, calls=self.latency_calls)
        result = compute("gate", {"gates": self.gates, "metrics": self.metrics}, inputs)
        verdicts = self.store().read_document(result.artifacts["verdicts"], Verdicts).stored()["verdicts"]
        self.log.info("Gates of %s:\n%s", self.pipeline, gates_table(verdicts))
        remarks: Any = result.facts.get("remarks") or []
        for remark in remarks:
            self.log.warning("%s.", remark)
        send_gates(self.pipeline, verdicts)
        return result
