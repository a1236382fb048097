"""One scored window beside what the champion was trained on, and what it is estimated to be worth."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.operators.model import PolicyOperator
from airflow_mlops_provider.operators.step import Result, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_mlops_provider.results import StepResult


class DetectDriftOperator(PolicyOperator):
    """Compare scored rows with the champion's own reference: features, predictions, and labels that are known by now.

    Drift is a verdict, not a failure: the task succeeds, and the facts of its result name what drifted.

    .. code-block:: python

        drift = DetectDriftOperator(
            task_id="drift",
            pipeline="churn",
            dataset=new_rows.output,
            predictions=score.output,
            monitoring={"drift": {"share": 0.3, "min_rows": 500}},
        )

    :param dataset: the output of `IngestDataOperator` with `purpose="scoring"`.
    :param predictions: the output of `ScoreBatchOperator`.
    :param keep_evidently: whether to store Evidently's own page too. It has about 1.5 MB when gzipped, and the task
        takes about twice as long.
    :param validation: the `validation` section of a pipeline file. A window that fails an expectation about each value
        is an incident.
    """

    template_fields: Sequence[str] = (*PolicyOperator.template_fields, "dataset", "predictions", "validation")
    step = "drift"

    def __init__(
        self,
        *,
        dataset: Result,
        predictions: Result,
        keep_evidently: bool = False,
        validation: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.predictions = predictions
        self.keep_evidently = keep_evidently
        self.validation = validation

    def run(self, context: Context) -> StepResult:
        """Compare."""
        from airflow_mlops_provider.effects.watching import expected_of_window
        from airflow_mlops_provider.exceptions import MLOpsError
        from airflow_mlops_provider.gauges import send_drift
        from airflow_mlops_provider.spec import Validation

        registry = self.registry()
        head = registry.head(self.model_name)
        if head is None:
            raise MLOpsError(
                f"model {self.model_name!r} has no champion with a reference to compare a window with",
                hint="Promote one first.",
            )
        policy, dataset = self.policy(), parsed(self.dataset, "dataset")
        validation = Validation.model_validate(self.validation or {})
        start = dataset.facts.get("start")
        window = None if start is None else (dataset.as_of - datetime.fromisoformat(str(start))).total_seconds()
        result = self.compute(
            context,
            {
                **policy.drift.model_dump(mode="json"),
                **policy.incident.model_dump(mode="json", include={"max_missing"}, exclude_none=True),
                "expectations": expected_of_window(policy, validation),
                "window": window,
                "keep_evidently": self.keep_evidently,
            },
            {
                "dataset": [dataset],
                "predictions": [parsed(self.predictions, "predictions")],
            },
            champion=self.champion_finder(registry)(head),
        )
        send_drift(self.pipeline, result.facts)
        self.log.info("%s", result.facts["why"])
        return result


class EstimatePerformanceOperator(PolicyOperator):
    """Estimate the metrics of scored rows before their labels are known, from the champion's probabilities.

    A fall is a verdict, not a failure: the task succeeds, and the facts of its result name what fell.

    .. code-block:: python

        estimate = EstimatePerformanceOperator(
            task_id="estimate",
            pipeline="churn",
            predictions=score.output,
            metrics=["roc_auc", "log_loss"],
            monitoring={"estimated": {"margin": 0.05}},
        )

    :param predictions: the output of `ScoreBatchOperator`.
    :param metrics: metrics, as `evaluation.metrics` of a pipeline file lists them. The first one decides,
        unless `monitoring.estimated.metric` names another.
    """

    template_fields: Sequence[str] = (*PolicyOperator.template_fields, "predictions")
    step = "estimate"

    def __init__(self, *, predictions: Result, metrics: Sequence[str | dict[str, Any]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.predictions = predictions
        self.metrics = metrics

    def run(self, context: Context) -> StepResult:
        """Estimate."""
        from airflow_mlops_provider.exceptions import MLOpsError
        from airflow_mlops_provider.gauges import send_estimate
        from airflow_mlops_provider.spec import Estimated

        registry = self.registry()
        head = registry.head(self.model_name)
        if head is None:
            raise MLOpsError(f"model {self.model_name!r} has no champion", hint="Promote one first.")
        settings = self.policy().estimated or Estimated()
        result = self.compute(
            context,
            {**settings.model_dump(mode="json"), "metrics": self.metrics},
            {"predictions": [parsed(self.predictions, "predictions")]},
            champion=self.champion_finder(registry)(head),
        )
        send_estimate(self.pipeline, result.facts)
        self.log.info("%s", result.facts["why"])
        return result
