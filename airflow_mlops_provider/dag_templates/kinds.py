"""Every DAG of every pipeline, from one read of each pipeline file."""

from __future__ import annotations

import gc
import json
import logging
from typing import TYPE_CHECKING, NamedTuple

from airflow_mlops_provider.collector import collector_paused
from airflow_mlops_provider.dag_templates.folder import mistake, requested_kinds, unforeseen
from airflow_mlops_provider.dag_templates.monitoring import monitoring_dag
from airflow_mlops_provider.dag_templates.rollback import rollback_dag
from airflow_mlops_provider.dag_templates.scoring import scoring_dag
from airflow_mlops_provider.dag_templates.training import training_dag

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from airflow.sdk import DAG

    from airflow_mlops_provider.spec import Pipeline

log = logging.getLogger(__name__)


class Kind(NamedTuple):
    """A kind of DAG.

    :param build: makes a pipeline's DAG of this kind.
    :param wanted: whether a pipeline has one.
    """

    build: Callable[[Pipeline], DAG]
    wanted: Callable[[Pipeline], bool] = lambda _: True


#: By the suffix of the DAG's id.
KINDS: dict[str, Kind] = {
    "training": Kind(training_dag),
    "scoring": Kind(scoring_dag, lambda pipeline: pipeline.scoring is not None),
    "monitoring": Kind(monitoring_dag, lambda pipeline: pipeline.monitoring is not None),
    "rollback": Kind(rollback_dag),
}


def pipeline_dags(folder: str | Path | None = None) -> dict[str, DAG]:
    """Return every DAG of every pipeline, by DAG id, for `globals().update(…)`.

    One that cannot be built is logged and left out, as a file with a mistake is. When Airflow parses for one DAG, as
    it does to run a task, only that one is built.

    :param folder: folder of pipeline files; `[mlops] pipelines_folder` when left out.
    """
    with collector_paused():
        dags = _dags(tuple(KINDS), folder)
        # They stay as long as the process that parses: no later collection need walk them.
        gc.freeze()
        return dags


def training_dags(folder: str | Path | None = None) -> dict[str, DAG]:
    """Return the training DAG of every pipeline, and no other; as `pipeline_dags`."""
    with collector_paused():
        return _dags(("training",), folder)


def _dags(kinds: Sequence[str], folder: str | Path | None) -> dict[str, DAG]:
    dags = {}
    for pipeline, requested in requested_kinds(kinds, folder):
        for kind in requested:
            if not KINDS[kind].wanted(pipeline):
                continue
            try:
                dag = KINDS[kind].build(pipeline)
            except Exception as error:
                log.error("No %s DAG for %s: %s", kind, pipeline.name, mistake(error), exc_info=unforeseen(error))
            else:
                dags[dag.dag_id] = dag
    return dags


def building_problems(pipeline: Pipeline) -> list[str]:
    """Return why DAGs of a pipeline cannot be built or stored by Airflow: found by doing so, as slowly as that is."""
    from airflow.serialization.serialized_objects import DagSerialization

    found = []
    for kind in KINDS:
        if not KINDS[kind].wanted(pipeline):
            continue
        try:
            json.dumps(DagSerialization.to_dict(KINDS[kind].build(pipeline)), allow_nan=False)
        except Exception as error:
            found.append(f"{pipeline.name}: its {kind} DAG cannot be built: {mistake(error)}")
    return found
