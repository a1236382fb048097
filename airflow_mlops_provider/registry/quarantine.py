"""Quarantine by hand: a version that never served, or serves no longer, shall not be promoted; or may be again.

The entry repeats the champion's, which goes on serving, and names the other version. So a reader that knows nothing of
this sees the same champion, and the quarantine as after a rollback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.exceptions import RegistryError
from airflow_mlops_provider.registry.errors import NotThereError
from airflow_mlops_provider.registry.ledger import LedgerEntry, clock, quarantine
from airflow_mlops_provider.registry.patience import Patience
from airflow_mlops_provider.registry.promotion import CHAMPION, PromotionOutcome, alias, project, written_before
from airflow_mlops_provider.registry.witnesses import check_champion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.registry.client import Connection
    from airflow_mlops_provider.registry.ledger import Ledger


def set_quarantine(
    connection: Connection,
    ledger: Ledger,
    model: str,
    version: int,
    *,
    reason: str,
    idem: str,
    approver: str | None = None,
    lift: bool = False,
) -> PromotionOutcome:
    """Put a version into quarantine, or lift that. Safe to repeat, and to race.

    :raises RegistryError: there is no reason, no such version or no champion; or the version is the champion, which is
        rolled back instead.
    :raises TransientServiceError: MLflow cannot be reached; repeat with the same `idem`.
    """
    what = f"the quarantine of version {version} of model {model!r}"
    if not reason.strip():
        raise RegistryError(f"{what} needs a reason", got=reason, hint="Say in words what is wrong with it.")
    patience = Patience(f"the ledger of {model!r} is too busy")
    while True:
        patience.wait()
        chain = ledger.read()
        history = chain.history
        check_champion(connection, ledger, model, alias(connection, model, CHAMPION), history)
        if (done := written_before(connection, ledger, history, model, idem)) is not None:
            return done
        if not history:
            raise RegistryError(
                f"{what} has no ledger to stand in: the model never had a champion",
                hint=f"Nothing serves that is not promoted. Delete version {version} in MLflow to be rid of it.",
            )
        if (version in quarantine(history)) is not lift:
            already = f"version {version} is {'not ' if lift else ''}in quarantine"
            repaired = project(connection, ledger, model)
            return PromotionOutcome(status="already", entry=history[-1], repaired=repaired, reason=already)
        if not lift:
            _check(connection, model, version, history)
        entry = chain.link(_entry(history, version, reason=reason.strip(), idem=idem, approver=approver, lift=lift))
        if ledger.append(entry):
            project(connection, ledger, model, written=entry)
            now = "may be promoted again" if lift else "is in quarantine"
            return PromotionOutcome(
                status="lifted" if lift else "quarantined",
                entry=entry,
                changed=True,
                reason=f"version {version} {now} (entry {entry.seq}), and version {entry.version} serves on: "
                f"{entry.reason}",
            )


def _check(connection: Connection, model: str, version: int, history: Sequence[LedgerEntry]) -> None:
    head = history[-1]
    same = [entry.version for entry in history if entry.version == version and entry.digest == head.digest]
    if version == head.version or same:
        raise RegistryError(
            f"version {version} of model {model!r} serves as version {head.version}: another has to serve instead",
            hint="Roll back: the champion goes into quarantine by that.",
        )
    try:
        connection.retried(
            f"looking for version {version} of model {model!r}",
            lambda client: client.get_model_version(model, str(version)),
        )
    except NotThereError as error:
        raise RegistryError(
            f"model {model!r} has no version {version} in MLflow at {connection.address}, to put into quarantine"
        ) from error


def _entry(
    history: Sequence[LedgerEntry], version: int, *, reason: str, idem: str, approver: str | None, lift: bool
) -> LedgerEntry:
    head = history[-1]
    what_serves = head.model_dump(
        include={
            "action", "version", "digest", "sha256", "artifact", "judged", "trained_to", "lineage", "order_key",
            "metrics", "gates", "remarks", "reference", "evaluation",
        }
    )  # fmt: skip
    return LedgerEntry(
        **what_serves,
        seq=head.seq + 1,
        idem=idem,
        at=clock(history),
        approver=approver,
        reason=reason,
        quarantined=None if lift else version,
        lifted=version if lift else None,
    )
