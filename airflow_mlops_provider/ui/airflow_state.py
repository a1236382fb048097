"""What Airflow's own database knows: when pipelines run next, and what their tasks returned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XCOM_RETURN_KEY, XComModel
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from pydantic import ValidationError
from sqlalchemy import func, select

from airflow_mlops_provider.results import MESSAGE, StepResult

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


@dataclass(frozen=True)
class NextRun:
    """When a DAG runs next.

    :param at: None when nothing but an event or a person starts it.
    :param words: the schedule as Airflow tells it.
    """

    at: datetime | None
    paused: bool
    words: str | None


def schedules(dag_ids: Iterable[str]) -> dict[str, NextRun]:
    """Return when DAGs run next, by id; those that Airflow does not know are left out."""
    columns = (DagModel.dag_id, DagModel.next_dagrun_create_after, DagModel.is_paused, DagModel.timetable_summary)
    with create_session() as session:
        rows = session.execute(select(*columns).where(DagModel.dag_id.in_(list(dag_ids)), ~DagModel.is_stale)).all()
    return {known: NextRun(at, paused, words) for known, at, paused, words in rows}


def results_of(dag_id: str, task_id: str, limit: int) -> list[StepResult]:
    """Return what the latest runs of a task returned, oldest first; what is no result of ours is left out."""
    query = (
        select(XComModel)
        .where(XComModel.dag_id == dag_id, XComModel.task_id == task_id, XComModel.key == XCOM_RETURN_KEY)
        .order_by(XComModel.dag_run_id.desc())
        .limit(limit)
    )
    with create_session() as session:
        values = [XComModel.deserialize_value(row) for row in session.scalars(query)]
    return [result for value in reversed(values) if (result := _as_result(value)) is not None]


def result_of(dag_id: str, run_id: str, task_id: str, map_index: int) -> StepResult | None:
    """Return what a task instance returned; None when it returned nothing, or no result of ours."""
    value = _xcom(XCOM_RETURN_KEY, dag_id, run_id, task_id, map_index)
    return None if value is None else _as_result(value)


def message_of(dag_id: str, run_id: str, task_id: str, map_index: int) -> str | None:
    """Return why a task instance failed or skipped itself; None when it did neither, or was killed."""
    value = _xcom(MESSAGE, dag_id, run_id, task_id, map_index)
    return None if value is None else str(value)


def _xcom(key: str, dag_id: str, run_id: str, task_id: str, map_index: int) -> Any:
    query = XComModel.get_many(run_id=run_id, key=key, task_ids=task_id, dag_ids=dag_id, map_indexes=map_index, limit=1)
    with create_session() as session:
        row = session.scalars(query).first()
        return None if row is None else XComModel.deserialize_value(row)


@dataclass(frozen=True)
class EndedRun:
    """The latest run of a DAG that has ended.

    :param at: when it ended.
    """

    run_id: str
    failed: bool
    at: datetime | None


def latest_ended(dag_ids: Iterable[str]) -> dict[str, EndedRun]:
    """Return the latest run of each DAG that has ended, by the DAG's id; those without one are left out."""
    latest = (
        select(func.max(DagRun.id))
        .where(DagRun.dag_id.in_(list(dag_ids)), DagRun.state.in_([DagRunState.SUCCESS, DagRunState.FAILED]))
        .group_by(DagRun.dag_id)
    )
    with create_session() as session:
        rows = session.execute(
            select(DagRun.dag_id, DagRun.run_id, DagRun.state, DagRun.end_date).where(DagRun.id.in_(latest))
        ).all()
    return {dag: EndedRun(run_id, state == DagRunState.FAILED, at) for dag, run_id, state, at in rows}


def task_state(dag_id: str, run_id: str, task_id: str, map_index: int) -> str | None:
    """Return a task instance's state; None when there is no such instance, or it has not begun."""
    query = select(TaskInstance.state).where(
        TaskInstance.dag_id == dag_id,
        TaskInstance.run_id == run_id,
        TaskInstance.task_id == task_id,
        TaskInstance.map_index == map_index,
    )
    with create_session() as session:
        return session.scalar(query)


def _as_result(value: Any) -> StepResult | None:
    try:
        return StepResult.model_validate(value)
    except ValidationError:
        return None
