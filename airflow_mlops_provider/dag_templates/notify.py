"""Notifiers that a pipeline file names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.operators.message_values import PlainNotifier
from airflow_mlops_provider.operators.notifiers import event_notifier, notifier_of

if TYPE_CHECKING:
    from airflow_mlops_provider.spec import Pipeline


def notifiers(pipeline: Pipeline) -> list[Any]:
    """Return what is called when a run fails.

    :raises SpecError: when a name is not one of a notifier, or its arguments do not fit.
    """
    found = []
    for named in pipeline.notifications.on_failure:
        notifier = notifier_of(pipeline.name, "notifications.on_failure", named.notifier, named.params)
        found.append(notifier if named.airflow_context else PlainNotifier(notifier))
    return found


def check_event_notifiers(pipeline: Pipeline) -> None:
    """Make every notifier of events, as the tasks that use them do.

    :raises SpecError: as `notifiers`.
    """
    for named in pipeline.notifications.on_event:
        event_notifier(pipeline.name, named)
