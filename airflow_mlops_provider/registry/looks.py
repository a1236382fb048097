"""Looks at replacements of a champion: each spends some of the chance of error that all of them share.

They lie in the ledger's run beside its entries, `look-<n>`, in the order in which they were written: what one has spent
on data is not there for those after it.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from itertools import count, takewhile
from typing import TYPE_CHECKING
from uuid import uuid4

from pydantic import ConfigDict, Field, field_validator

from airflow_mlops_provider.as_of import CLOCK_SKEW, in_utc
from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.failpoints import failpoint
from airflow_mlops_provider.registry.errors import DamagedError
from airflow_mlops_provider.registry.ledger import LEDGER
from airflow_mlops_provider.registry.patience import Patience
from airflow_mlops_provider.registry.write_once import WriteOnceLog
from airflow_mlops_provider.spec.frozen import Finite

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_mlops_provider.registry.client import Connection

log = logging.getLogger(__name__)


class Look(Document):
    """One look at a replacement of a champion, whatever came of it.

    :param recipe: the champion's, which all its refreshes share.
    :param lineage: the training that was held against it: a repeated one has the same, and looks once.
    :param as_of: data time up to which it has seen held-out rows.
    :param spent: chance of a false replacement that it took.
    :param candidate: name of the candidate.
    :param nonce: makes every written value different, so that of equal writers only one has won.
    :param at: wall time.
    """

    # An older release reads what a newer one wrote.
    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    recipe: str
    lineage: str
    as_of: datetime
    spent: Finite
    candidate: str
    nonce: str = Field(default_factory=lambda: uuid4().hex)
    at: datetime = Field(default_factory=lambda: datetime.now(UTC))

    @field_validator("as_of", "at")
    @classmethod
    def _in_utc(cls, moment: datetime) -> datetime:
        return in_utc(moment)

    @property
    def is_of_future(self) -> bool:
        """Whether its data is later than the look, which cannot be: its `as_of` was mistyped."""
        return self.as_of - min(self.at, datetime.now(UTC)) > CLOCK_SKEW


def unseen_by(looks: Sequence[Look], recipe: str, lineage: str, as_of: datetime) -> timedelta | None:
    """Return how much data came since the last look at a replacement of a recipe, for a training that looks now.

    For one that has looked already, that is what it was then: clearing a task spends nothing.

    :param looks: in their order.
    :param lineage: of the training.
    :return: in the data's time; None when nobody has looked before, zero when all of it was looked at.
    """
    of_recipe = [look for look in looks if look.recipe == recipe and not look.is_of_future]
    own = next((place for place, look in enumerate(of_recipe) if look.lineage == lineage), None)
    before = of_recipe[:own]
    if not before:
        return None
    until = in_utc(as_of) if own is None else of_recipe[own].as_of
    return max(until - max(look.as_of for look in before), timedelta(0))


class Looks:
    """The looks at replacements of one registered model's champions."""

    def __init__(self, connection: Connection, model: str) -> None:
        self._log = WriteOnceLog(connection, model, LEDGER)
        self._model = model

    def history(self) -> list[Look]:
        """Return every look in its order; nothing when there was none.

        :raises RegistryError: the ledger is damaged or deleted.
        """
        values = self._log.read()
        return self._looks(values, _keys(values))

    def write(self, look: Look) -> Look:
        """Keep a look, unless its training has looked at this recipe's replacement before; return the one that holds.

        :raises RegistryError: MLflow refused.
        :raises TransientServiceError: MLflow cannot be reached; repeat it, and what was written before holds.
        """
        text = json.dumps(look.stored(release=True), separators=(",", ":"), allow_nan=False)
        self._log.ensure_run()
        patience = Patience(f"the ledger of {self._model!r} is too busy")
        while True:
            patience.wait()
            values = self._log.read()
            keys = _keys(values)
            found = self._looks(values, keys)
            same = (one for one in found if (one.recipe, one.lineage) == (look.recipe, look.lineage))
            if (mine := next(same, None)) is not None:
                return mine
            key = f"look-{len(keys) + 1}"
            failpoint("look.write.before")
            self._log.write(key, text)
            failpoint("look.write.after")

    def _looks(self, values: Mapping[str, str], keys: Sequence[str]) -> list[Look]:
        """Return the looks among the values of the log; what is none, somebody else has written, and spends nothing."""
        found = []
        for key in keys:
            try:
                found.append(self._log.parsed(key, values[key], Look))
            except DamagedError as error:
                log.warning("%s", error)
        return found


def _keys(values: Mapping[str, str]) -> list[str]:
    """Return the keys of looks up to the first gap: one stray key beyond it would end the numbering for good."""
    return list(takewhile(values.__contains__, (f"look-{place}" for place in count(1))))
