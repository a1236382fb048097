"""The page of all models: one row a pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.collector import collector_paused
from airflow_mlops_provider.exceptions import MLOpsError
from airflow_mlops_provider.overview import PipelineOverview, pipeline_overviews
from airflow_mlops_provider.ui import sources
from airflow_mlops_provider.ui.airflow_state import EndedRun, NextRun, latest_ended, schedules
from airflow_mlops_provider.ui.charts import drift_trend
from airflow_mlops_provider.ui.security import KINDS, dag_id, readable_dags, seen_pipelines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.api_fastapi.core_api.security import GetUserDep
    from markupsafe import Markup

    from airflow_mlops_provider.spec import Pipeline

#: Windows of the drift trend.
WINDOWS = 30


@dataclass(frozen=True)
class Row:
    """One pipeline.

    :param overview: None when MLflow could not be read.
    :param bad: windows of the trend that were bad.
    :param failed: the DAGs whose latest run failed.
    """

    pipeline: Pipeline
    overview: PipelineOverview | None
    schedule: NextRun | None
    trend: Markup | None
    bad: int
    failed: list[FailedRun]


@dataclass(frozen=True)
class FailedRun:
    """The latest run of one of a pipeline's DAGs, which failed."""

    kind: str
    dag: str
    run: EndedRun


def failed_runs(pipelines: Sequence[str], user: GetUserDep) -> dict[str, list[FailedRun]]:
    """Return which DAGs' latest run failed, by pipeline, of those that the user may read."""
    dags = {dag_id(name, kind): (name, kind) for name in pipelines for kind in KINDS}
    found: dict[str, list[FailedRun]] = {}
    for dag, run in latest_ended(readable_dags(list(dags), user)).items():
        name, kind = dags[dag]
        if run.failed:
            found.setdefault(name, []).append(FailedRun(kind, dag, run))
    return {name: sorted(runs, key=lambda one: KINDS.index(one.kind)) for name, runs in found.items()}


def models_page(user: GetUserDep) -> dict[str, Any]:
    """Return what the page shows: the pipelines whose training DAG the user may read."""
    every = {pipeline.name: pipeline for pipeline in sources.every_pipeline()}
    seen = seen_pipelines(list(every), user)
    pipelines = [pipeline for name, pipeline in every.items() if name in seen]
    plans = schedules(dag_id(pipeline.name) for pipeline in pipelines)
    failed = failed_runs([pipeline.name for pipeline in pipelines], user)
    overviews, trouble = overviews_of(pipelines)
    rows = []
    for pipeline in pipelines:
        overview = overviews.get(pipeline.name)
        decisions = [] if overview is None else overview.decisions
        trend, bad = drift_trend(decisions) if decisions else None, sum(decision.bad for decision in decisions)
        plan = plans.get(dag_id(pipeline.name))
        rows.append(Row(pipeline, overview, plan, trend, bad, failed.get(pipeline.name, [])))
    # By name, those that never had a champion last: there is nothing to see of them.
    rows.sort(key=lambda row: row.overview is not None and row.overview.champion is None and not row.overview.trouble)
    # Every pipeline of an MLflow that is away has the same trouble: the page shows it once.
    return {"rows": rows, "alerts": list(dict.fromkeys(trouble.values()))}


def overviews_of(pipelines: list[Pipeline]) -> tuple[dict[str, PipelineOverview], dict[str, str]]:
    """Return where pipelines stand, by name, and why that is not known of others."""
    found: dict[str, PipelineOverview] = {}
    trouble: dict[str, str] = {}

    def connection(pipeline: Pipeline) -> str:
        return pipeline.promotion.conn_id

    for conn_id, group in groupby(sorted(pipelines, key=connection), key=connection):
        members = list(group)
        try:
            # Thousands of short-lived rows: in the server's large heap a collection takes longer than to read them.
            with collector_paused():
                overviews = pipeline_overviews(sources.registry(conn_id), members, decisions=WINDOWS)
        except MLOpsError as error:
            trouble |= dict.fromkeys((pipeline.name for pipeline in members), str(error))
        else:
            found |= {overview.pipeline: overview for overview in overviews}
    return found, trouble
