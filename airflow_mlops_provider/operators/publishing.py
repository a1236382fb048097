"""From an evaluation to a challenger: what was trained, shown in MLflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.links import MlflowRunLink, MlflowVersionLink
from airflow_mlops_provider.operators.model import ModelOperator
from airflow_mlops_provider.operators.retrain_event import retrain_tags
from airflow_mlops_provider.operators.step import Result, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_mlops_provider.results import StepResult


class PublishModelOperator(ModelOperator):
    """Record the candidates in MLflow, register the best one under the alias `challenger`, and store its model card.

    A retry, a cleared task or a second run on the same data finds what was already published, and adds nothing.

    .. code-block:: python

        publish = PublishModelOperator(
            task_id="publish",
            pipeline="churn",
            evaluation=evaluate.output,
            gate=gate.output,
            refit=refit.output,
            trigger_rule="all_done_min_one_success",
        )

    :param evaluation: the output of `EvaluateModelOperator`.
    :param gate: the output of `QualityGateOperator`, even if that task failed. The model card shows the verdicts. With
        the trigger rule in the example, a model that fails its gates is recorded too.
    :param refit: the output of `RefitModelOperator`, whose model becomes the registered version. If that task has no
        result, the judged model is registered but not promoted. Without this argument, the judged model serves.
    :param card: the `card` section of a pipeline file, with further texts for the model card.
    """

    template_fields: Sequence[str] = (*ModelOperator.template_fields, "evaluation", "gate", "refit")
    operator_extra_links = (MlflowRunLink(), MlflowVersionLink())
    step = "publish"

    def __init__(
        self,
        *,
        evaluation: Result,
        gate: Result = None,
        refit: Result = None,
        card: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.evaluation = evaluation
        self.gate = gate
        self.refit = refit
        # Rendered, a result that is missing is None, too.
        self._is_refitted = refit is not None
        self.card = card
        self.mlflow_links: dict[str, str] = {}

    def run(self, context: Context) -> StepResult:
        """Publish."""
        from airflow_mlops_provider import effects

        hook = self.mlflow()
        evaluation = parsed(self.evaluation, "evaluation")
        if self._is_refitted:
            refit = None if self.refit is None else parsed(self.refit, "refit")
            evaluation = effects.with_refit(evaluation, effects.refit_for(self.store(), evaluation, refit))
        result = effects.publish(
            hook.registry(),
            self.store(),
            evaluation,
            model=self.model_name,
            tags=airflow_tags(context) | retrain_tags(context, self.pipeline),
            gate=None if self.gate is None else parsed(self.gate, "gate"),
            about=self.card,
        )
        self.mlflow_links = effects.links(hook.ui_url, self.model_name, result.facts)
        return result


def airflow_tags(context: Context) -> dict[str, str]:
    """Return where a published run came from."""
    ti = context["ti"]
    return {
        "airflow.dag_id": ti.dag_id,
        "airflow.run_id": ti.run_id,
        "airflow.task_id": ti.task_id,
    }
