"""Keeps what tells who somebody is out of the store: columns are dropped, hashed or refused before a row is stored.

A hash is HMAC-SHA256 (RFC 2104) under a secret, 128 bits of it as hexadecimal text: equal values stay equal, so keys
still join and categories still count, and who reads the store without the secret cannot try addresses or numbers until
one fits, as he can with a plain or salted hash. Who has the secret can. It is pseudonymisation, not anonymity.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from airflow_mlops_provider.data.recognition import CERTAIN, LEAST_SHARE, count_kind
from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.exceptions import DataError, MLOpsError, SpecError, TransientServiceError
from airflow_mlops_provider.spec.frozen import Frozen
from airflow_mlops_provider.spec.privacy import Action, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pyarrow as pa

    from airflow_mlops_provider.data.batches import Batch
    from airflow_mlops_provider.spec import Data, Privacy
    from airflow_mlops_provider.spec.data import Columns

#: Of a secret, in characters: 128 bits at least, written as hexadecimal digits.
MIN_SECRET = 32
_HASH_DIGITS = 32
_HIDDEN = "Values are not shown: data.privacy is set."

_Made = TypeVar("_Made")


class Treated(Frozen):
    """What became of one column.

    :param kind: what its values look like; None when the file names the column.
    :param values: how many of them do.
    :param of: how many there are.
    """

    column: str
    action: Action
    kind: Kind | None = None
    values: int | None = None
    of: int | None = None

    @property
    def words(self) -> str:
        """What became of it, and why."""
        done = {"drop": "dropped", "hash": "hashed", "forbid": "refused"}[self.action]
        why = "named" if self.kind is None else f"{self.values} of {self.of} values look like {self.kind}"
        return f"{done}, {why}"


class PrivacyReport(Document):
    """What became of columns, without a value of theirs. Stored as the artifact `privacy`."""

    columns: list[Treated] = []

    def named(self, action: Action) -> list[str]:
        """Return the columns that were treated so."""
        return [each.column for each in self.columns if each.action == action]


@dataclass(frozen=True)
class Shield:
    """What is read, and what is hashed of it.

    :param data: without the columns that are dropped.
    """

    data: Data
    report: PrivacyReport
    secret: bytes = field(default=b"", repr=False)

    @property
    def hashed(self) -> frozenset[str]:
        """Columns that are stored as hashes."""
        return frozenset(self.report.named("hash"))

    def hashes_of(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return the hash of each value of a key or category; a missing one stays missing."""
        import pyarrow as pa

        encoded = values.cast(pa.string()).combine_chunks().dictionary_encode()
        hashed = pa.array([self._hash(value) for value in encoded.dictionary.to_pylist()], pa.string())
        return pa.chunked_array([hashed.take(encoded.indices)])

    def _hash(self, value: str) -> str:
        return hmac.new(self.secret, value.encode(), "sha256").hexdigest()[:_HASH_DIGITS]


def secret_id(secret: bytes) -> str:
    """Return what changes with a secret and tells nothing of it; it goes into a step's key, once more hashed."""
    return hmac.new(secret, b"airflow_mlops_provider: which secret", "sha256").hexdigest()


def checked_secret(secret: str | None, conn_id: str) -> bytes:
    """Return a secret.

    :raises SpecError: when it is missing or too short.
    """
    if len(secret or "") < MIN_SECRET:
        raise SpecError(
            f"the password of connection {conn_id!r} is too short for data.privacy",
            got=f"{len(secret or '')} characters",
            expected=f"at least {MIN_SECRET}",
            hint="Create one with `openssl rand -hex 32`.",
        )
    return str(secret).encode()


def shield(data: Data, privacy: Privacy, batches: Callable[[Data], Iterable[Batch]], secret: bytes) -> Shield:
    """Return what is read: named columns are settled at once; to recognise others, the source is read through.

    :param batches: reads the source.
    :raises DataError: names the column that must not be there, or cannot be treated as the policy says.
    """
    columns = data.columns
    treated = [Treated(column=name, action="drop") for name in privacy.drop]
    treated += [Treated(column=name, action="hash") for name in privacy.hash if name in columns.all]
    reduced = data.model_copy(update={"columns": without(columns, privacy.drop)})
    if privacy.recognise:
        treated += _recognised(reduced, privacy, batches(reduced))
    report = PrivacyReport(columns=treated)
    remaining = without(columns, report.named("drop"))
    if not remaining.features:
        raise DataError("data.privacy drops every feature", got=report.named("drop"))
    return Shield(data.model_copy(update={"columns": remaining}), report, secret)


