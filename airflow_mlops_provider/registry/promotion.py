"""Promotion: one ledger entry, then the alias made to follow it.

Every decision is taken against the ledger's head. The alias `champion` and the tag `mlops.status` only
show it, and are repaired by whoever looks.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pydantic import Field, JsonValue

from airflow_mlops_provider.as_of import CLOCK_SKEW, as_of_text, in_utc
from airflow_mlops_provider.exceptions import RegistryError
from airflow_mlops_provider.registry.ledger import LedgerEntry, champion_to_beat, clock, quarantined_version
from airflow_mlops_provider.registry.patience import Patience
from airflow_mlops_provider.registry.remarks import champion_of_future
from airflow_mlops_provider.results import ArtifactRef
from airflow_mlops_provider.spec.frozen import Finite, Frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_mlops_provider.registry.chain import Chain
    from airflow_mlops_provider.registry.champion_store import ChampionStore

Refusal = Literal["already", "older", "stale", "quarantined"]


class PromotionRequest(Frozen):
    """A version that passed its gates. Fields as in `LedgerEntry`.

    :param compared_with: `seq` of the entry that `champion_to_beat` named, None when there was none.
    :param allow_older: promote although the champion has newer data.
    :param lift_quarantine: promote although a rollback put the version in quarantine.
    """

    model: str
    idem: str
    version: int = Field(ge=1)
    digest: str
    sha256: str
    artifact: ArtifactRef
    judged: ArtifactRef | None = None
    trained_to: datetime | None = None
    lineage: str
    order_key: datetime
    compared_with: int | None = None
    metrics: dict[str, Finite] = Field(default_factory=dict)
    gates: list[JsonValue] = Field(default_factory=list)
    allow_older: bool = False
    lift_quarantine: bool = False
    approver: str | None = None
    reason: str = ""
    remarks: list[str] = Field(default_factory=list)
    reference: ArtifactRef | None = None
    evaluation: ArtifactRef | None = None
    verdicts: str | None = None


class PromotionOutcome(Frozen):
    """What came of it.

    :param status: `promoted` or `rolled_back`; `already` (this effect's entry exists, or the version is champion);
        `older`; `stale` (gate again against the new champion, or: not the champion that was to be rolled back);
        `quarantined`, which an entry by hand asks for; `lifted`, when one ends it.
    :param entry: this effect's entry, else the head that decided.
    :param changed: this very call wrote the ledger. A retry after a crash finds `entry.idem` equal to
        its own instead.
    :param repaired: the alias did not show the head and was set.
    :param reason: for people.
    """

    status: Literal["promoted", "rolled_back", "already", "older", "stale", "quarantined", "lifted"]
    entry: LedgerEntry | None = None
    changed: bool = False
    repaired: bool = False
    reason: str


class Reconciliation(Frozen):
    """Whether the alias shows the ledger's head."""

    model: str
    champion: int | None = Field(description="Version that the ledger names.")
    alias: int | None = Field(description="Version that the alias named at that time.")
    agrees: bool
    repaired: bool = False
    reason: str
    remarks: list[str] = Field(default_factory=list, description="What a person should look at in the ledger.")


def refusal(history: Sequence[LedgerEntry], request: PromotionRequest) -> tuple[Refusal, str] | None:
    """Decide against the head; None means promote.

    :raises RegistryError: the version's data time is still to come, or the champion's: nobody can be newer.
    """
    check_not_of_future(request.model, request.version, request.order_key)
    if not history:
        if request.compared_with is None:
            return None
        return "stale", f"compared with entry {request.compared_with}, and the ledger is empty"
    head = history[-1]
    if head.version == request.version:
        return "already", f"version {head.version} is the champion (entry {head.seq})"
    if (
        barred := quarantined_version(history, request.version, request.digest)
    ) is not None and not request.lift_quarantine:
        same = "" if barred == request.version else f" (the same model as version {barred})"
        return "quarantined", f"version {request.version}{same} is in quarantine"
    if not request.allow_older and (future := champion_of_future(history, datetime.now(UTC))) is not None:
        raise RegistryError(f"version {request.version} of model {request.model!r} is not promoted: {future}")
    if head.order_key > request.order_key and not request.allow_older:
        return "older", (
            f"the champion, version {head.version}, has data up to {head.order_key.isoformat()}; "
            f"version {request.version} only up to {request.order_key.isoformat()}"
        )
    beaten = champion_to_beat(
        history, as_of=request.order_key, lineage=request.lineage, allow_older=request.allow_older
    )
    if (expected := beaten.seq if beaten else None) != request.compared_with:
        return "stale", f"compared with entry {request.compared_with}, now to be compared with {expected}"
    return None


def check_not_of_future(model: str, version: int, as_of: datetime) -> None:
    """Refuse a version whose data time is still to come.

    :raises RegistryError: it was trained with an `as_of` later than now.
    """
    now = datetime.now(UTC)
    if in_utc(as_of) - now > CLOCK_SKEW:
        raise RegistryError(
            f"version {version} of model {model!r} was trained with an as_of in the future",
            got=as_of_text(as_of),
            expected=f"at most now, {as_of_text(now)}",
            hint="As champion, it would block every later training. Train again with the right as_of.",
        )


def promote(store: ChampionStore, request: PromotionRequest) -> PromotionOutcome:
    """Make the version champion, or say why not. Safe to repeat, and to race.

    :raises RegistryError: MLflow refused, or the entry is too long.
    :raises TransientServiceError: MLflow cannot be reached; repeat with the same `idem`.
    """
    if request.model != store.model:
        raise RegistryError(
            f"version {request.version} of model {request.model!r} cannot be promoted in the store of {store.model!r}"
        )
    patience = Patience(f"the ledger of {request.model!r} is too busy")
    while True:
        patience.wait()
        chain = store.read()
        history = chain.history
        store.check(history)
        if (done := written_before(store, history, request.idem)) is not None:
            return done
        if (refused := refusal(history, request)) is not None:
            repaired = bool(history) and store.project()
            head = history[-1] if history else None
            return PromotionOutcome(status=refused[0], entry=head, repaired=repaired, reason=refused[1])
        entry = chain.link(promotion_entry(history, request))
        if store.append(entry):
            store.project(written=entry)
            return PromotionOutcome(
                status="promoted",
                entry=entry,
                changed=True,
                reason=f"version {entry.version} is the champion (entry {entry.seq})"
                + (f", after version {history[-1].version}" if history else ", the first"),
            )


def written_before(store: ChampionStore, history: Sequence[LedgerEntry], idem: str) -> PromotionOutcome | None:
    """Return what came of an effect whose entry is there already, from before a crash; the alias is made to follow."""
    mine = [entry for entry in history if entry.idem == idem]
    if not mine:
        return None
    repaired = store.project()
    return PromotionOutcome(
        status="already",
        entry=mine[0],
        repaired=repaired,
        reason=f"entry {mine[0].seq} was written by this task before; the champion is version "
        f"{history[-1].version} (entry {history[-1].seq})",
    )


def promotion_entry(history: Sequence[LedgerEntry], request: PromotionRequest) -> LedgerEntry:
    """Return the entry that makes a version champion."""
    return LedgerEntry(
        **request.model_dump(exclude={"model", "allow_older", "lift_quarantine"}),
        seq=len(history) + 1,
        at=clock(history),
        lifted=quarantined_version(history, request.version, request.digest),
    )


def reconcile(store: ChampionStore, notes: Callable[[Chain], list[str]], *, repair: bool = True) -> Reconciliation:
    """Compare what is shown with the last entry; make them agree when `repair`.

    :param notes: returns what a person should look at in the ledger.
    """
    chain, model = store.read(), store.model
    history, noted, found = chain.history, notes(chain), store.shown()
    store.check(history)
    wanted = history[-1].version if history else None
    if wanted is None:
        reason = (
            "no champion yet"
            if found is None
            else f"the alias names version {found}, which the ledger never promoted; it is left unchanged"
        )
        return Reconciliation(
            model=model, champion=None, alias=found, agrees=found is None, reason=reason, remarks=noted
        )
    if found == wanted:
        return Reconciliation(
            model=model,
            champion=wanted,
            alias=found,
            agrees=True,
            reason=f"version {wanted} is the champion",
            remarks=noted,
        )
    reason = f"the alias named {'no version' if found is None else f'version {found}'}, the ledger {wanted}"
    repaired = repair and store.project()
    return Reconciliation(
        model=model, champion=wanted, alias=found, agrees=False, repaired=repaired, reason=reason, remarks=noted
    )
