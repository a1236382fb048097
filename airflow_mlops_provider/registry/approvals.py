"""People's answers to whether a version may become champion, kept beside the entries in the ledger."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

from pydantic import ConfigDict, Field

from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.failpoints import failpoint
from airflow_mlops_provider.registry.ledger import LEDGER
from airflow_mlops_provider.registry.patience import Patience
from airflow_mlops_provider.registry.write_once import WriteOnceLog

if TYPE_CHECKING:
    from airflow_mlops_provider.registry.client import Connection

_KEY = "approval-"
#: Of a rationale that is kept, in characters.
MAX_RATIONALE = 1000

Answer = Literal["approved", "rejected", "timed_out"]


class Approval(Document):
    """One answer.

    :param idem: idempotency key of the question: one question has one answer.
    :param nonce: makes every written value different, so that of equal writers only one has won.
    :param version: the challenger that the answer is about.
    :param order_key: its data time (`as_of`).
    :param compared_with: the ledger entry that it was held against; None for the first champion.
    :param by: who answered; None when nobody did in time.
    :param at: wall time of the answer.
    """

    # An older release reads what a newer one wrote.
    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    idem: str
    nonce: str = Field(default_factory=lambda: uuid4().hex)
    version: int = Field(ge=1)
    order_key: datetime
    compared_with: int | None = None
    answer: Answer
    by: str | None = None
    rationale: str = Field("", max_length=MAX_RATIONALE)
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))

    def sentence(self) -> str:
        """Return the answer in words."""
        if self.answer == "timed_out":
            return f"the request to approve version {self.version} as champion timed out"
        why = f": {self.rationale}" if self.rationale else ""
        return f"version {self.version} was {self.answer} by {self.by or 'an unnamed user'}{why}"


class Approvals:
    """The answers about one registered model."""

    def __init__(self, connection: Connection, model: str) -> None:
        self._log = WriteOnceLog(connection, model, LEDGER)
        self._model = model

    def history(self) -> list[Approval]:
        """Return every answer, oldest first; nothing before the first question.

        :raises RegistryError: the ledger is damaged or deleted.
        """
        readable = [
            approval
            for key, value in self._log.read().items()
            if key.startswith(_KEY) and key == _key(approval := self._log.parsed(key, value, Approval))
        ]
        return sorted(readable, key=lambda approval: approval.at)

    def write(self, approval: Approval) -> Approval:
        """Keep an answer, unless its question has one; return the one that holds.

        :raises RegistryError: MLflow refused.
        :raises TransientServiceError: MLflow cannot be reached; repeat it, and what was written before holds.
        """
        key, text = _key(approval), json.dumps(approval.stored(release=True), separators=(",", ":"))
        self._log.ensure_run()
        patience = Patience(f"the ledger of {self._model!r} is too busy")
        while True:
            patience.wait()
            failpoint("approval.write.before")
            stored = self._log.write(key, text)
            failpoint("approval.write.after")
            if stored is not None:
                return self._log.parsed(key, stored, Approval)


def _key(approval: Approval) -> str:
    """Return under which key an answer lies; under another it is a copy that does not count."""
    return f"{_KEY}{approval.idem}"
