"""Which column is what, and which is of no use; each with the reason that ends in a comment."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.drafting.texts import misread
from airflow_mlops_provider.exceptions import DataError, SpecError
from airflow_mlops_provider.spec import Columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from airflow_mlops_provider.spec.frozen import Task

#: Whole numbers of more values than this are a quantity to predict, not classes.
MAX_CLASSES = 10
#: Texts of more values than this are no classes: nobody has rows enough for each.
MAX_TEXT_CLASSES = 50
#: A category has so many rows a value on average, or its values are names that say nothing of the next row.
_ROWS_A_VALUE = 5
_MAX_CATEGORIES = 1000
#: A column with a larger share missing is left out; preparation fails over 0.3, on either side of the split.
_MAX_MISSING = 0.2
#: Fewer rows can neither train nor measure: five folds of ten.
MIN_ROWS = 50
_KEY_NAME = re.compile(r"(^|[_\W])(id|key|uuid|guid|index|no|nr)$|^unnamed", re.I)


@dataclass
class Roles:
    """What the columns of a file are.

    :param task: what kind of target it has, and why.
    :param zoned: the timestamp says its zone.
    :param left_out: columns without a role, each with the reason.
    """

    task: Task
    why_task: str
    target: str
    timestamp: str | None = None
    zoned: bool = True
    keys: list[str] = field(default_factory=list)
    numeric: list[str] = field(default_factory=list)
    categorical: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> Columns:
        """The roles as a pipeline file has them."""
        return Columns(
            target=self.target,
            timestamp=self.timestamp,
            keys=self.keys,
            numeric=self.numeric,
            categorical=self.categorical,
        )

    @property
    def features(self) -> list[str]:
        """The features."""
        return [*self.numeric, *self.categorical]

    def leave_out(self, name: str, why: str) -> None:
        """Take a feature's role away."""
        for features in (self.numeric, self.categorical):
            if name in features:
                features.remove(name)
        self.left_out[name] = why


def roles_of(table: pa.Table, target: str, timestamp: str | None, keys: Sequence[str]) -> Roles:
    """Return what each column is.

    :raises SpecError: a column that was named is not there, or cannot be what it was named for.
    :raises DataError: nothing can be learned from the data.
    """
    for argument, name in [("--target", target), ("--timestamp", timestamp), *(("--keys", key) for key in keys)]:
        if name is not None and name not in table.column_names:
            nearest = difflib.get_close_matches(name, table.column_names, n=1)
            raise SpecError(
                f"{argument} names no column of the file",
                got=name,
                expected=", ".join(table.column_names),
                hint=f"Did you mean {nearest[0]!r}?" if nearest else None,
            )
    if len(table) < MIN_ROWS:
        raise DataError("the file has too few rows", got=len(table), expected=f"at least {MIN_ROWS}")
    task, why = _task_of(table[target], target)
    roles = Roles(task, why, target)
    roles.timestamp = timestamp or _timestamp_of(table, target)
    if roles.timestamp is not None:
        roles.zoned = _is_zoned(table[roles.timestamp], roles.timestamp)
    roles.keys = list(keys)
    for name in table.column_names:
        if name not in (target, roles.timestamp, *roles.keys):
            _assign(roles, name, table[name], find_keys=not keys)
    if not roles.features:
        raise DataError("no column is left to learn from", got=roles.left_out)
    return roles


