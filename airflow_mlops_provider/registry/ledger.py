"""The ledger: who became champion of a model, when and why. Truth, of which the alias is a projection.

Each event is one value, `seq-<n>`, of a log whose values are written once; each names the one before (see `chain`).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import uuid4

from pydantic import ConfigDict, Field, JsonValue, field_validator, model_validator

from airflow_mlops_provider.as_of import CLOCK_SKEW, in_utc
from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.exceptions import RegistryError
from airflow_mlops_provider.failpoints import failpoint
from airflow_mlops_provider.registry.chain import PREFIX, Chain, follow, readable
from airflow_mlops_provider.registry.write_once import MAX_VALUE, LogKind, WriteOnceLog
from airflow_mlops_provider.results import ArtifactRef
from airflow_mlops_provider.spec.frozen import Finite

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_mlops_provider.registry.client import Connection

#: The log that holds a model's champions, and people's answers about its challengers.
LEDGER = LogKind("ledger", title="the ledger", without="nothing is promoted")
#: Positions and versions, as they are written: a number, not a text or a truth value that reads like one.
Number = Annotated[int, Field(ge=1, le=10**15, strict=True)]


class LedgerEntry(Document):
    """One event in a model's life.

    :param seq: position, from 1 on.
    :param previous: digest of the stored text of the entry before, of the first that of the ledger's name; None in
        entries from before there was a chain.
    :param next_seq: position of the entry after, when it is not the next one: values of others lie between.
    :param idem: idempotency key of the effect that wrote it: one effect writes one entry.
    :param nonce: makes every written value different, so that of equal writers only one has won.
    :param digest: canonical digest of the model: what it is.
    :param sha256: of the stored model file: which bytes it is.
    :param judged: the model that the gates judged, which never saw the holdout; None when that serves itself.
    :param trained_to: last row that the serving model saw, data time; None without a timestamp, or of an older release.
    :param lineage: the training that made the version; a repeated training has the same.
    :param order_key: data time (`as_of`). A rollback carries the larger of the head's and its own.
    :param at: wall time of the event, never before that of the entry before.
    :param compared_with: the entry whose version the challenger was gated against.
    :param remarks: what looked odd about it though its gates passed, such as a metric too good to be true.
    :param reference: a sample of the model's data, with its predictions for held-out rows: drift is measured from it.
    :param evaluation: everything that was measured of it on its holdout.
    :param verdicts: sha256 of the gates' verdicts on it, as they are stored.
    :param quarantined: a version that may not be promoted from here on.
    :param lifted: a version whose quarantine ends here.
    """

    # An older release reads what a newer one wrote.
    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    seq: Number
    previous: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    next_seq: Number | None = None
    idem: str
    nonce: str = Field(default_factory=lambda: uuid4().hex)
    action: Literal["promote", "rollback"] = "promote"
    version: Number
    digest: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    artifact: ArtifactRef
    judged: ArtifactRef | None = None
    trained_to: datetime | None = None
    lineage: str
    order_key: datetime
    at: datetime
    compared_with: Number | None = None
    metrics: dict[str, Finite] = Field(default_factory=dict)
    gates: list[JsonValue] = Field(default_factory=list)
    approver: str | None = None
    reason: str = ""
    remarks: list[str] = Field(default_factory=list)
    reference: ArtifactRef | None = None
    evaluation: ArtifactRef | None = None
    verdicts: str | None = None
    quarantined: Number | None = None
    lifted: Number | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_sha256(cls, fields: Any) -> Any:
        """Fill in what `render` left out for want of room."""
        if isinstance(fields, dict) and "sha256" not in fields and isinstance(fields.get("artifact"), dict):
            return {**fields, "sha256": fields["artifact"].get("sha256")}
        return fields

    @field_validator("order_key", "at", "trained_to")
    @classmethod
    def _in_utc(cls, moment: datetime | None) -> datetime | None:
        if moment is None:
            return None
        if moment.tzinfo is None:
            raise ValueError("a time zone is needed")
        try:
            return in_utc(moment)
        except OverflowError as error:
            raise ValueError(f"{moment} is not a moment in UTC") from error

    @model_validator(mode="after")
    def _consistent(self) -> LedgerEntry:
        if self.sha256 != self.artifact.sha256:
            raise ValueError(f"sha256 is not the artifact's: {self.sha256} and {self.artifact.sha256}")
        return self

    def is_of_future(self, now: datetime | None = None) -> bool:
        """Return whether its data time is later than the moment of its promotion, which cannot be.

        :param now: the present, which counts when the entry says that it was written later.
        """
        written = self.at if now is None else min(self.at, now)
        return self.order_key - written > CLOCK_SKEW

    def render(self) -> str:
        """Return the stored value.

        :raises RegistryError: longer than MLflow keeps.
        """
        fields = self.stored(release=True, exclude={"seq"}, exclude_none=True)
        text = json.dumps(fields, separators=(",", ":"), allow_nan=False)
        if len(text) > MAX_VALUE:
            # Drop what the entry can do without: together that takes more room than the digest of the entry before.
            fields = self.stored(exclude={"seq", "sha256"}, exclude_none=True)
            for name in ("action", "metrics", "gates", "reason", "remarks"):
                if getattr(self, name) in ("promote", {}, [], ""):
                    fields.pop(name, None)
            text = json.dumps(fields, separators=(",", ":"), allow_nan=False)
        if len(text) > MAX_VALUE:
            sizes = {name: len(json.dumps(value)) for name, value in fields.items()}
            largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
            raise RegistryError(
                f"the ledger entry for version {self.version} is too long",
                got=f"{len(text)} characters, most in {', '.join(largest)}",
                expected=f"at most {MAX_VALUE}",
                hint="Store the primary metrics and a compact list of gates; the rest belongs in the run.",
            )
        return text


def champion_to_beat(
    history: Sequence[LedgerEntry], *, as_of: datetime, lineage: str, allow_older: bool = False
) -> LedgerEntry | None:
    """Return the entry whose version a challenger is compared with.

    The latest of `comparable_champions` that is not of the challenger's own lineage, so that a repeated run compares
    with what it compared with the first time.
    """
    found = comparable_champions(history, as_of=as_of, allow_older=allow_older)
    return next((entry for entry in found if entry.lineage != lineage), None)


def comparable_champions(
    history: Sequence[LedgerEntry], *, as_of: datetime, allow_older: bool = False
) -> list[LedgerEntry]:
    """Return the entries that a challenger of any lineage may be compared with: at most two, the later first.

    Walks back from the head and skips champions trained on data newer than the challenger's holdout (unless
    `allow_older`), and versions in quarantine. Of one lineage the latest will do; a challenger is of one lineage, so
    two suffice.
    """
    barred = quarantine(history)
    found: list[LedgerEntry] = []
    for entry in reversed(history):
        newer = entry.order_key > as_of and not allow_older
        known = any(entry.lineage == other.lineage for other in found)
        if not newer and not known and entry.version not in barred:
            found.append(entry)
    return found[:2]


def quarantine(history: Sequence[LedgerEntry]) -> set[int]:
    """Return the versions that may not be promoted."""
    barred: set[int] = set()
    for entry in history:
        barred.discard(entry.lifted or 0)
        if entry.quarantined is not None:
            barred.add(entry.quarantined)
    return barred


def quarantined_version(history: Sequence[LedgerEntry], version: int, digest: str) -> int | None:
    """Return the version in quarantine that this is: the same model under another number is as bad."""
    barred = quarantine(history)
    if version in barred:
        return version
    same = [entry.version for entry in history if entry.version in barred and entry.digest == digest]
    return same[-1] if same else None


def made_champion(history: Sequence[LedgerEntry]) -> LedgerEntry:
    """Return the entry by which the champion serves: one that bars another version, or lifts that, repeats it.

    :param history: at least one entry.
    """
    made = history[-1]
    for entry in reversed(history):
        if entry.version != made.version:
            break
        made = entry
    return made


def served_at(history: Sequence[LedgerEntry], moment: datetime) -> LedgerEntry | None:
    """Return the entry whose version was champion at a wall time; None before the first."""
    before = [entry for entry in history if entry.at <= moment]
    return before[-1] if before else None


def former_champion(history: Sequence[LedgerEntry]) -> LedgerEntry | None:
    """Return the entry of the champion before this one: another model, not in quarantine.

    After a rollback that is one from before the champion's own promotion, so that each further rollback goes further
    back, never to what was left behind.
    """
    return next(former_champions(history), None)


def former_champions(history: Sequence[LedgerEntry]) -> Iterator[LedgerEntry]:
    """Yield the entries of the champions before this one, each another model, the latest first."""
    if not history:
        return
    head = origin = history[-1]
    while origin.action == "rollback" and (
        earlier := [entry for entry in history if entry.seq < origin.seq and entry.version == head.version]
    ):
        origin = earlier[-1]
    versions, digests = {head.version}, {head.digest}
    for entry in reversed([entry for entry in history if entry.seq < origin.seq]):
        same = entry.version in versions or entry.digest in digests
        if not same and quarantined_version(history, entry.version, entry.digest) is None:
            versions.add(entry.version)
            digests.add(entry.digest)
            yield entry


def clock(history: Sequence[LedgerEntry]) -> datetime:
    """Return the `at` of an entry that is written now: never before that of the last, also when a clock is set back."""
    now = datetime.now(UTC)
    return max(now, history[-1].at) if history else now


class Ledger:
    """The entries of one registered model."""

    def __init__(self, connection: Connection, model: str) -> None:
        self._log = WriteOnceLog(connection, model, LEDGER)

    def history(self) -> list[LedgerEntry]:
        """Return every entry, oldest first; nothing when the model never had a champion.

        :raises RegistryError: the ledger is damaged or deleted.
        """
        return self.read().history

    def read(self) -> Chain:
        """Return every entry, and what else lies among them; errors as `history`."""
        return self.parse(self._log.read())

    def readable(self) -> list[LedgerEntry]:
        """Return every entry that can be read of a damaged ledger, by its place; errors as `history` without a run."""
        return readable(self._log.read(), self._log, LedgerEntry)

    def stray_words(self, strays: Sequence[str]) -> str:
        """Return in a sentence what lies among the entries that is none, and what to do."""
        return self._log.stray_words(strays)

    def damaged(self, what: str) -> RegistryError:
        """Return the error that says what is wrong with the ledger."""
        return self._log.damaged(what)

    def parse(self, values: Mapping[str, str]) -> Chain:
        """Return the entries in what the log holds.

        :raises RegistryError: the ledger is damaged.
        """
        return follow(values, self._log, LedgerEntry)

    def append(self, entry: LedgerEntry) -> bool:
        """Write the entry at its `seq`; False when another writer has won that place, or nobody has it yet.

        :param entry: in its place, as `Chain.link` returns it.
        :raises RegistryError: the entry is too long, or MLflow refused for another reason.
        :raises TransientServiceError: MLflow cannot be reached; the entry may or may not be there, and
            a retry finds it by its `idem`.
        """
        value = entry.render()
        self._log.ensure_run()
        failpoint("ledger.write.before")
        stored = self._log.write(f"{PREFIX}{entry.seq}", value)
        failpoint("ledger.write.after")
        return stored == value
