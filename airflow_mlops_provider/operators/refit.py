"""From a model that passed its gates to the one that serves: fitted on all rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from airflow_mlops_provider.operators.step import Result, StepOperator, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_mlops_provider.results import StepResult


class RefitModelOperator(StepOperator):
    """Fit the winner again on all rows, held-out ones included, once it has passed the gates. This model serves.

    The judged model is stored as evidence. Its calibration, threshold and number of boosting rounds are copied. If the
    gates refused the challenger, the task does nothing and succeeds. Skipping it would also skip `publish`, which
    records a refused model too.
    The task fails, and the champion stays, if the new model predicts nothing, predicts the same for every row, is too
    large, or is worse on the rows that it was fitted on than the judged model, which never saw them.

    .. code-block:: python

        refit = RefitModelOperator(
            task_id="refit", pipeline="churn", evaluation=evaluate.output, gate=gate.output
        )

    :param evaluation: the output of `EvaluateModelOperator`.
    :param gate: the output of `QualityGateOperator`.
    :param refit: `training.refit` of a pipeline file. With `none`, the judged model serves. After a cross-validation
        nothing is fitted again either, because the winner is already fitted on all rows. The result gives the reason.
    """

    template_fields: Sequence[str] = (*StepOperator.template_fields, "evaluation", "gate")
    step = "refit"

    def __init__(
        self, *, evaluation: Result, gate: Result, refit: Literal["all", "none"] = "all", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.evaluation = evaluation
        self.gate = gate
        self.refit = refit

    def run(self, context: Context) -> StepResult | None:
        """Fit, or say why not."""
        from airflow_mlops_provider import effects

        evaluation, gate = parsed(self.evaluation, "evaluation"), parsed(self.gate, "gate")
        if effects.refuses(gate):
            self.log.info("Nothing is refitted: %s.", gate.facts.get("reason"))
            return None
        section, inputs = effects.refit_work(self.store(), evaluation, gate, refit=self.refit)
        result = self.compute(context, section, inputs)
        self.log.info("%s: %s.", section["name"], result.facts["reason"])
        return result
