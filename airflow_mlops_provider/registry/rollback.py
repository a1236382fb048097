"""Rolling back: one more ledger entry, by which an earlier champion serves again. Nothing is ever taken out."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal

from airflow_mlops_provider.as_of import in_utc
from airflow_mlops_provider.exceptions import RegistryError
from airflow_mlops_provider.registry.ledger import LedgerEntry, clock, former_champion, quarantined_version, served_at
from airflow_mlops_provider.registry.patience import Patience
from airflow_mlops_provider.registry.promotion import PromotionOutcome, written_before

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.registry.champion_store import ChampionStore

#: The champion before this one, a version, or what served at a moment of wall time.
Target = Literal["previous"] | int | datetime

_MOST_SHOWN = 20


def roll_back(
    store: ChampionStore,
    *,
    to: Target,
    reason: str,
    idem: str,
    approver: str | None = None,
    expected_head: int | None = None,
) -> PromotionOutcome:
    """Make an earlier champion serve again and put this one into quarantine. Safe to repeat, and to race.

    Only the champion that was there at first is rolled back: when another entry is quicker, the outcome is `stale`
    and nothing is written, for whoever wanted this one gone has nothing against the next.

    :raises RegistryError: without a reason; or there is nothing to go back to, or it may not or need not be gone back
        to.
    :raises TransientServiceError: MLflow cannot be reached; repeat with the same `idem`.
    """
    model = store.model
    if not reason.strip():
        raise RegistryError(
            f"rolling back model {model!r} needs a reason", got=reason, hint="Describe what is wrong with it."
        )
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
                f"model {model!r} cannot be rolled back: it never had a champion",
                got=f"to {_words(to)}, and an empty ledger in {store.where}",
            )
        head = history[-1]
        expected_head = expected_head or head.seq
        if head.seq != expected_head:
            return _stale(store, history, expected_head)
        target = resolve(history, model, to)
        _check_registered(store, target)
        entry = chain.link(rollback_entry(history, target, reason=reason.strip(), idem=idem, approver=approver))
        if store.append(entry):
            store.project(written=entry)
            return PromotionOutcome(
                status="rolled_back",
                entry=entry,
                changed=True,
                reason=f"version {entry.version} is the champion again (entry {entry.seq}), after version "
                f"{head.version}, which is in quarantine: {entry.reason}",
            )


def resolve(history: Sequence[LedgerEntry], model: str, to: Target) -> LedgerEntry:
    """Return the entry to go back to.

    :param history: at least one entry.
    :raises RegistryError: names what was requested and what is there.
    """
    head, what = history[-1], f"model {model!r} cannot be rolled back to {_words(to)}"
    if isinstance(to, datetime):
        found = served_at(history, in_utc(to))
        missing = f"the first champion has served since {history[0].at.isoformat(timespec='seconds')}"
    elif to == "previous":
        found = former_champion(history)
        missing = f"no champion is left before version {head.version}"
    else:
        found = next((entry for entry in reversed(history) if entry.version == to), None)
        missing = "that version was never champion"
    if found is None:
        raise RegistryError(f"{what}: {missing}", hint=_what_served(history))
    if found.version == head.version:
        raise RegistryError(
            f"{what}: version {head.version} is the champion already (entry {head.seq})",
            hint=_what_served(history),
        )
    if found.digest == head.digest:
        raise RegistryError(
            f"{what}: version {found.version} is the same model that serves as version {head.version}",
            hint=_what_served(history),
        )
    if (barred := quarantined_version(history, found.version, found.digest)) is not None:
        same = "" if barred == found.version else f" (the same model as version {barred})"
        raise RegistryError(
            f"{what}: version {found.version}{same} is in quarantine",
            hint=f"{_what_served(history)} To serve it anyway, promote it with lift_quarantine.",
        )
    return found


def _stale(store: ChampionStore, history: Sequence[LedgerEntry], expected: int) -> PromotionOutcome:
    head = history[-1]
    return PromotionOutcome(
        status="stale",
        entry=head,
        repaired=store.project(),
        reason=f"the champion changed in the meantime: entry {expected} was to be rolled back, but version "
        f"{head.version} is champion by entry {head.seq}",
    )


def _check_registered(store: ChampionStore, target: LedgerEntry) -> None:
    """Refuse a version that is no longer registered, before the ledger names it."""
    if not store.holds(target.version):
        raise RegistryError(
            f"model {store.model!r} cannot be rolled back to version {target.version} (entry {target.seq}): "
            f"it is gone from {store.where}",
            hint="Roll back to another version by its number.",
        )


def rollback_entry(
    history: Sequence[LedgerEntry], target: LedgerEntry, *, reason: str, idem: str, approver: str | None
) -> LedgerEntry:
    """Return the entry by which an earlier champion serves again, and this one is in quarantine."""
    head, at = history[-1], clock(history)
    what_it_is = target.model_dump(
        include={
            "version", "digest", "sha256", "artifact", "judged", "trained_to", "lineage", "metrics", "remarks",
            "reference", "evaluation",
        }
    )  # fmt: skip
    return LedgerEntry(
        **what_it_is,
        seq=len(history) + 1,
        idem=idem,
        action="rollback",
        order_key=_data_seen(history, target, at),
        at=at,
        approver=approver,
        reason=reason,
        quarantined=head.version,
    )


def _data_seen(history: Sequence[LedgerEntry], target: LedgerEntry, at: datetime) -> datetime:
    """Return the data time of a rollback: what was seen once stays seen, so an older challenger is older than this too.

    But no data of the future was ever seen: a mistyped `as_of` ends with the rollback, else nothing would be newer.
    """
    for known in ((history[-1], target), history):
        if seen := [entry.order_key for entry in known if not entry.is_of_future(at)]:
            return max(seen)
    return min(target.at, at)


def rollback_targets(history: Sequence[LedgerEntry]) -> list[LedgerEntry]:
    """Return the latest entry of each version that could be gone back to, newest first."""
    head = history[-1]
    usable = {
        entry.version: entry
        for entry in history
        if entry.digest != head.digest and quarantined_version(history, entry.version, entry.digest) is None
    }
    return list(reversed(usable.values()))


def _words(to: Target) -> str:
    if isinstance(to, datetime):
        return f"what served at {in_utc(to).isoformat()}"
    return "the previous champion" if to == "previous" else f"version {to}"


def _what_served(history: Sequence[LedgerEntry]) -> str:
    """Return in a sentence which versions could be gone back to, newest first."""
    shown = [
        f"version {entry.version} (entry {entry.seq}, {entry.at.isoformat(timespec='minutes')})"
        for entry in rollback_targets(history)[:_MOST_SHOWN]
    ]
    return f"Available: {', '.join(shown)}." if shown else "Every other version that has served is in quarantine."
