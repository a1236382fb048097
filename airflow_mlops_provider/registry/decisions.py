"""What monitoring decided of each window: once, whatever is cleared and run again."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from pydantic import ConfigDict, Field, JsonValue, field_validator

from airflow_mlops_provider.as_of import CLOCK_SKEW, as_of_text, in_utc
from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.exceptions import RegistryError
from airflow_mlops_provider.failpoints import failpoint
from airflow_mlops_provider.registry.patience import Patience
from airflow_mlops_provider.registry.write_once import MAX_VALUE, LogKind, WriteOnceLog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_mlops_provider.registry.client import Connection

DECISIONS = LogKind("decisions", title="the decisions", without="nothing is decided")
_PREFIX = "window-"
#: As `as_of_text` writes a moment, in ASCII: one window has one key.
_KEY = re.compile(rf"{_PREFIX}[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}(T[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}Z)?")


class DecisionEntry(Document):
    """The decision of one window, as it is kept.

    :param window: the window's as_of (its end), to the second.
    :param value: the decision: plain JSON, which the registry does not look into.
    :param idem: idempotency key of the effect that wrote it, by which a retry knows it as its own.
    :param nonce: makes every written value different, so that of equal writers only one has won.
    :param at: wall time.
    """

    # An older release reads what a newer one wrote.
    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    window: datetime
    value: dict[str, JsonValue]
    idem: str = ""
    nonce: str = Field(default_factory=lambda: uuid4().hex)
    at: datetime

    @field_validator("window")
    @classmethod
    def _in_utc(cls, window: datetime) -> datetime:
        return in_utc(window).replace(microsecond=0)

    @property
    def is_of_future(self) -> bool:
        """Whether the window ended later than the moment of its decision, which cannot be: its `as_of` was mistyped."""
        return self.window - in_utc(self.at) > CLOCK_SKEW

    @property
    def key(self) -> str:
        """Under which key it lies; under another it is a copy that does not count."""
        return f"{_PREFIX}{as_of_text(self.window)}"

    def render(self) -> str:
        """Return the stored value.

        :raises RegistryError: longer than MLflow keeps.
        """
        text = json.dumps(self.stored(release=True), separators=(",", ":"), allow_nan=False)
        if len(text) > MAX_VALUE:
            sizes = {name: len(json.dumps(value)) for name, value in self.value.items()}
            largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
            raise RegistryError(
                f"the decision of window {as_of_text(self.window)} is too long",
                got=f"{len(text)} characters, most in {', '.join(largest)}",
                expected=f"at most {MAX_VALUE}",
                hint="Store what was decided and why; the rest belongs in the reports.",
            )
        return text


class Decisions:
    """The decisions of one registered model, one a window."""

    def __init__(self, connection: Connection, model: str) -> None:
        self._log = WriteOnceLog(connection, model, DECISIONS)
        self._model = model

    def history(self) -> list[DecisionEntry]:
        """Return every decision, by window; nothing when none was ever made.

        :raises RegistryError: the log is damaged or deleted.
        """
        return self.parse(self.read())

    def read(self) -> dict[str, str]:
        """Return what the log holds; errors as `history`."""
        return self._log.read()

    def parse(self, values: Mapping[str, str], last: int | None = None) -> list[DecisionEntry]:
        """Return the decisions in what the log holds, by window.

        :param last: so many of the latest windows only; all when left out.
        :raises RegistryError: the log is damaged.
        """
        return [entry for key, entry in self._latest(values, last) if key == entry.key]

    def _latest(self, values: Mapping[str, str], last: int | None) -> list[tuple[str, DecisionEntry]]:
        # A key holds its window's moment as text, which is in the order of time.
        keys = sorted(filter(_KEY.fullmatch, values))
        return [(key, self._log.parsed(key, values[key], DecisionEntry)) for key in keys[-last if last else None :]]

    def remarks(self, values: Mapping[str, str], last: int | None = None) -> list[str]:
        """Return what a person should know of the log: values in it that are none of ours. Parameters as `parse`."""
        copies = {key for key, entry in self._latest(values, last) if key != entry.key}
        strays = self._log.strays(values, _PREFIX, set(filter(_KEY.fullmatch, values)) - copies)
        return [self._log.stray_words(strays)] if strays else []

    def write(self, window: datetime, value: Mapping[str, JsonValue], idem: str) -> tuple[DecisionEntry, bool]:
        """Keep a decision, unless the window has one; return the one that holds and whether this call wrote it.

        :raises RegistryError: the decision is too long, or MLflow refused.
        :raises TransientServiceError: MLflow cannot be reached; repeat it, and what was written before holds.
        """
        mine = DecisionEntry(window=window, value=dict(value), idem=idem, at=datetime.now(UTC))
        text, key = mine.render(), mine.key
        self._log.ensure_run()
        patience = Patience(f"the decisions of {self._model!r} are too busy")
        while True:
            patience.wait()
            failpoint("decision.write.before")
            stored = self._log.write(key, text)
            failpoint("decision.write.after")
            if stored is not None:
                return self._log.parsed(key, stored, DecisionEntry), stored == text
