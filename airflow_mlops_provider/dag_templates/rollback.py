"""The rollback DAG of a pipeline: one task, started by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import Param

from airflow_mlops_provider.assets import champion_alias, champion_asset, predictions_asset
from airflow_mlops_provider.dag_templates.dag import PipelineDAG
from airflow_mlops_provider.dag_templates.describe import rollback_doc
from airflow_mlops_provider.dag_templates.events import notify_of
from airflow_mlops_provider.dag_templates.settings import dag_settings, task_settings
from airflow_mlops_provider.operators.rollback import RollbackModelOperator

if TYPE_CHECKING:
    from airflow_mlops_provider.spec import Pipeline


def rollback_dag(pipeline: Pipeline) -> PipelineDAG:
    """Return the rollback DAG of one pipeline.

    :raises SpecError: for a wrong notifier.
    """
    # The predictions of the latest window are to be made again, so their events tell the data time.
    scored = [] if pipeline.scoring is None else [predictions_asset(pipeline.name)]
    with PipelineDAG(
        description=f"Let an earlier champion of {pipeline.name} serve again",
        doc_md=rollback_doc(pipeline),
        schedule=None,
        catchup=False,
        **dag_settings(pipeline, "rollback"),
    ) as dag:
        roll_back = RollbackModelOperator(
            **task_settings(pipeline, "roll_back"),
            pipeline=pipeline.name,
            to="{{ params.to }}",
            reason="{{ params.reason }}",
            model=pipeline.model_name,
            mlflow_conn_id=pipeline.promotion.conn_id,
            inlets=[champion_asset(pipeline.model_name), *scored],
            outlets=[champion_alias(pipeline.model_name)],
        )
        notify_of(pipeline, {"rolled_back"}, [roll_back])
    dag.params.update(_params())
    return dag


def _params() -> dict[str, Param]:
    """Return the trigger form."""
    return {
        "to": Param(
            "previous",
            # Only the form's text field gives a string; `--conf '{"to": 3}'` gives a number.
            type=["string", "integer"],
            minLength=1,
            maxLength=64,
            minimum=1,
            maximum=999_999_999,
            title="Back to",
            description="`previous`, a version number, or a date or moment, which means the version that served then.",
        ),
        "reason": Param(
            # No default: neither the form nor the command line can leave it out.
            type="string",
            minLength=1,
            maxLength=500,
            pattern=r"\S",
            title="Reason",
            description="What is wrong with the champion. It is recorded in the ledger.",
        ),
    }
