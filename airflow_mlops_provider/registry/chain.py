"""The ledger's entries as a chain: each holds the digest of the one before, so that a rewritten past is seen.

Whoever may write MLflow's experiment, or its database, may write values beside ours. What follows from entry to entry
counts; what does not is damage, or, when it comes after the first place that is free, a stray value that is ignored.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from airflow_mlops_provider.exceptions import RegistryError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from airflow_mlops_provider.registry.errors import DamagedError
    from airflow_mlops_provider.registry.ledger import LedgerEntry
    from airflow_mlops_provider.registry.write_once import WriteOnceLog

PREFIX = "seq-"
#: In ASCII, without a zero before it: one number has one key.
_KEY = re.compile(r"seq-([1-9][0-9]{0,8})")


class Chain(NamedTuple):
    """The ledger as it was read.

    :param history: every entry, oldest first.
    :param strays: keys beside those of the entries, which do not count.
    :param place: `seq` of the entry to come.
    :param after: and of the one after it, which is further away when stray values take the places between.
    :param digest: what the entry to come holds of the one before.
    """

    history: list[LedgerEntry]
    strays: list[str]
    place: int
    after: int
    digest: str

    def link(self, entry: LedgerEntry) -> LedgerEntry:
        """Return an entry in its place after the last one."""
        following = None if self.after == self.place + 1 else self.after
        return entry.model_copy(update={"seq": self.place, "previous": self.digest, "next_seq": following})


def digest_of(text: str) -> str:
    """Return what the next entry holds of a stored one: of exactly the stored text."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


class _Past:
    """What the entries so far say, for the one that comes after them."""

    def __init__(self, root: str) -> None:
        self.history: list[LedgerEntry] = []
        #: Of what an entry may follow: the ledger's name, then each stored entry.
        self.digests = [root]
        self.chained = False
        self._newest: datetime | None = None
        self._effects: set[str] = set()
        self._models: dict[int, str] = {}
        self._barred: set[int] = set()

    def add(self, entry: LedgerEntry, text: str) -> None:
        """Take an entry in."""
        if not entry.is_of_future():
            self._newest = max(self._newest or entry.order_key, entry.order_key)
        elif entry.action == "rollback":
            # An older release carried on the mistyped as_of of what was rolled back.
            entry = entry.model_copy(update={"order_key": self._newest or entry.at})
        self.history.append(entry)
        self.digests.append(digest_of(text))
        self.chained |= entry.previous is not None
        self._effects.add(entry.idem)
        self._models[entry.version] = entry.digest
        self._barred.discard(entry.lifted or 0)
        if entry.quarantined is not None:
            self._barred.add(entry.quarantined)

    def wrong_with(self, entry: LedgerEntry) -> str | None:
        """Return why an entry cannot come next, None when it can."""
        seq, before = entry.seq, self.history[-1] if self.history else None
        if entry.previous is None:
            if self.chained:
                return f"entry {seq} does not say which entry it follows, as those before it do"
        elif entry.previous != self.digests[-1]:
            name = "the ledger's beginning" if before is None else f"entry {before.seq}"
            return f"entry {seq} does not follow from {name}: one of them was changed, or written by somebody else"
        elif before is not None and entry.at < before.at:
            return f"entry {seq} says that it was written before entry {before.seq}"
        if entry.next_seq is not None and entry.next_seq <= seq:
            return f"entry {seq} says that entry {entry.next_seq} comes after it"
        if entry.idem in self._effects:
            return f"entry {seq} was written by a task that already has an entry"
        return self._contradicted(entry)

    def _contradicted(self, entry: LedgerEntry) -> str | None:
        """Return what an entry says of versions that the entries before it do not."""
        seq, digest = entry.seq, self._models.get(entry.version)
        if entry.action == "rollback" and digest is None:
            return f"entry {seq} rolls back to version {entry.version}, which no earlier entry names"
        if digest is not None and digest != entry.digest:
            return f"entry {seq} says that version {entry.version} is a different model than an earlier entry says"
        # By hand a version may be barred that never served: such an entry repeats the champion's.
        by_hand = bool(self.history) and self.history[-1].version == entry.version
        if entry.quarantined is not None and entry.quarantined not in self._models and not by_hand:
            return f"entry {seq} puts version {entry.quarantined} into quarantine, which no earlier entry names"
        if entry.lifted is not None and entry.lifted not in self._barred:
            return f"entry {seq} lifts the quarantine of version {entry.lifted}, which is not in quarantine"
        return None

    def is_forerunner_lost(self, entry: LedgerEntry) -> bool:
        """Return whether an entry beyond the first free place follows something that is gone.

        It does not when it is the copy of an entry, or hangs on one that has its place before the gap.
        """
        if entry.nonce in {one.nonce for one in self.history}:
            return False
        if entry.previous is None:
            return not self.chained
        return entry.previous not in self.digests


def follow(values: Mapping[str, str], log: WriteOnceLog, kind: type[LedgerEntry]) -> Chain:
    """Return the chain in what the log of a ledger holds.

    :raises RegistryError: an entry cannot be read, or does not follow from the one before it.
    """
    found = _numbered(values)
    # The first entry follows from the ledger's name, so that it cannot be that of another model.
    past, place = _Past(digest_of(log.name)), 1
    while (text := found.get(place)) is not None:
        entry = log.parsed(f"entry {place}", text, kind, seq=place)
        if (wrong := past.wrong_with(entry)) is not None:
            raise _torn(log, place, wrong)
        past.add(entry, text)
        place = entry.next_seq or place + 1
    for number in sorted(number for number in found if number > place):
        if _is_entry_left_behind(found[number], past, log, kind):
            raise _torn(log, number, f"entry {place} is missing, and entry {number} comes after it")
    after = place + 1
    while after in found:
        after += 1
    strays = log.strays(values, PREFIX, {f"{PREFIX}{entry.seq}" for entry in past.history})
    return Chain(past.history, strays, place, after, past.digests[-1])


def readable(values: Mapping[str, str], log: WriteOnceLog, kind: type[LedgerEntry]) -> list[LedgerEntry]:
    """Return every entry that can be read, by its place, also where one does not follow from another."""
    found = []
    for number, text in sorted(_numbered(values).items()):
        with suppress(RegistryError):
            found.append(log.parsed(f"entry {number}", text, kind, seq=number))
    return found


def _numbered(values: Mapping[str, str]) -> dict[int, str]:
    return {int(match[1]): text for key, text in values.items() if (match := _KEY.fullmatch(key)) is not None}


def _torn(log: WriteOnceLog, number: int, wrong: str) -> DamagedError:
    return log.damaged(
        wrong,
        hint=f"Restore MLflow's database from before that; or, if somebody else wrote seq-{number}, delete that "
        f"parameter of {log.run_words()} in the database. Nothing is promoted until then.",
    )


def _is_entry_left_behind(text: str, past: _Past, log: WriteOnceLog, kind: type[LedgerEntry]) -> bool:
    try:
        return past.is_forerunner_lost(log.parsed("value", text, kind, seq=1))
    except RegistryError:
        return False
