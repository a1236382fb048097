"""The champions of a model in MLflow: a run holds the ledger, the alias `champion` and tags show its last entry."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import RegistryError, TransientServiceError
from airflow_mlops_provider.failpoints import failpoint
from airflow_mlops_provider.registry.errors import NotThereError
from airflow_mlops_provider.registry.ledger import Ledger, quarantine
from airflow_mlops_provider.registry.patience import Patience
from airflow_mlops_provider.registry.witnesses import STATUS_TAG, check_champion, check_same_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.registry.chain import Chain
    from airflow_mlops_provider.registry.client import Connection
    from airflow_mlops_provider.registry.ledger import LedgerEntry

CHAMPION = "champion"
_ARCHIVED, _QUARANTINED = "archived", "quarantined"


class MlflowChampions:
    """The champions of one registered model in one MLflow. See `ChampionStore`."""

    def __init__(self, connection: Connection, model: str) -> None:
        self.model = model
        self.ledger = Ledger(connection, model)
        self._connection = connection

    @property
    def where(self) -> str:
        """What the store is, in words."""
        return f"MLflow at {self._connection.address}"

    def read(self) -> Chain:
        """Return every entry, and what else lies among them; errors as `Ledger.history`."""
        return self.ledger.read()

    def append(self, entry: LedgerEntry) -> bool:
        """Write an entry at its `seq`; see `Ledger.append`."""
        return self.ledger.append(entry)

    def shown(self) -> int | None:
        """Return the version that the alias `champion` names."""
        return alias(self._connection, self.model, CHAMPION)

    def check(self, history: Sequence[LedgerEntry]) -> None:
        """Refuse a ledger that does not know the champion that MLflow's tags know; see `check_champion`."""
        check_champion(self._connection, self.ledger, self.model, self.shown(), history)

    def holds(self, version: int) -> bool:
        """Return whether MLflow still has a version."""
        try:
            self._connection.retried(
                f"looking for version {version} of model {self.model!r}",
                lambda client: client.get_model_version(self.model, str(version)),
            )
        except NotThereError:
            return False
        return True

    def project(self, *, written: LedgerEntry | None = None) -> bool:
        """Make alias and status tags show the ledger's head; return whether the alias had to be set.

        Whoever sets the alias reads the head again afterwards, so the last writer of all sets the last head.

        :param written: the entry that the caller has just written; of any other nobody knows who wrote it.
        :raises RegistryError: the version that the ledger names is gone from the registry, or is another model there.
        """
        connection, ledger, model = self._connection, self.ledger, self.model
        was_set, patience = False, Patience(f"the alias of {model!r} keeps changing")
        while True:
            patience.wait()
            history = ledger.history()
            head = history[-1]
            if self.shown() != head.version:
                if head != written:
                    check_same_model(connection, ledger, model, head)
                patience.note(_set_champion(connection, model, head))
                was_set = True
            _tag(connection, model, history)
            if ledger.history()[-1].seq == head.seq and self.shown() == head.version:
                return was_set


def alias(connection: Connection, model: str, name: str) -> int | None:
    """Return the version that the alias names; None without one."""
    try:
        registered = connection.retried(
            f"reading the aliases of model {model!r}", lambda client: client.get_registered_model(model)
        )
    except NotThereError:
        return None
    found = registered.aliases.get(name)
    return None if found is None else int(found)


def set_alias(connection: Connection, model: str, name: str, version: int) -> TransientServiceError | None:
    """Set an alias by one request, which cannot arrive late through a retry.

    :return: the error when another process was quicker, the reply was lost or the service failed: the caller looks at
        what is there.
    """
    failpoint("alias.write.before")
    trouble = None
    try:
        connection.once(
            f"setting the alias {name!r} of model {model!r} to version {version}",
            lambda client: client.set_registered_model_alias(model, name, str(version)),
        )
    except TransientServiceError as error:
        trouble = error
    failpoint("alias.write.after")
    return trouble


def _set_champion(connection: Connection, model: str, head: LedgerEntry) -> TransientServiceError | None:
    try:
        return set_alias(connection, model, CHAMPION, head.version)
    except NotThereError as error:
        raise RegistryError(
            f"version {head.version} of model {model!r}, champion by entry {head.seq} of the ledger, is gone "
            f"from MLflow at {connection.address}",
            hint="Promote another version or roll back to one; its entry will replace this one.",
        ) from error


def _tag(connection: Connection, model: str, history: Sequence[LedgerEntry]) -> None:
    tagged: list[Any] = connection.retried(
        f"reading the champions of model {model!r}",
        lambda client: client.search_model_versions(f"name = '{model}' and tags.`{STATUS_TAG}` != '{_ARCHIVED}'"),
    )
    # A tag that another process is setting this moment may be missing from what was found by it.
    shown = {int(found.version): found.tags.get(STATUS_TAG) for found in tagged}
    wanted = {
        **dict.fromkeys(shown, _ARCHIVED),
        **dict.fromkeys(quarantine(history), _QUARANTINED),
        history[-1].version: CHAMPION,
    }
    for version, status in sorted(wanted.items()):
        if shown.get(version) != status:
            _set_tag(connection, model, version, status)


def _set_tag(connection: Connection, model: str, version: int, status: str) -> None:
    # A deleted version needs no tag; if the champion is gone, setting its alias has reported that already.
    with suppress(NotThereError):
        connection.retried(
            f"marking version {version} of model {model!r} as {status}",
            lambda client: client.set_model_version_tag(model, str(version), STATUS_TAG, status),
        )
