"""Quarantine by hand: a version that never served, or serves no longer, shall not be promoted; or may be again.

The entry repeats the champion's, which goes on serving, and names the other version. So a reader that knows nothing of
this sees the same champion, and the quarantine as after a rollback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.exceptions import RegistryError
from airflow_mlops_provider.registry.ledger import LedgerEntry, clock, quarantine
from airflow_mlops_provider.registry.patience import Patience
from airflow_mlops_provider.registry.promotion import PromotionOutcome, written_before

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.registry.champion_store import ChampionStore


def set_quarantine(
    store: ChampionStore,
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
    model = store.model
    what = f"the quarantine of version {version} of model {model!r}"
    if not reason.strip():
        raise RegistryError(f"{what} needs a reason", got=reason, hint="Describe what is wrong with it.")
    patience = Patience(f"the ledger of {model!r} is too busy")
    while True:
        patience.wait()
        chain = store.read()
        history = chain.history
        store.check(history)
        if (done := written_before(store, history, idem)) is not None:
            return done
        if not history:
            raise RegistryError(
                f"{what} cannot be recorded: the model never had a champion, so it has no ledger",
                hint=f"It does not serve unless it is promoted. To remove version {version}, delete it in MLflow.",
            )
        if (version in quarantine(history)) is not lift:
            already = f"version {version} is {'not ' if lift else ''}in quarantine"
            repaired = store.project()
            return PromotionOutcome(status="already", entry=history[-1], repaired=repaired, reason=already)
        if not lift:
            _check(store, version, history)
        entry = chain.link(_entry(history, version, reason=reason.strip(), idem=idem, approver=approver, lift=lift))
        if store.append(entry):
            store.project(written=entry)
            now = "may be promoted again" if lift else "is in quarantine"
            return PromotionOutcome(
                status="lifted" if lift else "quarantined",
                entry=entry,
                changed=True,
                reason=f"version {version} {now} (entry {entry.seq}), and version {entry.version} keeps serving: "
                f"{entry.reason}",
            )


def _check(store: ChampionStore, version: int, history: Sequence[LedgerEntry]) -> None:
    head = history[-1]
    same = [entry.version for entry in history if entry.version == version and entry.digest == head.digest]
    if version == head.version or same:
        raise RegistryError(
            f"version {version} of model {store.model!r} serves as version {head.version}: another has to serve "
            "instead",
            hint="Roll back instead: that puts the champion into quarantine.",
        )
    if not store.holds(version):
        raise RegistryError(f"model {store.model!r} has no version {version} in {store.where} to put into quarantine")


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
