"""The scoring DAG of a pipeline: ingest → score, with shards ingest → score_shard ×N → score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Param, TriggerRule

from airflow_mlops_provider.assets import champion_asset, predictions_asset
from airflow_mlops_provider.dag_templates.dag import PipelineDAG
from airflow_mlops_provider.dag_templates.describe import scoring_doc
from airflow_mlops_provider.dag_templates.schedule import AS_OF, scoring_schedule
from airflow_mlops_provider.dag_templates.settings import dag_settings, section, task_settings
from airflow_mlops_provider.operators.data import IngestDataOperator
from airflow_mlops_provider.operators.scoring import ScoreBatchOperator, ScoreShardOperator
from airflow_mlops_provider.spec import Scoring

if TYPE_CHECKING:
    from airflow_mlops_provider.spec import Pipeline


def scoring_dag(pipeline: Pipeline) -> PipelineDAG:
    """Return the scoring DAG of one pipeline.

    :raises SpecError: for a wrong schedule or notifier.
    """
    scoring = pipeline.scoring or Scoring()
    common: dict[str, Any] = {"pipeline": pipeline.name, "seed": pipeline.seed}
    with PipelineDAG(
        description=f"Score new rows with the champion of {pipeline.name}",
        doc_md=scoring_doc(pipeline),
        **scoring_schedule(pipeline),
        **dag_settings(pipeline, "scoring"),
    ) as dag:
        ingest = IngestDataOperator(
            **task_settings(pipeline, "ingest"),
            **common,
            task=pipeline.task,
            data=section(pipeline.data),
            purpose="scoring",
            window=scoring.model_dump(mode="json")["window"],
            inlets=[champion_asset(pipeline.model_name)],
        )
        arguments = {
            **common,
            "as_of": AS_OF,
            "dataset": ingest.output,
            "model": pipeline.model_name,
            "mlflow_conn_id": pipeline.promotion.conn_id,
        }
        ScoreBatchOperator(
            **task_settings(pipeline, "score"),
            **arguments,
            **_parts(pipeline, scoring.shards, arguments),
            shadow=scoring.shadow,
            sinks=section(scoring).get("sinks", []),
            outlets=[predictions_asset(pipeline.name)],
        )
    dag.params.update(_params())
    return dag


def _parts(pipeline: Pipeline, shards: int, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `score` that concern shards, and make the shards' tasks when there are any."""
    if shards == 1:
        return {}
    parts = ScoreShardOperator.partial(
        **task_settings(pipeline, "score_shard"),
        **arguments,
        map_index_template="{{ task.shard['index'] + 1 }} of {{ task.shard['count'] }}",
    ).expand(shard=[{"index": index, "count": shards} for index in range(shards)])
    # The success is that of `ingest`: without it there is nothing to score; whatever became of the shards, there is.
    return {"parts": parts.output, "trigger_rule": TriggerRule.ALL_DONE_MIN_ONE_SUCCESS}


def _params() -> dict[str, Param]:
    """Return the trigger form."""
    return {
        "as_of": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="As of",
            description="Score the window before this moment. If left empty, it is the as_of of the champion that "
            "triggered the run, a manual run's logical date, or the end of a scheduled run's data interval.",
        ),
        "recompute": Param(
            False, type="boolean", title="Recompute", description="Read and score again, even if a result is stored."
        ),
    }
