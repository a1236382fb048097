"""Notifiers that a pipeline file names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.operators.notifiers import event_notifier, notifier_of

if TYPE_CHECKING:
    from airflow_mlops_provider.spec import Pipeline


def notifiers(pipeline: Pipeline) -> list[Any]:
    """Return what is called when a run fails.

    :raises SpecError: when a name is not one of a notifier, or its arguments do not fit.
    """
    return [
        notifier_of(pipeline.name, "notifications.on_failure", named.notifier, named.params)
        for named in pipeline.notifications.on_failure
    ]


def check_event_notifiers(pipeline: Pipeline) -> None:
    """Make every notifier of events, as the tasks that use them do.

    :raises SpecError: as `notifiers`.
    """
    for named in pipeline.notifications.on_event:
        event_notifier(pipeline.name, named)