def _task_of(values: pa.ChunkedArray, name: str) -> tuple[Task, str]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if values.null_count:
        raise DataError(
            f"target {name!r} is missing in {values.null_count} of {len(values)} rows",
            hint="Leave rows without a label out of the file.",
        )
    counts = {item["values"]: item["counts"] for item in pc.value_counts(_plain(values)).to_pylist()}
    kind, distinct = values.type, len(counts)
    if distinct < 2:
        raise DataError(f"target {name!r} is the same in every row", got=next(iter(counts)))
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        if distinct > 2 or any(float(value) % 1 for value in counts):
            return "regression", f"{distinct} different numbers"
    elif pa.types.is_integer(kind):
        if distinct > MAX_CLASSES:
            return "regression", f"{distinct} different numbers"
    elif not (pa.types.is_boolean(kind) or _is_text(kind)):
        raise DataError(f"target {name!r} is no number, text or truth value", got=str(kind))
    if distinct > MAX_TEXT_CLASSES:
        raise DataError(
            f"target {name!r} has {distinct} different texts", expected=f"a number, or at most {MAX_TEXT_CLASSES}"
        )
    rarest = min(counts, key=counts.__getitem__)
    if counts[rarest] < 10:
        raise DataError(
            f"class {rarest!r} of target {name!r} has {counts[rarest]} rows",
            expected="at least 10 a class",
            hint="Leave it out of the file, or join it with another.",
        )
    return ("binary" if distinct == 2 else "multiclass"), f"{distinct} different values"


def _timestamp_of(table: pa.Table, target: str) -> str | None:
    found = [
        name for name in table.column_names if name != target and _is_moment(table[name]) and not table[name].null_count
    ]
    if len(found) > 1:
        raise SpecError(
            "several columns are moments",
            got=", ".join(found),
            hint="Name the one when a row became known: --timestamp.",
        )
    return found[0] if found else None


def _is_zoned(values: pa.ChunkedArray, name: str) -> bool:
    """Return whether moments say their zone.

    :raises SpecError: they are no moments.
    """
    if values.null_count or not _is_moment(values):
        raise SpecError(
            "--timestamp names a column that is not a moment in every row",
            got=f"{name}, of type {values.type}, such as {values[0].as_py()}, missing in {values.null_count} rows",
            expected="values such as 2013-03-01 or 2013-03-01T06:00:00Z",
        )
    return getattr(values.type, "tz", None) is not None


def _assign(roles: Roles, name: str, values: pa.ChunkedArray, *, find_keys: bool) -> None:
    """Give a column its role, or the reason why it has none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind, rows = values.type, len(values)
    if pa.types.is_nested(kind) or pa.types.is_binary(kind):
        roles.left_out[name] = f"holds {kind}, from which no feature can be made"
        return
    if values.null_count > _MAX_MISSING * rows:
        roles.left_out[name] = f"missing in {values.null_count / rows:.0%} of the rows"
        return
    distinct = pc.count_distinct(_plain(values)).as_py()
    if distinct < 2:
        roles.left_out[name] = "the same in every row"
    elif find_keys and _is_key(name, values, distinct):
        roles.keys.append(name)
    elif _is_moment(values) or pa.types.is_time(kind) or pa.types.is_duration(kind):
        roles.left_out[name] = _why_no_feature(values, roles.timestamp)
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        roles.numeric.append(name)
    elif (why := misread(values)) is not None:
        roles.left_out[name] = why
    elif distinct > min(_MAX_CATEGORIES, rows / _ROWS_A_VALUE):
        roles.left_out[name] = f"{distinct} different texts in {rows} rows say nothing of the next row"
    else:
        roles.categorical.append(name)


def _why_no_feature(moments: pa.ChunkedArray, timestamp: str | None) -> str:
    if timestamp is None and moments.null_count:
        return f"a moment, but no timestamp: it is missing in {moments.null_count} rows"
    return "a moment is no feature; derive numbers from it, such as the hour"


def _is_key(name: str, values: pa.ChunkedArray, distinct: int) -> bool:
    """Return whether a column numbers or names the rows."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if distinct != len(values) or pa.types.is_floating(values.type) or _is_moment(values):
        return False
    if _KEY_NAME.search(name):
        return True
    if not pa.types.is_integer(values.type):
        return False
    extent: Any = pc.min_max(values).as_py()
    return bool(extent["max"] - extent["min"] == len(values) - 1)


def _is_moment(values: pa.ChunkedArray) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_timestamp(values.type) or pa.types.is_date(values.type))


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(plain) or pa.types.is_large_string(plain))


def _plain(values: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa

    return values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values
