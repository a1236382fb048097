"""Turns columns as a source gives them into columns as their role wants them.

What does not fit is one `DataError` that names the column, the row and the value. Rows are counted from 1 in
the order of the source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from airflow_mlops_provider.exceptions import DataError, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from airflow_mlops_provider.spec.frozen import Task


@dataclass(frozen=True)
class Column:
    """One column of one batch, and where its rows stand in the source.

    :param where: the file, reader or query, as an error names it.
    :param rows: the row number of each value.
    """

    name: str
    values: pa.ChunkedArray
    where: str
    rows: pa.Array

    def misfit(self, index: int, expected: str, hint: str | None = None) -> DataError:
        """Return the error for one value."""
        value = self.values[index].as_py()
        return DataError(
            f"column {self.name!r}, row {self.rows[index].as_py()} of {self.where} cannot be used",
            got=value if value is not None else "no value",
            expected=expected,
            hint=hint,
        )

    def wrong_type(self, expected: str, hint: str | None = None) -> DataError:
        """Return the error for a whole column, showing its first value."""
        import pyarrow.compute as pc

        present = pc.indices_nonzero(pc.is_valid(self.values))
        if len(present):
            return self.misfit(present[0].as_py(), f"{expected}; the column holds {self.values.type}", hint)
        return DataError(
            f"column {self.name!r} of {self.where} cannot be used", got=self.values.type, expected=expected
        )


def to_number(column: Column) -> pa.ChunkedArray:
    """Return float64; NaN becomes a missing value, infinity stays (validation refuses it)."""
    import pyarrow as pa

    values = _plain(column)
    kind = values.type
    if not (_is_number(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)):
        raise column.wrong_type("a number", "Correct the source, or make the column categorical.")
    return _without_nan(values.cast(pa.float64(), safe=False))


def to_category(column: Column) -> pa.ChunkedArray:
    """Return text."""
    return _to_text(column)


def to_key(column: Column) -> pa.ChunkedArray:
    """Return whole numbers as int64, everything else as text."""
    import pyarrow as pa

    values = _plain(column)
    return values.cast(pa.int64()) if pa.types.is_integer(values.type) else _to_text(column)


def to_label(column: Column, task: Task, *, required: bool = True) -> pa.ChunkedArray:
    """Return a target: float64 for a regression, int64 or text for classes.

    :param required: nothing may be missing.
    :raises DataError: for an infinite value, and for a missing one (NaN is one) when it is required, naming its row.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    values = to_number(column) if task == "regression" else _to_class(column)
    bad = pc.is_null(values) if required else pa.chunked_array([pa.repeat(False, len(values))])
    if pa.types.is_floating(values.type):
        bad = pc.or_kleene(bad, pc.is_inf(values))
    if (found := pc.indices_nonzero(bad)) and len(found):
        raise column.misfit(
            found[0].as_py(),
            "a target in every row",
            f"{len(found)} rows have none. Set data.label_delay, or leave unlabelled rows out of the source.",
        )
    return values


def to_moment(column: Column, timezone: str | None) -> pa.ChunkedArray:
    """Return timestamps in UTC, to the microsecond.

    In local time, an hour that clocks repeat is taken as the first, one that they skip as its beginning.

    :raises DataError: for a missing or unreadable timestamp, or one without a zone when `timezone` is not set.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    values = _plain(column)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        values = _parse_moments(column, values)
    if pa.types.is_date(values.type):
        values = values.cast(pa.timestamp("us"))
    if not pa.types.is_timestamp(values.type):
        raise column.wrong_type("a timestamp such as 2013-03-01T06:00:00Z")
    if (absent := pc.indices_nonzero(pc.is_null(values))) and len(absent):
        raise column.misfit(absent[0].as_py(), "a timestamp in every row")
    if values.type.tz is None:
        if timezone is None:
            raise column.misfit(0, "a timestamp with its zone", "Set data.timezone, for example to UTC.")
        zone_of(timezone)
        naive = values.cast(pa.timestamp("us"), safe=False)
        values = pc.assume_timezone(naive, timezone, ambiguous="earliest", nonexistent="latest")
    return values.cast(pa.timestamp("us", "UTC"), safe=False)


def zone_of(timezone: str | None) -> ZoneInfo:
    """Return the zone of that name, UTC for none.

    :raises SpecError: when there is no such zone.
    """
    try:
        return ZoneInfo(timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise SpecError("data.timezone is not a time zone", got=timezone, expected="such as Europe/Berlin") from error


def first_failing(values: pa.ChunkedArray, fits: Callable[[pa.ChunkedArray], bool]) -> int:
    """Return the index of the first value that does not fit, in about log2(n) tries; some value must not."""
    low, high = 0, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        if fits(values.slice(low, middle - low)):
            low = middle
        else:
            high = middle
    return low


def can_cast(values: pa.ChunkedArray, kind: pa.DataType) -> bool:
    """Return whether every value can be cast."""
    import pyarrow as pa

    try:
        values.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _parse_moments(column: Column, values: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa

    zoned, naive = pa.timestamp("us", "UTC"), pa.timestamp("us")
    if can_cast(values, zoned):
        return values.cast(zoned)
    if can_cast(values, naive):
        return values.cast(naive)
    kind = zoned if can_cast(values.slice(0, 1), zoned) else naive
    raise column.misfit(
        first_failing(values, lambda part: can_cast(part, kind)),
        "a timestamp such as 2013-03-01T06:00:00Z" + (", with its zone like the rows before" if kind == zoned else ""),
    )


def _to_class(column: Column) -> pa.ChunkedArray:
    import pyarrow as pa

    values = _plain(column)
    if pa.types.is_integer(values.type) or pa.types.is_boolean(values.type):
        return values.cast(pa.int64())
    if _is_number(values.type):
        whole = _without_nan(values.cast(pa.float64(), safe=False))
        if not can_cast(whole, pa.int64()):
            raise column.misfit(
                first_failing(whole, lambda part: can_cast(part, pa.int64())), "a class: a whole number, text"
            )
        return whole.cast(pa.int64())
    return _to_text(column)


def _to_text(column: Column) -> pa.ChunkedArray:
    import pyarrow as pa

    values = _plain(column)
    if pa.types.is_nested(values.type) or pa.types.is_binary(values.type):
        raise column.wrong_type("text or a number")
    return values.cast(pa.string())


def _plain(column: Column) -> pa.ChunkedArray:
    import pyarrow as pa

    values = column.values
    return values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _without_nan(values: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