def without(columns: Columns, names: Iterable[str]) -> Columns:
    """Return the roles without some keys and features."""
    gone = frozenset(names)
    roles = {role: [name for name in getattr(columns, role) if name not in gone] for role in _LISTS}
    return columns.model_copy(update=roles)


_LISTS = ("keys", "numeric", "categorical", "groups", "amounts")


# ---------------------------------------------------------------- recognition


def _recognised(data: Data, privacy: Privacy, batches: Iterable[Batch]) -> list[Treated]:
    looked_at = [name for name in data.columns.all if name != data.columns.timestamp and name not in privacy.hash]
    present = dict.fromkeys(looked_at, 0)
    alike: dict[tuple[str, Kind], int] = {(name, kind): 0 for name in looked_at for kind in privacy.recognise}
    where = ""
    for batch in batches:
        where = batch.where
        for name in looked_at:
            if name not in batch.table.column_names:
                continue
            values, counts = _distinct(batch.table[name])
            present[name] += sum(counts.to_pylist())
            for kind in privacy.recognise:
                alike[name, kind] += count_kind(kind, values, counts, privacy.national_ids)
    found = []
    for name in looked_at:
        kinds = [kind for kind in privacy.recognise if _is_of(kind, alike[name, kind], present[name], privacy)]
        if kinds:
            kind = max(kinds, key=lambda each: alike[name, each])
            one = Treated(
                column=name, action=privacy.recognise[kind], kind=kind, values=alike[name, kind], of=present[name]
            )
            _refuse(one, data, where)
            found.append(one)
    return found


def _is_of(kind: Kind, alike: int, present: int, privacy: Privacy) -> bool:
    least = privacy.min_share if privacy.min_share is not None else 0.0 if kind in CERTAIN else LEAST_SHARE
    return alike > 0 and alike >= least * present


def _refuse(found: Treated, data: Data, where: str) -> None:
    columns, what = data.columns, f"column {found.column!r} of {where} contains values that look like {found.kind}"
    counted = f"{found.values} of {found.of} values"
    if found.action == "forbid":
        raise DataError(
            what,
            expected="none, as data.privacy.recognise requires",
            hint=f"{counted} do. Leave the column out of data.columns, or drop or hash it.",
        )
    if found.column == columns.target:
        raise DataError(f"{what}, and is the target", hint=f"{counted} do. A target cannot be dropped or hashed.")
    if found.action == "hash" and found.column in (*columns.numeric, *columns.amounts):
        raise DataError(
            f"{what}, and is read as a number", hint=f"{counted} do. A hash is text: make it categorical, or drop it."
        )


def _distinct(column: pa.ChunkedArray) -> tuple[pa.StringArray, pa.Array]:
    """Return the distinct values that may be of a kind, as text, and how often each is there."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    if pa.types.is_floating(values.type):  # a whole number may have come as one with a fraction
        values = values.filter(pc.fill_null(pc.equal(pc.floor(values), values), False))
        values = values.filter(pc.less(pc.abs(values), 2.0**53)).cast(pa.int64())
    if not (
        pa.types.is_integer(values.type) or pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
    ):
        return pa.array([], pa.string()), pa.array([], pa.int64())
    counted = pc.value_counts(pc.drop_null(values))
    return counted.field("values").cast(pa.string()), counted.field("counts")


# ---------------------------------------------------------------- errors


def without_values(work: Callable[[], _Made], where: str) -> _Made:
    """Return what some work on data makes. Its errors are raised anew: no value in them, and nothing of their causes.

    :param where: what is read.
    :raises DataError: for what was one, without what was got, and for any error that is none of ours, by its class.
    """
    try:
        return work()
    except (TransientServiceError, ConnectionError, TimeoutError, SpecError):
        raise
    except MLOpsError as error:
        hidden = type(error)(error.what, expected=error.expected, hint=f"{error.hint or ''} {_HIDDEN}".strip())
    except Exception as error:
        hidden = DataError(f"{where} cannot be read: {type(error).__name__}", hint=_HIDDEN)
    raise hidden  # out here, where no other error is its context: its message would be in the log as well
