"""Sending notifiers the events that are new to them."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_mlops_provider.effects.events import linked
from airflow_mlops_provider.exceptions import MLOpsError, TransientServiceError
from airflow_mlops_provider.failpoints import failpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from airflow_mlops_provider.effects.events import Event, WebAddresses
    from airflow_mlops_provider.registry import Registry
    from airflow_mlops_provider.registry.notices import Notices
    from airflow_mlops_provider.spec import EventNotifier

log = logging.getLogger(__name__)

#: Messages that a notifier did not take, of which one or two may be to blame themselves.
_AWAY = 3


@dataclass(frozen=True)
class Notified:
    """What came of notifying.

    :param sent: notifier and title of each message.
    :param failed: notifier of each message that was not taken, and why.
    :param left: notifier and title of each message that another run is about to send.
    """

    sent: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, MLOpsError]] = field(default_factory=list)
    left: list[tuple[str, str]] = field(default_factory=list)


def notify(
    registry: Registry,
    pipeline: str,
    model: str,
    notifiers: Sequence[EventNotifier],
    events: Iterable[Event],
    *,
    by: str,
    started: datetime,
    places: WebAddresses,
    send: Callable[[EventNotifier, Event], None],
) -> Notified:
    """Send each notifier each event that is new to it, once; when a notifier fails, the others are sent theirs anyway.

    A notifier that did not take several messages is sent no more: it is away, and many tries would fill the log.

    :param pipeline: whose notifiers they are; another pipeline with the same model notifies its own.
    :param by: who sends; the same when a task is tried again.
    :param started: earlier events are not new to a notifier that has been sent none before.
    :param send: sends one message, or raises an `MLOpsError`.
    :raises RegistryError, TransientServiceError: of MLflow, without which nobody knows what was sent.
    """
    notices, notified = registry.notices(model), Notified()
    refused = Counter[str]()
    for notifier, event in _due(notices, pipeline, notifiers, list(events), started):
        who, message = _who(pipeline, notifier), (notifier.label, event.title)
        if refused[who] >= _AWAY:
            continue
        if not notices.take(who, event.key, by=by):
            notified.left.append(message)
            continue
        failpoint("notice.send.before")
        try:
            send(notifier, linked(registry, event, places))
        except MLOpsError as error:
            log.warning("%s", error)
            notices.give_back(who, event.key, by=by)
            # A wrong template fails for some messages, and says nothing of the others.
            refused[who] += isinstance(error, TransientServiceError)
            notified.failed.append((notifier.label, error))
            continue
        failpoint("notice.send.after")
        notices.mark(who, event.key, by=by)
        log.info("%s was notified: %s", *message)
        notified.sent.append(message)
    return notified


def _who(pipeline: str, notifier: EventNotifier) -> str:
    """Return what the log of messages calls a notifier."""
    return f"{pipeline}.{notifier.label}"


def _due(
    notices: Notices, pipeline: str, notifiers: Sequence[EventNotifier], events: Sequence[Event], started: datetime
) -> list[tuple[EventNotifier, Event]]:
    """Return what is to be sent, of each notifier the oldest first: who reads of a rollback has read of the promotion.

    A notifier comes after those of whose messages fewer were tried before: one that hangs ends the task each time.
    """
    due: list[tuple[int, EventNotifier, Event]] = []
    stored = notices.read()
    for notifier in notifiers:
        who = _who(pipeline, notifier)
        since = notices.since(stored, who, notifier.events, started)
        news = {event.key: event for event in events if _is_news(event, since)}
        tries = notices.unsent(stored, who, news)
        due += [(sum(tries.values()), notifier, news[key]) for key in tries]
    return [(notifier, event) for _, notifier, event in sorted(due, key=lambda one: one[0])]


def _is_news(event: Event, since: dict[str, datetime]) -> bool:
    wanted = [since[kind] for kind in event.kinds if kind in since]
    return bool(wanted) and (event.at is None or event.at >= min(wanted))
