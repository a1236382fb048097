"""A model's ledger as a timeline: which version served from when to when, why, and who decided so."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from airflow_mlops_provider.as_of import in_utc
from airflow_mlops_provider.registry.ledger import quarantined_version
from airflow_mlops_provider.spec.frozen import Finite, Frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.registry import LedgerEntry


Action = Literal["promote", "rollback", "quarantine", "lift"]


class StoredVerdict(Frozen):
    """The verdict of one gate, in words."""

    name: str
    passed: bool
    got: str
    expected: str


class Tenure(Frozen):
    """One ledger entry, and how long it held.

    :param action: what the entry was written for; one that puts another version into quarantine, or lifts that, repeats
        the champion.
    :param promoted_at: wall time from which on the version served.
    :param until: wall time of the next entry; None of the champion.
    :param as_of: data time of the entry. A rollback carries the larger of its own and what it replaced.
    :param trained_to: last row that the version saw, data time; None when nobody knows.
    :param quarantined: version that this entry put into quarantine.
    :param in_quarantine: the version may not be promoted today.
    """

    seq: int
    version: int
    action: Action
    promoted_at: datetime
    until: datetime | None
    as_of: datetime
    trained_to: datetime | None = None
    reason: str
    approver: str | None
    metrics: dict[str, Finite] = Field(default_factory=dict)
    gates: list[StoredVerdict] = Field(default_factory=list)
    compared_with: int | None = None
    quarantined: int | None = None
    lifted: int | None = None
    in_quarantine: bool = False


def timeline(
    history: Sequence[LedgerEntry], *, served_at: datetime | None = None, as_of: datetime | None = None
) -> list[Tenure]:
    """Return a ledger as a timeline, oldest first.

    :param served_at: a wall time: only what served then, which is one tenure, or none before the first.
    :param as_of: a data time: only what is of that time or earlier, so that the last is whom a training of that
        `as_of` would have met.
    """
    ends: list[datetime | None] = [*(entry.at for entry in history[1:]), None]
    before = [None, *history]
    tenures = [_tenure(history, entry, until, last) for entry, until, last in zip(history, ends, before, strict=False)]
    if as_of is not None:
        tenures = [tenure for tenure in tenures if tenure.as_of <= in_utc(as_of)]
    if served_at is not None:
        # By position: of entries in the same moment the last holds.
        tenures = [tenure for tenure in tenures if tenure.promoted_at <= in_utc(served_at)][-1:]
    return tenures


def verdicts(entry: LedgerEntry) -> list[StoredVerdict]:
    """Return the gates' verdicts before an entry, as far as the ledger keeps them: `[name, passed, got, expected]`."""
    found = []
    for gate in entry.gates:
        if isinstance(gate, list) and len(gate) == 4:
            name, passed, got, expected = gate
            found.append(StoredVerdict(name=str(name), passed=bool(passed), got=str(got), expected=str(expected)))
    return found


def _action(entry: LedgerEntry, before: LedgerEntry | None) -> Action:
    if before is None or before.version != entry.version:
        return entry.action
    return "lift" if entry.quarantined is None else "quarantine"


def _tenure(
    history: Sequence[LedgerEntry], entry: LedgerEntry, until: datetime | None, before: LedgerEntry | None
) -> Tenure:
    return Tenure(
        **entry.model_dump(
            include={
                "seq", "version", "trained_to", "reason", "approver", "metrics", "compared_with", "quarantined",
                "lifted",
            }
        ),
        action=_action(entry, before),
        promoted_at=entry.at,
        until=until,
        as_of=entry.order_key,
        gates=verdicts(entry),
        in_quarantine=quarantined_version(history, entry.version, entry.digest) is not None,
    )  # fmt: skip
