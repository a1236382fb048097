"""Where it is written who became champion of a model: what a store has to do, and one in memory.

The rules of promotion, rollback and quarantine are in the modules of these names. They work on any store that passes
`ChampionStoreContract`: on MLflow's, and on the one in memory, by which the time machine replays the past.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Protocol

from airflow_mlops_provider.exceptions import RegistryError
from airflow_mlops_provider.registry.chain import Chain, digest_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from airflow_mlops_provider.registry.ledger import LedgerEntry


class ChampionStore(Protocol):
    """The champions of one registered model: a log to which entries are added, and what shows its last entry.

    The log is the truth. What `shown` returns (an alias in MLflow) follows it, and may be behind after a crash.
    """

    @property
    def model(self) -> str:
        """Name of the registered model."""

    @property
    def where(self) -> str:
        """What the store is, in words and without a password: messages name it."""

    def read(self) -> Chain:
        """Return every entry, oldest first, and the place of the one to come.

        :raises RegistryError: the log is damaged.
        """

    def append(self, entry: LedgerEntry) -> bool:
        """Write an entry at its `seq`; False when another writer has won that place. Two writers never both win.

        :param entry: in its place, as `Chain.link` returns it.
        :raises RegistryError: the entry is too long, or the store refuses it.
        :raises TransientServiceError: the store cannot be reached, and the entry may or may not be there.
        """

    def shown(self) -> int | None:
        """Return the version that is shown as champion; None when none is."""

    def project(self, *, written: LedgerEntry | None = None) -> bool:
        """Show the last entry's version as champion; return whether another one was shown.

        :param written: the entry that the caller has just written.
        :raises RegistryError: the version is gone, or is another model.
        """

    def check(self, history: Sequence[LedgerEntry]) -> None:
        """Refuse a log from which entries were removed or in which they were changed, where the store can tell.

        :raises RegistryError: it was.
        """

    def holds(self, version: int) -> bool:
        """Return whether a version is registered."""


class MemoryChampions:
    """The champions of one model in the memory of this process; several threads may write.

    :param versions: the registered versions; every version is taken to be registered when left out.

    >>> store = MemoryChampions("churn")
    >>> store.read().history, store.shown()
    ([], None)
    """

    where = "memory"

    def __init__(self, model: str, versions: Collection[int] | None = None) -> None:
        self.model = model
        self._versions = versions
        self._history: list[LedgerEntry] = []
        self._digest = digest_of(model)
        self._shown: int | None = None
        self._lock = Lock()

    def read(self) -> Chain:
        """Return every entry, oldest first, and the place of the one to come."""
        with self._lock:
            place = len(self._history) + 1
            return Chain(list(self._history), [], place, place + 1, self._digest)

    def append(self, entry: LedgerEntry) -> bool:
        """Add an entry at its `seq`; False when that place is taken."""
        text = entry.render()
        with self._lock:
            if entry.seq != len(self._history) + 1:
                return False
            self._history.append(entry)
            self._digest = digest_of(text)
            return True

    def shown(self) -> int | None:
        """Return the version that is shown as champion."""
        return self._shown

    def project(self, *, written: LedgerEntry | None = None) -> bool:  # as the protocol has it
        """Show the last entry's version as champion; return whether another one was shown."""
        with self._lock:
            head = self._history[-1]
            if self._versions is not None and head.version not in self._versions:
                raise RegistryError(f"version {head.version} of model {self.model!r} is not registered")
            changed = self._shown != head.version
            self._shown = head.version
            return changed

    def check(self, history: Sequence[LedgerEntry]) -> None:
        """Accept the log: nobody else can reach it."""

    def holds(self, version: int) -> bool:
        """Return whether a version is registered."""
        return self._versions is None or version in self._versions
