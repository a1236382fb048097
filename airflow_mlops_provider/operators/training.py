"""From a dataset to a challenger: train candidates, evaluate them, publish them to MLflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.links import MlflowRunLink, MlflowVersionLink
from airflow_mlops_provider.operators.retrain_request import retrain_tags
from airflow_mlops_provider.operators.step import Result, StepOperator, flag, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_mlops_provider.results import StepResult


class TrainModelOperator(StepOperator):
    """Fit one candidate: preprocessing and estimator together, so that the model needs nothing else to score.

    Map it over candidates: a candidate that fails does not fail the others. Those that the Param `candidates` of the
    DAG run, a list of names, does not hold are not trained and give no result. They succeed: after a skipped instance
    Airflow would skip the task that collects the others.

    .. code-block:: python

        train = TrainModelOperator.partial(
            task_id="train", pipeline="churn", dataset=ingest.output, split=prepare.output
        ).expand(
            candidate=[
                {"name": "logistic", "estimator": "sklearn.linear_model.LogisticRegression"},
                {
                    "name": "boosting",
                    "estimator": "sklearn.ensemble.HistGradientBoostingClassifier",
                    "params": {"max_iter": 100},
                    "encode": "ordinal",
                },
            ]
        )

    :param dataset: what `IngestDataOperator` returned.
    :param split: what `PrepareDataOperator` returned.
    :param candidate: a candidate as in a pipeline file, with its `name`.
    """

    template_fields: Sequence[str] = (*StepOperator.template_fields, "dataset", "split", "candidate")
    step = "train"

    def __init__(self, *, dataset: Result, split: Result, candidate: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dataset = dataset
        self.split = split
        self.candidate = candidate

    def execute(self, context: Context) -> dict[str, Any] | None:
        """Fit the candidate, unless the run asks for others only."""
        name = self.candidate["name"]
        if name not in asked_for(context, [name]):
            self.log.info("Candidate %s was not asked for in this run: nothing is trained.", name)
            return None
        return super().execute(context)

    def run(self, context: Context) -> StepResult:
        """Fit the candidate."""
        name = self.candidate["name"]
        settings = {key: value for key, value in self.candidate.items() if key != "name"}
        return self.compute(
            context,
            {"name": name, "candidate": settings},
            {"dataset": [parsed(self.dataset, "dataset")], "split": [parsed(self.split, "split")]},
        )


class EvaluateModelOperator(StepOperator):
    """Measure the candidates on the same held-out rows, publish them to MLflow, register the best as `challenger`.

    The champion that the ledger names is measured on the same rows. A retry, a cleared task or a second run on the
    same data finds what was published and adds nothing.

    .. code-block:: python

        evaluate = EvaluateModelOperator(
            task_id="evaluate",
            pipeline="churn",
            models=train.output,
            metrics=["roc_auc", "log_loss"],
            candidates=["logistic", "boosting"],
            trigger_rule="all_done_min_one_success",
        )

    :param models: what the mapped `TrainModelOperator` returned. They know the dataset and the split; so this task has
        no other upstream task whose success `all_done_min_one_success` would take for a trained candidate.
    :param metrics: names of metrics; the first decides.
    :param candidates: the names that were to be trained, so that a lost one is reported.
    :param evaluation: the `evaluation` section of a pipeline file.
    :param model: registered model; the pipeline's name when left out.
    :param mlflow_conn_id: the `mlflow` connection.
    """

    template_fields: Sequence[str] = (
        *StepOperator.template_fields,
        "models",
        "evaluation",
        "model",
        "mlflow_conn_id",
    )
    operator_extra_links = (MlflowRunLink(), MlflowVersionLink())
    step = "evaluate"

    def __init__(
        self,
        *,
        models: Result,
        metrics: list[str],
        candidates: list[str],
        evaluation: dict[str, Any] | None = None,
        model: str | None = None,
        mlflow_conn_id: str = "mlflow_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.models = models
        self.metrics = metrics
        self.candidates = candidates
        self.evaluation = evaluation
        self.model = model
        self.mlflow_conn_id = mlflow_conn_id
        self.mlflow_links: dict[str, str] = {}

    def run(self, context: Context) -> StepResult:
        """Evaluate, then publish."""
        from airflow_mlops_provider import effects
        from airflow_mlops_provider.hooks.mlflow import MlflowHook
        from airflow_mlops_provider.run_context import resolve_as_of

        models = [parsed(value, "models") for value in self.models if value is not None]
        inputs = effects.evaluation_inputs(self.store(), models)
        asked = asked_for(context, self.candidates)
        hook = MlflowHook(self.mlflow_conn_id)
        registry = hook.registry()
        model = self.model or self.pipeline
        champion = effects.champion_for(
            registry,
            model,
            as_of=resolve_as_of(context, self.as_of),
            models=models,
            allow_older=flag(context, "allow_older"),
        )
        result = self.compute(
            context,
            {"evaluation": self.evaluation or {}, "metrics": self.metrics, "candidates": asked},
            inputs,
            champion=champion,
        )
        for name in result.facts.get("lost") or []:  # type: ignore[union-attr]
            self.log.warning("Candidate %s did not finish and is not part of this evaluation.", name)
        result = effects.publish(
            registry,
            self.store(),
            result,
            inputs,
            model=model,
            champion=champion,
            tags=airflow_tags(context) | retrain_tags(context, self.pipeline),
        )
        self.mlflow_links = effects.links(hook.ui_url, model, result)
        return result


def asked_for(context: Context, names: list[str]) -> list[str]:
    """Return the names that the run's Param `candidates` holds; all when it is empty or not declared."""
    params: Any = context.get("params") or {}
    wanted = params.get("candidates")
    return [name for name in names if name in wanted] if wanted else names


def airflow_tags(context: Context) -> dict[str, str]:
    """Return where a published run came from."""
    ti = context["ti"]
    return {
        "airflow.dag_id": ti.dag_id,
        "airflow.run_id": ti.run_id,
        "airflow.task_id": ti.task_id,
    }
