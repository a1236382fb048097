"""The training DAG of a pipeline: from ingest to promote, with tasks for searches and approval where required."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Param, TriggerRule

from airflow_mlops_provider.assets import champion_alias, champion_asset, dataset_asset, retrain_asset
from airflow_mlops_provider.dag_templates.dag import PipelineDAG
from airflow_mlops_provider.dag_templates.describe import training_doc
from airflow_mlops_provider.dag_templates.events import listeners, notify_of
from airflow_mlops_provider.dag_templates.schedule import AS_OF, response_timeout, training_schedule
from airflow_mlops_provider.dag_templates.settings import dag_settings, section, task_settings
from airflow_mlops_provider.operators.data import IngestDataOperator, PrepareDataOperator, ValidateDataOperator
from airflow_mlops_provider.operators.gates import QualityGateOperator
from airflow_mlops_provider.operators.promotion import PromoteModelOperator
from airflow_mlops_provider.operators.publishing import PublishModelOperator
from airflow_mlops_provider.operators.refit import RefitModelOperator
from airflow_mlops_provider.operators.training import (
    EvaluateModelOperator,
    FindChampionOperator,
    TrainModelOperator,
)
from airflow_mlops_provider.spec.metrics import as_settings

if TYPE_CHECKING:
    from airflow_mlops_provider.spec import Pipeline


def training_dag(pipeline: Pipeline) -> PipelineDAG:
    """Return the training DAG of one pipeline.

    :raises SpecError: for a wrong schedule or notifier.
    """
    with PipelineDAG(
        description=pipeline.description or f"Train and promote {pipeline.name}",
        doc_md=training_doc(pipeline),
        **training_schedule(pipeline),
        **dag_settings(pipeline, "training"),
    ) as dag:
        _tasks(pipeline)
    # Added once the tasks are there: else each keeps a copy, makes three on the way, and half of the time to parse is
    # spent on that and on checking these schemas, which are right for any pipeline.
    dag.params.update(_params(pipeline))
    return dag


def _tasks(pipeline: Pipeline) -> None:
    own: dict[str, Any] = {"pipeline": pipeline.name, "seed": pipeline.seed}
    common = {**own, "as_of": AS_OF}
    mlflow = {"model": pipeline.model_name, "mlflow_conn_id": pipeline.promotion.conn_id}
    candidates = pipeline.candidates
    gates: list[dict[str, Any]] = [section(gate) for gate in pipeline.gates]
    retrain = retrain_asset(pipeline.name)
    ingest = IngestDataOperator(
        **task_settings(pipeline, "ingest"),
        **own,
        task=pipeline.task,
        data=section(pipeline.data),
        **_incidents(pipeline, mlflow),
        inlets=[retrain],
        outlets=[dataset_asset(pipeline.name)],
    )
    validate = ValidateDataOperator(
        **task_settings(pipeline, "validate"), **common, dataset=ingest.output, validation=section(pipeline.validation)
    )
    prepare = PrepareDataOperator(
        **task_settings(pipeline, "prepare"), **common, dataset=ingest.output, preparation=section(pipeline.preparation)
    )
    champion = FindChampionOperator(**task_settings(pipeline, "champion"), **common, **mlflow)
    train = TrainModelOperator.partial(
        **task_settings(pipeline, "train"),
        **common,
        dataset=ingest.output,
        split=prepare.output,
        map_index_template="{{ task.candidate['name'] }}",
    ).expand(candidate=[{"name": name, **section(candidate)} for name, candidate in candidates.items()])
    evaluate = EvaluateModelOperator(
        **task_settings(pipeline, "evaluate"),
        **common,
        models=train.output,
        champion="{{ ti.xcom_pull(task_ids='champion') | tojson }}",
        metrics=as_settings(pipeline.measured),
        candidates=list(candidates),
        evaluation=section(pipeline.evaluation),
        gates=[gate for gate in gates if gate["kind"] == "champion"],
        trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS,
    )
    gate = QualityGateOperator(
        **task_settings(pipeline, "gate"),
        **common,
        evaluation=evaluate.output,
        metrics=pipeline.metrics,
        gates=gates,
        latency_calls=pipeline.evaluation.latency_calls,
    )
    refit = RefitModelOperator(
        **task_settings(pipeline, "refit"),
        **common,
        evaluation=evaluate.output,
        gate=gate.output,
        refit=pipeline.training.refit,
    )
    publish = PublishModelOperator(
        **task_settings(pipeline, "publish"),
        **common,
        **mlflow,
        evaluation=evaluate.output,
        gate=gate.output,
        refit=refit.output,
        # A model that fails its gates is shown, too.
        trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS,
        card={"intended_use": pipeline.description, **section(pipeline.card)},
        inlets=[retrain],
    )
    judged = {"evaluation": publish.output, "gate": gate.output}
    promote = PromoteModelOperator(
        **task_settings(pipeline, "promote"),
        **common,
        **mlflow,
        **judged,
        **_approval(pipeline, {**common, **mlflow, **judged}),
        inlets=[champion_asset(pipeline.model_name), retrain],
        outlets=[champion_alias(pipeline.model_name)],
    )
    # A task waits for the tasks whose outputs it takes; only the order below does not follow from that. The champion is
    # found before candidates are trained: as another upstream task of `evaluate`, it would let `evaluate` start though
    # all candidates failed.
    validate >> prepare
    ingest >> champion >> train
    _mirror(pipeline, {**common, **mlflow}, publish)
    notify_of(pipeline, {"gate_failed", "promoted"}, [gate, publish, promote])
    _search(pipeline, {**common, "dataset": ingest.output, "split": prepare.output}, train)


def _incidents(pipeline: Pipeline, mlflow: dict[str, Any]) -> dict[str, Any]:
    """Return what tells ingest where decisions lie, and which rows are left out; nothing where nothing is watched."""
    if pipeline.monitoring is None:
        return {}
    return {**mlflow, "monitoring": {"incident": section(pipeline.monitoring.incident)}}


def _mirror(pipeline: Pipeline, arguments: dict[str, Any], publish: Any) -> None:
    """Mirror what was published to other trackers, where the pipeline names some; nothing waits for it."""
    if not pipeline.trackers:
        return
    from airflow_mlops_provider.operators.tracking import MirrorRunsOperator

    MirrorRunsOperator(
        **task_settings(pipeline, "mirror"),
        **arguments,
        published=publish.output,
        trackers=[section(each) for each in pipeline.trackers],
    )


def _search(pipeline: Pipeline, arguments: dict[str, Any], train: Any) -> None:
    """Make the tasks that do the trials of a search before `train` asks for them, where there are shards."""
    shards = [
        {"candidate": {"name": name, **section(candidate)}, "index": index}
        for name, candidate in pipeline.candidates.items()
        if candidate.search is not None and candidate.search.shards > 1
        for index in range(candidate.search.shards)
    ]
    if not shards:
        return
    from airflow_mlops_provider.operators.search import SearchShardOperator

    search = SearchShardOperator.partial(
        **task_settings(pipeline, "search"),
        **arguments,
        map_index_template="{{ task.shard['candidate']['name'] }} {{ task.shard['index'] + 1 }} of "
        "{{ task.shard['candidate']['search']['shards'] }}",
    ).expand(shard=shards)
    search >> train


def _approval(pipeline: Pipeline, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `promote` that concern the approval; none when no approval is required."""
    if pipeline.promotion.approval is None:
        return {}
    # Imported here: Airflow's operators that ask people bring what no other pipeline needs to be parsed.
    from airflow_mlops_provider.operators.approval import ApproveModelOperator

    approve = ApproveModelOperator(
        **task_settings(pipeline, "approve"),
        **arguments,
        response_timeout=response_timeout(pipeline),
        approvers=pipeline.promotion.approvers,
        event_notifiers=listeners(pipeline, "approval_asked"),
    )
    return {"approval": approve.output}


def _params(pipeline: Pipeline) -> dict[str, Param]:
    """Return the trigger form."""
    names = list(pipeline.training.candidates)
    return {
        "as_of": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="As of",
            description="Train on what was known before this moment. If left empty, it is a manual run's logical date, "
            "or the end of a scheduled run's data interval.",
        ),
        "reason": Param(
            None,
            type=["null", "string"],
            maxLength=500,
            title="Reason",
            description="Why you train now. It is recorded in the ledger, with who started the run.",
        ),
        "candidates": Param(
            names,
            type="array",
            items={"type": "string", "enum": names},
            examples=names,
            minItems=1,
            title="Candidates",
            description="Candidates to train.",
        ),
        "recompute": Param(
            False, type="boolean", title="Recompute", description="Compute every step again, even if it is stored."
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
