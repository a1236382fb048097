"""One scored window beside what the champion was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.operators.step import Result, StepOperator, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_mlops_provider.results import StepResult


class DetectDriftOperator(StepOperator):
    """Compare what was scored with the champion's own reference: features, predictions, labels that are there already.

    Drift is a verdict, not a failure: the task succeeds, and the facts of its result say what drifted.

    .. code-block:: python

        drift = DetectDriftOperator(
            task_id="drift",
            pipeline="churn",
            dataset=new_rows.output,
            predictions=score.output,
            monitoring={"drift": {"share": 0.3, "min_rows": 500}},
        )

    :param dataset: what `IngestDataOperator` with `purpose="scoring"` returned.
    :param predictions: what `ScoreBatchOperator` returned.
    :param monitoring: the `monitoring` section of a pipeline file.
    :param keep_evidently: keep Evidently's own page as well: gzipped about 1.5 MB, and about twice the time.
    :param model: registered model; the pipeline's name when left out.
    :param mlflow_conn_id: the `mlflow` connection.
    """

    template_fields: Sequence[str] = (
        *StepOperator.template_fields,
        "dataset",
        "predictions",
        "monitoring",
        "model",
        "mlflow_conn_id",
    )
    step = "drift"

    def __init__(
        self,
        *,
        dataset: Result,
        predictions: Result,
        monitoring: dict[str, Any] | None = None,
        keep_evidently: bool = False,
        model: str | None = None,
        mlflow_conn_id: str = "mlflow_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.predictions = predictions
        self.monitoring = monitoring
        self.keep_evidently = keep_evidently
        self.model = model
        self.mlflow_conn_id = mlflow_conn_id

    def run(self, context: Context) -> StepResult:
        """Compare."""
        from airflow_mlops_provider.effects.champions import as_champion
        from airflow_mlops_provider.exceptions import MLOpsError
        from airflow_mlops_provider.hooks.mlflow import MlflowHook
        from airflow_mlops_provider.spec import Monitoring

        model = self.model or self.pipeline
        head = MlflowHook(self.mlflow_conn_id).registry().head(model)
        if head is None:
            raise MLOpsError(
                f"model {model!r} has no champion whose reference a window could be compared with",
                hint="Promote one first.",
            )
        settings = Monitoring.model_validate(self.monitoring or {}).drift
        result = self.compute(
            context,
            {**settings.model_dump(mode="json"), "keep_evidently": self.keep_evidently},
            {
                "dataset": [parsed(self.dataset, "dataset")],
                "predictions": [parsed(self.predictions, "predictions")],
            },
            champion=as_champion(head),
        )
        self.log.info("%s", result.facts["why"])
        return result
