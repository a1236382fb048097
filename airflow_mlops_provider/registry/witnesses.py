"""What MLflow itself still knows of champions when others changed their ledger: looked at before anything moves."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from airflow_mlops_provider.registry.errors import NotThereError
from airflow_mlops_provider.registry.versions import DIGEST_TAG, SHA256_TAG

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.registry.client import Connection
    from airflow_mlops_provider.registry.ledger import Ledger, LedgerEntry

#: Of a version: champion, archived or quarantined. Only what the ledger has named ever gets it.
STATUS_TAG = "mlops.status"


def check_champion(
    connection: Connection, ledger: Ledger, model: str, alias: int | None, history: Sequence[LedgerEntry]
) -> None:
    """Refuse a ledger that does not know the champion which it made itself, or not the model that it names.

    :param alias: version that the alias names. Set by hand, it is none that the ledger ever named.
    :raises RegistryError: the version's tag says that an entry made it champion, and no entry does; or MLflow holds
        another model under the number that the last entry names.
    """
    if history and history[-1].version != alias:
        check_same_model(connection, ledger, model, history[-1])
    if alias is None or alias in _named(history) or not _tags(connection, model, alias).get(STATUS_TAG):
        return
    # The tag comes after the entry, so whoever reads the entries now sees it.
    if alias not in _named(ledger.history()):
        raise ledger.damaged(
            f"version {alias}, which the alias names, was made champion by an entry that is gone, "
            f"as its tag {STATUS_TAG} shows"
        )


def check_same_model(connection: Connection, ledger: Ledger, model: str, head: LedgerEntry) -> None:
    """Refuse an entry that says of its version another model than MLflow holds under that number.

    :raises RegistryError: the digests differ.
    """
    registered = _tags(connection, model, head.version).get(DIGEST_TAG)
    if registered is not None and registered != head.digest:
        raise ledger.damaged(
            f"entry {head.seq} says that version {head.version} is model {head.digest[:16]}…, and MLflow holds "
            f"{registered[:16]}… under that number"
        )


def _named(history: Sequence[LedgerEntry]) -> set[int | None]:
    """Return the versions that got our tag by an entry: as champions, or barred by hand."""
    return {version for entry in history for version in (entry.version, entry.quarantined)}


def still_serving(connection: Connection, ledger: Ledger, model: str, alias: int | None) -> LedgerEntry | None:
    """Return the entry, of a damaged ledger, of the version that the alias names, when MLflow knows it as that model.

    :param alias: it is not moved while the ledger is damaged, so it names what served before.
    """
    if alias is None:
        return None
    tags = _tags(connection, model, alias)
    known = (tags.get(DIGEST_TAG), tags.get(SHA256_TAG))
    found = [one for one in ledger.readable() if one.version == alias and (one.digest, one.sha256) == known]
    return found[-1] if found else None


def _tags(connection: Connection, model: str, version: int) -> dict[str, str]:
    what = f"reading the tags of version {version} of model {model!r}"
    with suppress(NotThereError):
        return dict(connection.retried(what, lambda client: client.get_model_version(model, str(version))).tags)
    return {}
