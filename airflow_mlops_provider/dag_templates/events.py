"""The task at the end of a DAG that sends messages about its events."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.dag_templates.settings import section, task_settings
from airflow_mlops_provider.operators.notifiers import check_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.operators.step import StepOperator
    from airflow_mlops_provider.spec import EventKind, EventNotifier, Pipeline

#: A notifier without a time limit of its own shall not keep the next run waiting.
_TIMEOUT = timedelta(minutes=5)


def notify_of(pipeline: Pipeline, kinds: set[EventKind], after: Sequence[StepOperator]) -> None:
    """Add the task that sends messages to the end of a DAG, when some notifier wants one of its events.

    As a teardown it runs whatever became of the tasks before, and neither makes a run that failed green nor one that
    succeeded red.

    :param kinds: events of this DAG.
    :param after: the tasks whose results tell of them.
    :raises NotAllowedError: a notifier is outside the allow-list. All else is found by the check of the file, or by
        the task: importing notifiers takes longer than parsing all pipelines.
    """
    notifiers = pipeline.notifications.on_event
    if not any(kinds & set(named.events) for named in notifiers):
        return
    from airflow_mlops_provider.operators.notify import NotifyOperator

    settings: dict[str, Any] = {"execution_timeout": _TIMEOUT, **task_settings(pipeline, "notify")}
    NotifyOperator(
        **settings,
        pipeline=pipeline.name,
        model=pipeline.model_name,
        mlflow_conn_id=pipeline.promotion.conn_id,
        notifiers=_sections(notifiers),
        results=[task.output for task in after],
    ).as_teardown()


def listeners(pipeline: Pipeline, kind: EventKind) -> list[dict[str, Any]]:
    """Return the notifiers that a task tells of an event by itself, before the end of its DAG.

    :raises NotAllowedError: as `notify_of`.
    """
    return _sections([named for named in pipeline.notifications.on_event if kind in named.events])


def _sections(notifiers: Sequence[EventNotifier]) -> list[dict[str, Any]]:
    for named in notifiers:
        check_name(named.notifier)
    return [section(named) for named in notifiers]
