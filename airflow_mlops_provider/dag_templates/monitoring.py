"""The monitoring DAG of a pipeline: watch → [retrain | roll_back]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

from airflow_mlops_provider.assets import (
    champion_alias,
    champion_asset,
    predictions_asset,
    retrain_alias,
    retrain_asset,
)
from airflow_mlops_provider.dag_templates.dag import PipelineDAG
from airflow_mlops_provider.dag_templates.describe import monitoring_doc
from airflow_mlops_provider.dag_templates.events import notify_of
from airflow_mlops_provider.dag_templates.settings import dag_settings, section, task_settings
from airflow_mlops_provider.operators.watching import (
    RetrainOnDecisionOperator,
    RollbackOnDecisionOperator,
    WatchPredictionsOperator,
)
from airflow_mlops_provider.spec.metrics import as_settings

if TYPE_CHECKING:
    from airflow_mlops_provider.spec import EventKind, Pipeline


def monitoring_dag(pipeline: Pipeline) -> PipelineDAG:
    """Return the monitoring DAG of one pipeline, which has the section `monitoring`.

    :raises SpecError: for a wrong notifier.
    """
    with PipelineDAG(
        description=f"Watch what {pipeline.name} predicts, and retrain or roll back when it has to be",
        doc_md=monitoring_doc(pipeline),
        schedule=[predictions_asset(pipeline.name)],
        catchup=False,
        **dag_settings(pipeline, "monitoring"),
    ) as dag:
        _tasks(pipeline)
    dag.params.update(_params())
    return dag


def _tasks(pipeline: Pipeline) -> None:
    common: dict[str, Any] = {
        "pipeline": pipeline.name,
        "seed": pipeline.seed,
        "model": pipeline.model_name,
        "mlflow_conn_id": pipeline.promotion.conn_id,
    }
    watch = WatchPredictionsOperator(
        **task_settings(pipeline, "watch"),
        **common,
        task=pipeline.task,
        data=section(pipeline.data),
        metrics=as_settings(pipeline.measured),
        scoring={key: value for key, value in section(pipeline.scoring).items() if key != "sinks"},
        monitoring=section(pipeline.watched),
        validation=section(pipeline.validation),
        inlets=[predictions_asset(pipeline.name)],
    )
    retrain = RetrainOnDecisionOperator(
        **task_settings(pipeline, "retrain"),
        **common,
        decided=watch.output,
        inlets=[retrain_asset(pipeline.name)],
        outlets=[retrain_alias(pipeline.name)],
    )
    roll_back = RollbackOnDecisionOperator(
        **task_settings(pipeline, "roll_back"),
        **common,
        decided=watch.output,
        inlets=[champion_asset(pipeline.model_name)],
        outlets=[champion_alias(pipeline.model_name)],
    )
    events: set[EventKind] = {
        "drift",
        "incident",
        "incident_over",
        "retrain_asked",
        "retrain_suppressed",
        "rolled_back",
        "reconciled",
    }
    notify_of(pipeline, events, [watch, retrain, roll_back])


def _params() -> dict[str, Param]:
    """Return the trigger form."""
    return {
        "as_of": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="As of",
            description="Decide the window that ends here. If left empty, the run decides the windows whose events "
            "started it.",
        ),
        "recompute": Param(
            False,
            type="boolean",
            title="Recompute",
            description="Measure again, even if a result is stored. A stored decision does not change.",
        ),
    }
