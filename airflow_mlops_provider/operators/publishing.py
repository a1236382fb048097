"""From an evaluation to a challenger: what was trained, shown in MLflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.links import MlflowRunLink, MlflowVersionLink
from airflow_mlops_provider.operators.retrain_request import retrain_tags
from airflow_mlops_provider.operators.step import Result, StepOperator, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_mlops_provider.results import StepResult


class PublishModelOperator(StepOperator):
    """Show the candidates in MLflow, and register the best of them with the alias `challenger`.

    A retry, a cleared task or a second run on the same data finds what was published and adds nothing.

    .. code-block:: python

        publish = PublishModelOperator(task_id="publish", pipeline="churn", evaluation=evaluate.output)

    :param evaluation: what `EvaluateModelOperator` returned.
    :param model: registered model; the pipeline's name when left out.
    :param mlflow_conn_id: the `mlflow` connection.
    """

    template_fields: Sequence[str] = (*StepOperator.template_fields, "evaluation", "model", "mlflow_conn_id")
    operator_extra_links = (MlflowRunLink(), MlflowVersionLink())
    step = "publish"

    def __init__(
        self, *, evaluation: Result, model: str | None = None, mlflow_conn_id: str = "mlflow_default", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.evaluation = evaluation
        self.model = model
        self.mlflow_conn_id = mlflow_conn_id
        self.mlflow_links: dict[str, str] = {}

    def run(self, context: Context) -> StepResult:
        """Publish."""
        from airflow_mlops_provider import effects
        from airflow_mlops_provider.hooks.mlflow import MlflowHook

        hook = MlflowHook(self.mlflow_conn_id)
        model = self.model or self.pipeline
        result = effects.publish(
            hook.registry(),
            self.store(),
            parsed(self.evaluation, "evaluation"),
            model=model,
            tags=airflow_tags(context) | retrain_tags(context, self.pipeline),
        )
        self.mlflow_links = effects.links(hook.ui_url, model, result)
        return result


def airflow_tags(context: Context) -> dict[str, str]:
    """Return where a published run came from."""
    ti = context["ti"]
    return {
        "airflow.dag_id": ti.dag_id,
        "airflow.run_id": ti.run_id,
        "airflow.task_id": ti.task_id,
    }
