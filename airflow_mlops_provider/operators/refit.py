"""From a model that passed its gates to the one that serves: fitted on all rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from airflow_mlops_provider.operators.step import Result, StepOperator, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_mlops_provider.results import StepResult


class RefitModelOperator(StepOperator):
    """Fit the winner anew on all rows, the held-out ones too, once the gates let it pass: that model serves.

    The judged model is kept as evidence; its calibration, threshold and number of boosting rounds are copied. Where the
    gates refused, the task does nothing and succeeds: a skip would skip `publish`, which shows a refused model too.
    The task fails, and the champion stays, when the new model predicts nothing or the same for every row, is too large,
    or is worse on the rows that it was fitted on than the judged model, which never saw them.

    .. code-block:: python

        refit = RefitModelOperator(
            task_id="refit", pipeline="churn", evaluation=evaluate.output, gate=gate.output
        )

    :param evaluation: what `EvaluateModelOperator` returned.
    :param gate: what `QualityGateOperator` returned.
    :param refit: `training.refit` of a pipeline file: `none` lets the judged model serve, and says so. So does a
        cross-validation, after which the winner is fitted on all rows already.
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
            self.log.info("Nothing is fitted anew: %s.", gate.facts.get("reason"))
            return None
        section, inputs = effects.refit_work(self.store(), evaluation, gate, refit=self.refit)
        result = self.compute(context, section, inputs)
        self.log.info("%s: %s.", section["name"], result.facts["reason"])
        return result
