"""The training DAG of a pipeline: ingest → validate → prepare → train ×N → evaluate → gate → promote."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, ExceptionRetryPolicy, Param, RetryAction, RetryRule, TriggerRule

from airflow_mlops_provider.assets import champion_alias, champion_asset, dataset_asset
from airflow_mlops_provider.dag_templates.describe import training_doc
from airflow_mlops_provider.dag_templates.folder import load_pipelines
from airflow_mlops_provider.dag_templates.notify import notifiers
from airflow_mlops_provider.dag_templates.schedule import training_schedule
from airflow_mlops_provider.exceptions import SpecError, TransientServiceError
from airflow_mlops_provider.operators.data import IngestDataOperator, PrepareDataOperator, ValidateDataOperator
from airflow_mlops_provider.operators.promotion import PromoteModelOperator, QualityGateOperator
from airflow_mlops_provider.operators.training import EvaluateModelOperator, TrainModelOperator

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mlops_provider.spec import Pipeline, TaskName

log = logging.getLogger(__name__)

#: A service that is away for a while is worth waiting for. A wrong verdict, setting or bug is not: it stays wrong.
_RETRY_POLICY = ExceptionRetryPolicy(
    rules=[RetryRule(exception=[TransientServiceError, ConnectionError, TimeoutError], action=RetryAction.RETRY)],
    default=RetryAction.FAIL,
)
_RETRIES = {"retries": 3, "retry_delay": timedelta(seconds=10), "retry_exponential_backoff": 2.0}


def training_dags(folder: str | Path | None = None) -> dict[str, DAG]:
    """Return the training DAG of every pipeline, by DAG id, for `globals().update(…)`.

    One that cannot be built is logged and left out, as a file with a mistake is.

    :param folder: folder of pipeline files; `[mlops] pipelines_folder` when left out.
    """
    dags = {}
    for pipeline in load_pipelines("training", folder):
        try:
            dag = training_dag(pipeline)
        except SpecError as error:
            log.error("No DAG for %s: %s", pipeline.name, error)
        else:
            dags[dag.dag_id] = dag
    return dags


def training_dag(pipeline: Pipeline) -> DAG:
    """Return the training DAG of one pipeline.

    :raises SpecError: for a wrong schedule or notifier.
    """
    with DAG(
        dag_id=f"{pipeline.name}_training",
        description=pipeline.description or f"Train and promote {pipeline.name}",
        doc_md=training_doc(pipeline),
        **training_schedule(pipeline),
        # Politeness only: two runs at once would be safe, the ledger sees to that.
        max_active_runs=1,
        tags=["mlops", "training", *pipeline.tags],
        default_args={"owner": pipeline.owner, "retry_policy": _RETRY_POLICY, **_RETRIES},
        on_failure_callback=notifiers(pipeline) or None,
    ) as dag:
        _tasks(pipeline)
    # Added once the tasks are there: else each keeps a copy, makes three on the way, and half of the time to parse is
    # spent on that and on checking these schemas, which are right for any pipeline.
    dag.params.update(_params(pipeline))
    return dag


def _tasks(pipeline: Pipeline) -> None:
    common: dict[str, Any] = {"pipeline": pipeline.name, "seed": pipeline.seed}
    mlflow = {"model": pipeline.model_name, "mlflow_conn_id": pipeline.promotion.conn_id}
    candidates = pipeline.training.candidates
    ingest = IngestDataOperator(
        **_task(pipeline, "ingest"),
        **common,
        task=pipeline.task,
        data=_section(pipeline.data),
        outlets=[dataset_asset(pipeline.name)],
    )
    validate = ValidateDataOperator(
        **_task(pipeline, "validate"), **common, dataset=ingest.output, validation=_section(pipeline.validation)
    )
    prepare = PrepareDataOperator(
        **_task(pipeline, "prepare"), **common, dataset=ingest.output, preparation=_section(pipeline.preparation)
    )
    train = TrainModelOperator.partial(
        **_task(pipeline, "train"),
        **common,
        dataset=ingest.output,
        split=prepare.output,
        map_index_template="{{ task.candidate['name'] }}",
    ).expand(candidate=[{"name": name, **_section(candidate)} for name, candidate in candidates.items()])
    evaluate = EvaluateModelOperator(
        **_task(pipeline, "evaluate"),
        **common,
        **mlflow,
        models=train.output,
        metrics=pipeline.metrics,
        candidates=list(candidates),
        evaluation=_section(pipeline.evaluation),
        trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS,
    )
    gate = QualityGateOperator(
        **_task(pipeline, "gate"),
        **common,
        evaluation=evaluate.output,
        metrics=pipeline.metrics,
        gates=[{"kind": gate.kind, **_section(gate)} for gate in pipeline.gates],
    )
    promote = PromoteModelOperator(
        **_task(pipeline, "promote"),
        **common,
        **mlflow,
        evaluation=evaluate.output,
        gate=gate.output,
        inlets=[champion_asset(pipeline.model_name)],
        outlets=[champion_alias(pipeline.model_name)],
    )
    ingest >> validate >> prepare >> train >> evaluate >> gate >> promote


def _section(section: Any) -> dict[str, Any]:
    """Return a section as an operator takes it: plain JSON, without what is at its default."""
    values: dict[str, Any] = section.model_dump(mode="json", exclude_defaults=True)
    return values


def _task(pipeline: Pipeline, name: TaskName) -> dict[str, Any]:
    """Return a task's id and Airflow's own settings for it."""
    settings = pipeline.tasks.get(name)
    return {"task_id": name, **(settings.model_dump(exclude_none=True) if settings else {})}


def _params(pipeline: Pipeline) -> dict[str, Param]:
    """Return the trigger form."""
    names = list(pipeline.training.candidates)
    return {
        "as_of": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="As of",
            description="Train on what was known before this moment. Left empty: a manual run's logical date, "
            "or the end of a scheduled run's data interval.",
        ),
        "candidates": Param(
            names,
            type="array",
            items={"type": "string", "enum": names},
            examples=names,
            minItems=1,
            title="Candidates",
            description="Which candidates to train.",
        ),
        "recompute": Param(
            False, type="boolean", title="Recompute", description="Compute every step again, whatever is stored."
        ),
        "allow_older": Param(
            False,
            type="boolean",
            title="Allow older",
            description="Promote even when the champion was trained on later data.",
        ),
        "lift_quarantine": Param(
            False, type="boolean", title="Lift quarantine", description="Promote even a version that was rolled back."
        ),
    }
