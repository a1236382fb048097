"""Airflow's own notifiers, by the names that a pipeline file gives them."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

from airflow_mlops_provider.exceptions import SpecError, TransientServiceError
from airflow_mlops_provider.operators.message_values import event_values, run_values
from airflow_mlops_provider.operators.step import allow_list
from airflow_mlops_provider.redaction import cause_to_show

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_mlops_provider.effects.events import Event
    from airflow_mlops_provider.spec import EventNotifier

#: Default messages, where a pipeline file gives none, by the argument that holds a notifier's message.
_MESSAGES = {
    "subject": "{{ event.title }}",
    "html_content": "{{ event.html }}",
    "text": "{{ event.text }}",
    "message": "{{ event.text }}",
    "body": "{{ event.text }}",
}
_SLACK, _SLACK_TEXT = "airflow.providers.slack.", "{{ event.mrkdwn }}"


def check_name(name: str) -> None:
    """Refuse a notifier outside the allow-list, without importing it.

    :raises NotAllowedError: as `AllowList.check`.
    """
    _allowed().check(name)


def notifier_of(pipeline: str, section: str, name: str, params: Mapping[str, Any]) -> BaseNotifier:
    """Return a notifier with its arguments.

    :param section: section of the pipeline file, for error messages.
    :raises SpecError: when the name is not one of a notifier, or its arguments do not fit.
    """
    kind = _class_of(pipeline, section, name)
    try:
        return kind(**params)
    except (TypeError, ValueError) as error:
        raise SpecError(f"{pipeline}: the params of notifier {name!r} do not fit", got=str(error)) from error
    except (Exception, SystemExit) as error:  # its code must not end the process that makes every pipeline's DAGs
        raise SpecError(
            f"{pipeline}: notifier {name!r} cannot be created", got=f"{type(error).__name__}: {error}"
        ) from error


def event_notifier(pipeline: str, named: EventNotifier) -> BaseNotifier:
    """Return a notifier of events, which says what the pipeline file says, and else the whole event.

    :raises SpecError: as `notifier_of`.
    """
    section = "notifications.on_event"
    kind = _class_of(pipeline, section, named.notifier)
    messages = dict(_MESSAGES)
    if any(parent.__module__.startswith(_SLACK) for parent in kind.__mro__):
        messages["text"] = _SLACK_TEXT
    takes = inspect.signature(kind).parameters
    default = {name: text for name, text in messages.items() if name in takes}
    return notifier_of(pipeline, section, named.notifier, {**default, **named.params})


def send(pipeline: str, named: EventNotifier, event: Event, context: Mapping[str, Any]) -> None:
    """Send one message.

    :param context: Airflow's context. Templates see only its plain values, unless the notifier has `airflow_context`.
    :raises SpecError: the notifier's name, arguments or templates are wrong.
    :raises TransientServiceError: it was not taken; whatever the reason, another try may do.
    """
    from jinja2 import TemplateError

    notifier = event_notifier(pipeline, named)
    seen = context if named.airflow_context else run_values(context)
    try:
        # A notifier adds its own arguments to the context.
        notifier({**seen, "event": event_values(event)})
    except TemplateError as error:
        raise SpecError(
            f"{pipeline}: a template in the params of notifier {named.label} is invalid", got=str(error)
        ) from error
    except Exception as error:
        raise TransientServiceError(
            f"{named.label} did not accept the message {event.title!r}",
            got=f"{type(error).__name__}: {error}",
        ) from cause_to_show(error)


def _class_of(pipeline: str, section: str, name: str) -> type[BaseNotifier]:
    try:
        kind = _allowed().load(name)
    except SystemExit as error:
        raise SpecError(f"{pipeline}: {section} names {name!r}, whose module exits the process on import") from error
    if not (isinstance(kind, type) and issubclass(kind, BaseNotifier)):
        raise SpecError(f"{pipeline}: {section} names {name!r}", expected="a class of BaseNotifier")
    return kind


def _allowed() -> Any:
    allowed = allow_list()
    # Airflow's own providers bring the notifiers; nothing else of Airflow is a BaseNotifier.
    return allowed.model_copy(update={"modules": (*allowed.modules, "airflow")})
