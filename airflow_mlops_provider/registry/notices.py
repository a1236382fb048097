"""Which events the notifiers of a model were sent: each once, whatever is cleared, run again or run at once.

A message cannot be sent and marked as sent in one stroke. So a sender first takes the event for that notifier, sends,
and then marks it, or gives it back when the message was not taken. Of several senders at once, exactly one takes it.
When a sender is killed in between, its next try takes the event again, and any other sender after some time: the
message may come twice then. It is lost only when nobody could send it for a week.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from pydantic import ConfigDict, Field

from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.registry.patience import Patience
from airflow_mlops_provider.registry.write_once import LogKind, WriteOnceLog

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_mlops_provider.registry.client import Connection

NOTICES = LogKind("notices", title="the log of messages", without="no messages are sent")
#: After this, a sender that took an event and did not mark it counts as dead: no task sends for as long.
LEASE = timedelta(minutes=10)
#: This long after the first try, an event is given up: a message that is never taken would be tried forever.
LASTING = timedelta(days=7)


class _Note(Document):
    """What is written of one event and one notifier.

    :param by: who took it: a task of a run, by which its retry knows it as its own.
    :param nonce: makes every written value different, so that of equal writers only one has won.
    """

    # An older release reads what a newer one wrote.
    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    by: str
    nonce: str = Field(default_factory=lambda: uuid4().hex)
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))


class Notices:
    """The messages about one registered model."""

    def __init__(self, connection: Connection, model: str) -> None:
        self._log = WriteOnceLog(connection, model, NOTICES)
        self._model = model

    def read(self) -> dict[str, str]:
        """Return the log as it is now, for `since` and `unsent`: it grows, and is read once for all notifiers.

        :raises RegistryError: the log is damaged or deleted, or MLflow refused.
        :raises TransientServiceError: MLflow cannot be reached.
        """
        return self._log.read()

    def since(
        self, values: Mapping[str, str], notifier: str, kinds: Iterable[str], moment: datetime
    ) -> dict[str, datetime]:
        """Return from when on an event of each kind is news to a notifier.

        A kind that it was not sent before is news from now on, for good: nobody wants to get all of the past at once.

        :param moment: what "now" is, such as the start of the run that sends.
        :raises RegistryError, TransientServiceError: as `read`.
        """
        keys = {kind: f"since-{notifier}-{kind}" for kind in kinds}
        texts = {
            kind: values.get(key) or self._log.write(key, moment.isoformat()) or moment.isoformat()
            for kind, key in keys.items()
        }
        try:
            return {kind: datetime.fromisoformat(text) for kind, text in texts.items()}
        except ValueError as error:
            raise self._log.damaged(f"a timestamp of notifier {notifier} cannot be read: {error}") from error

    def unsent(self, values: Mapping[str, str], notifier: str, events: Iterable[str]) -> dict[str, int]:
        """Return which events are still to be sent to a notifier, with the number of tries of each.

        :raises RegistryError: the log is damaged.
        """
        tries = {
            event: self._tries(values, notifier, event) for event in events if _sent(notifier, event) not in values
        }
        given_up = datetime.now(UTC) - LASTING
        return {event: len(notes) for event, notes in tries.items() if not notes or notes[0].at > given_up}

    def take(self, notifier: str, event: str, *, by: str) -> bool:
        """Take an event in order to tell a notifier of it; False when that was done, or another is about to.

        :param by: who takes it; again when it was taken by the same before.
        :raises RegistryError, TransientServiceError: as `read`.
        """
        mine = _Note(by=by)
        patience = Patience(f"the log of messages of {self._model!r} is too busy")
        while True:
            patience.wait()
            values = self._log.read()
            if _sent(notifier, event) in values:
                return False
            tries = self._tries(values, notifier, event)
            if tries and _given_back(notifier, event, len(tries)) not in values:
                if tries[-1].by == by:
                    return True
                if mine.at - tries[-1].at < LEASE:
                    return False
            text = _text(mine)
            if (stored := self._log.write(_try(notifier, event, len(tries) + 1), text)) is not None:
                return stored == text

    def mark(self, notifier: str, event: str, *, by: str) -> None:
        """Record that a notifier was sent an event.

        :raises RegistryError, TransientServiceError: as `read`; the message may come again then.
        """
        patience = Patience(f"the log of messages of {self._model!r} is too busy")
        while True:
            patience.wait()
            if self._log.write(_sent(notifier, event), _text(_Note(by=by))) is not None:
                return

    def give_back(self, notifier: str, event: str, *, by: str) -> None:
        """Let whoever comes next take an event at once, since its message was not taken.

        :raises RegistryError, TransientServiceError: as `read`; others wait a while then.
        """
        tries = self._tries(self._log.read(), notifier, event)
        if tries and tries[-1].by == by:
            self._log.write(_given_back(notifier, event, len(tries)), _text(_Note(by=by)))

    def _tries(self, values: Mapping[str, str], notifier: str, event: str) -> list[_Note]:
        tries: list[_Note] = []
        while (value := values.get(key := _try(notifier, event, len(tries) + 1))) is not None:
            tries.append(self._log.parsed(key, value, _Note))
        return tries


def _text(note: _Note) -> str:
    return json.dumps(note.stored(release=True))


def _sent(notifier: str, event: str) -> str:
    return f"sent-{notifier}-{event}"


def _try(notifier: str, event: str, number: int) -> str:
    return f"try-{number}-{notifier}-{event}"


def _given_back(notifier: str, event: str, number: int) -> str:
    return f"given-back-{number}-{notifier}-{event}"
