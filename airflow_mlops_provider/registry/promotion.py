"""Promotion: one ledger entry, then the alias made to follow it.

Every decision is taken against the ledger's head. The alias `champion` and the tag `mlops.status` only
show it, and are repaired by whoever looks.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, JsonValue

from airflow_mlops_provider.as_of import CLOCK_SKEW, as_of_text, in_utc
from airflow_mlops_provider.exceptions import RegistryError, TransientServiceError
from airflow_mlops_provider.failpoints import failpoint
from airflow_mlops_provider.registry.errors import NotThereError
from airflow_mlops_provider.registry.ledger import (
    Ledger,
    LedgerEntry,
    champion_for,
    clock,
    quarantine,
    quarantined_version,
)
from airflow_mlops_provider.registry.patience import Patience
from airflow_mlops_provider.registry.remarks import champion_of_future, remarks
from airflow_mlops_provider.registry.witnesses import STATUS_TAG, check_champion, check_same_model
from airflow_mlops_provider.results import ArtifactRef
from airflow_mlops_provider.spec.frozen import Finite, Frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.registry.client import Connection

CHAMPION = "champion"
_ARCHIVED, _QUARANTINED = "archived", "quarantined"

Refusal = Literal["already", "older", "stale", "quarantined"]


class PromotionRequest(Frozen):
    """A version that passed its gates. Fields as in `LedgerEntry`.

    :param compared_with: `seq` of the entry that `champion_for` named, None when there was none.
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
    alias: int | None = Field(description="Version that the alias named when we looked.")
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
    beaten = champion_for(history, as_of=request.order_key, lineage=request.lineage, allow_older=request.allow_older)
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
            f"version {version} of model {model!r} was trained with an as_of that is still to come",
            got=as_of_text(as_of),
            expected=f"at most now, {as_of_text(now)}",
            hint="Once champion, no later training would be newer. Train again with the right as_of.",
        )


def promote(connection: Connection, ledger: Ledger, request: PromotionRequest) -> PromotionOutcome:
    """Make the version champion, or say why not. Safe to repeat, and to race.

    :raises RegistryError: MLflow refused, or the entry is too long.
    :raises TransientServiceError: MLflow cannot be reached; repeat with the same `idem`.
    """
    patience = Patience(f"the ledger of {request.model!r} is too busy")
    while True:
        patience.wait()
        chain = ledger.read()
        history = chain.history
        check_champion(connection, ledger, request.model, alias(connection, request.model, CHAMPION), history)
        if (done := written_before(connection, ledger, history, request.model, request.idem)) is not None:
            return done
        if (refused := refusal(history, request)) is not None:
            repaired = bool(history) and project(connection, ledger, request.model)
            head = history[-1] if history else None
            return PromotionOutcome(status=refused[0], entry=head, repaired=repaired, reason=refused[1])
        entry = chain.link(promotion_entry(history, request))
        if ledger.append(entry):
            project(connection, ledger, request.model, written=entry)
            return PromotionOutcome(
                status="promoted",
                entry=entry,
                changed=True,
                reason=f"version {entry.version} is the champion (entry {entry.seq})"
                + (f", after version {history[-1].version}" if history else ", the first"),
            )


def written_before(
    connection: Connection, ledger: Ledger, history: Sequence[LedgerEntry], model: str, idem: str
) -> PromotionOutcome | None:
    """Return what came of an effect whose entry is there already, from before a crash; the alias is made to follow."""
    mine = [entry for entry in history if entry.idem == idem]
    if not mine:
        return None
    repaired = project(connection, ledger, model)
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


def project(connection: Connection, ledger: Ledger, model: str, *, written: LedgerEntry | None = None) -> bool:
    """Make alias and status tags show the ledger's head; return whether the alias had to be set.

    Whoever sets the alias reads the head again afterwards, so the last writer of all sets the last head.

    :param written: the entry that the caller has just written; of any other nobody knows who wrote it.
    :raises RegistryError: the version that the ledger names is gone from the registry, or is another model there.
    """
    was_set, patience = False, Patience(f"the alias of {model!r} does not settle")
    while True:
        patience.wait()
        history = ledger.history()
        head = history[-1]
        if alias(connection, model, CHAMPION) != head.version:
            if head != written:
                check_same_model(connection, ledger, model, head)
            patience.note(_set_champion(connection, model, head))
            was_set = True
        _tag(connection, model, history)
        if ledger.history()[-1].seq == head.seq and alias(connection, model, CHAMPION) == head.version:
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


def reconcile(connection: Connection, ledger: Ledger, model: str, *, repair: bool = True) -> Reconciliation:
    """Compare alias and head; make them agree when `repair`."""
    chain = ledger.read()
    history, noted = chain.history, remarks(ledger, chain)
    found = alias(connection, model, CHAMPION)
    check_champion(connection, ledger, model, found, history)
    wanted = history[-1].version if history else None
    if wanted is None:
        reason = (
            "no champion yet"
            if found is None
            else f"the alias names version {found}, which was never promoted by the ledger; left as it is"
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
    repaired = repair and project(connection, ledger, model)
    return Reconciliation(
        model=model, champion=wanted, alias=found, agrees=False, repaired=repaired, reason=reason, remarks=noted
    )


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
