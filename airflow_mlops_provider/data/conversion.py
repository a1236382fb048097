"""Turns columns as a source gives them into columns as their role wants them.

Of each Arrow type each role makes one thing, or one `DataError` that names the column, the row and the value. Rows are
counted from 1 in the order of the source. Numbers stay exact wherever they tell rows or classes apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from airflow_mlops_provider.data.forms import EXACT, Forms, Misfits, exact_text, is_text
from airflow_mlops_provider.data.guesses import advice_on_dates, advice_on_numbers
from airflow_mlops_provider.data.kinds import is_binary, is_number, is_uuid, uuid_texts, without_nan
from airflow_mlops_provider.data.moments import Moments, within_bounds
from airflow_mlops_provider.exceptions import DataError, SpecError

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_mlops_provider.spec.frozen import Task


@dataclass(frozen=True)
class Column:
    """One column of one batch, and where its rows stand in the source.

    :param where: the file, reader or query, as an error names it.
    :param rows: the row number of each value.
    :param forms: how the source writes its values.
    """

    name: str
    values: pa.ChunkedArray
    where: str
    rows: pa.Array
    forms: Forms = field(default_factory=Forms)

    def misfit(self, index: int, expected: str, hint: str | None = None) -> DataError:
        """Return the error for one value."""
        return DataError(
            f"column {self.name!r}, row {self.rows[index].as_py()} of {self.where} cannot be used",
            got=shown(self.values[index]),
            expected=expected,
            hint=hint,
        )

    def misfits(self, odd: Misfits, what: str, expected: str, hint: str | None) -> DataError:
        """Return the error for some values: the first, and how many there are."""
        value = shown(self.values[odd.first])
        return DataError(
            f"column {self.name!r}, row {odd.rows[0]} of {self.where} cannot be used",
            got=f"{value}; {odd.words(what)}" if odd.count > 1 else value,
            expected=expected,
            hint=hint,
        )

    def wrong_type(self, expected: str, hint: str | None = None) -> DataError:
        """Return the error for a whole column, showing its first value."""
        import pyarrow.compute as pc

        present = pc.indices_nonzero(pc.is_valid(self.values))
        if len(present):
            return self.misfit(present[0].as_py(), f"{expected}; the column type is {self.values.type}", hint)
        return DataError(
            f"column {self.name!r} of {self.where} cannot be used", got=self.values.type, expected=expected, hint=hint
        )

    def first(self, mask: pa.ChunkedArray, expected: str, hint: str | None = None) -> None:
        """Refuse the first value of those that a mask names, if it names one."""
        import pyarrow.compute as pc

        if len(found := pc.indices_nonzero(mask)):
            raise self.misfit(found[0].as_py(), expected, hint)

    def plain(self) -> Column:
        """Return it without an encoding: its values alone."""
        import pyarrow as pa
        import pyarrow.compute as pc

        values = self.values
        if pa.types.is_run_end_encoded(values.type):
            values = pa.chunked_array([pc.run_end_decode(chunk) for chunk in values.chunks], values.type.value_type)
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if pa.types.is_string_view(values.type) or pa.types.is_large_string(values.type):
            values = values.cast(pa.string())
        if isinstance(values.type, pa.BaseExtensionType) and not is_uuid(values.type):
            values = values.cast(values.type.storage_type)
        return Column(self.name, values, self.where, self.rows, self.forms)


def to_number(column: Column) -> pa.ChunkedArray:
    """Return float64; NaN becomes a missing value, infinity stays (validation refuses it)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = column.plain()
    values = column.values
    kind = values.type
    if is_text(kind):
        found = column.forms.numbers(column.name, values)
        if (odd := column.forms.misfits(values, pc.is_valid(found), column.rows)) is not None:
            raise column.misfits(odd, "numbers", "a number", advice_on_numbers(values, column.forms.csv))
        return without_nan(found)
    if not (is_number(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)):
        raise column.wrong_type("a number", "Correct the source, or make the column categorical.")
    return without_nan(values.cast(pa.float64(), safe=False))


def to_category(column: Column) -> pa.ChunkedArray:
    """Return text."""
    import pyarrow as pa

    column = column.plain()
    if pa.types.is_binary(column.values.type) or pa.types.is_fixed_size_binary(column.values.type):
        raise column.wrong_type("text or a number", "Write it as text.")
    return _to_text(column)


def to_key(column: Column) -> pa.ChunkedArray:
    """Return whole numbers as int64, those of 64 bits without a sign and everything else as text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = column.plain()
    values = column.values
    kind = values.type
    if pa.types.is_integer(kind) and kind != pa.uint64():
        return values.cast(pa.int64())
    if pa.types.is_floating(kind):
        wide = without_nan(values.cast(pa.float64()))
        exact = pc.and_(pc.equal(pc.floor(wide), wide), pc.less_equal(pc.abs(wide), float(EXACT)))
        column.first(pc.invert(exact), "a key: a whole number of at most 2**53, or text", _LOST_DIGITS)
        return wide.cast(pa.int64())
    if kind == pa.binary(16):
        return uuid_texts(values)
    if pa.types.is_fixed_size_binary(kind) or is_binary(kind):
        return _decoded(column)
    return _to_text(column)


def to_label(column: Column, task: Task, *, required: bool = True) -> pa.ChunkedArray:
    """Return a target: float64 for a regression, int64 or text for classes.

    :param required: nothing may be missing.
    :raises DataError: for an infinite value, and for a missing one (NaN is one) when it is required, naming its row.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    values = to_number(column) if task == "regression" else _to_class(column.plain())
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

    column = column.plain()
    values = _moments(column)
    if values.type.tz is None:
        if timezone is None:
            column.first(pc.is_valid(values), "a timestamp with a time zone", "Set data.timezone, for example to UTC.")
        zone_of(timezone)
        local = pc.assume_timezone(values, timezone or "UTC", ambiguous="earliest", nonexistent="latest")
        values = within_bounds(local.cast(pa.timestamp("us", "UTC")))
        column.first(pc.is_null(values), "a timestamp in the years 1 to 9999")
    return values.cast(pa.timestamp("us", "UTC"))


def zone_of(timezone: str | None) -> ZoneInfo:
    """Return the zone of that name, UTC for none.

    :raises SpecError: when there is no such zone.
    """
    try:
        return ZoneInfo(timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise SpecError("data.timezone is not a time zone", got=timezone, expected="such as Europe/Berlin") from error


def shown(value: pa.Scalar) -> object:
    """Return a value as a message shows it, also one that Python has no type for."""
    try:
        plain = value.as_py()
    except (ValueError, OverflowError, ImportError):
        plain = f"{value.type} {value.value}" if hasattr(value, "value") else str(value.type)
    if isinstance(plain, str) and not plain.strip():
        return repr(plain)
    return "no value" if plain is None else plain


_LOST_DIGITS = "A 64-bit float may have lost its last digits: write it as a whole number or as text."


def _moments(column: Column) -> pa.ChunkedArray:
    """Return timestamps in microseconds, all of which have a zone or all of which have none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values, forms = column.values, column.forms
    absent = pc.is_null(forms.with_values(values) if is_text(values.type) else values)
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        column.first(absent, "a timestamp in every row")
        found = within_bounds(values)
        column.first(pc.is_null(found), "a timestamp in the years 1 to 9999")
        return found
    if not is_text(values.type) and (forms.csv.dates is None or not is_number(values.type)):
        raise column.wrong_type(_MOMENT, advice_on_dates(values, forms.csv))
    moments = forms.moments(values)
    if (odd := forms.misfits(values, moments.read, column.rows)) is not None:
        raise column.misfits(odd, "timestamps", _MOMENT, advice_on_dates(values, forms.csv))
    column.first(absent, "a timestamp in every row")
    return _of_one_kind(column, moments)


_MOMENT = "a timestamp such as 2013-03-01T06:00:00Z"


def _of_one_kind(column: Column, moments: Moments) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    zoned = pc.is_valid(moments.zoned)
    with_zone, rows = pc.sum(zoned).as_py() or 0, len(zoned)
    if with_zone in (0, rows):
        return moments.zoned if with_zone else moments.naive
    first = zoned[0].as_py()
    column.first(
        pc.invert(zoned) if first else zoned,
        f"{_MOMENT}, {'with' if first else 'without'} a time zone, like the rows before",
        f"{with_zone} of {rows} values have a time zone, the others do not.",
    )
    raise AssertionError


def _to_class(column: Column) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    values = column.values
    if is_text(values.type):
        return _class_of_texts(column)
    if pa.types.is_boolean(values.type) or (pa.types.is_integer(values.type) and values.type != pa.uint64()):
        return values.cast(pa.int64())
    if not is_number(values.type):
        return to_category(column)
    if pa.types.is_floating(values.type):
        values = without_nan(values.cast(pa.float64()))
    texts = exact_text(values)
    column.first(pc.invert(pc.match_substring_regex(texts, "^-?[0-9]{1,18}$")), "a class: a whole number, or text")
    return texts.cast(pa.int64())


def _class_of_texts(column: Column) -> pa.ChunkedArray:
    """Return classes of the type that the first of them have: later ones may not turn them into others."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values, forms, name = column.values, column.forms, column.name
    typed = forms.typed(name, values)
    if is_number(typed.type) or pa.types.is_boolean(typed.type):
        typed = _to_class(Column(name, typed, column.where, column.rows))
    else:
        typed = values
    known = forms.classes.get(name)
    if known is None and typed.null_count < len(typed):
        known = forms.classes[name] = typed.type
    if known is None or typed.type == known:
        return typed
    if known == pa.string():
        return values
    fits = pc.match_substring_regex(forms.with_values(values), "^[+-]?[0-9]+$")
    column.first(pc.invert(fits), "a whole number, like the rows before")
    return forms.with_values(values).cast(pa.int64())


def _to_text(column: Column) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    values = column.values
    kind = values.type
    if is_text(kind):
        return values
    if is_uuid(kind):
        return uuid_texts(values.cast(kind.storage_type))
    if pa.types.is_nested(kind) or pa.types.is_duration(kind) or pa.types.is_interval(kind) or is_binary(kind):
        raise column.wrong_type("text or a number", "Write it as text.")
    if pa.types.is_floating(kind):
        values = without_nan(values.cast(pa.float64()))
        column.first(pc.greater(pc.abs(values), float(EXACT)), "text, or a number of at most 2**53", _LOST_DIGITS)
    if is_number(kind):
        return exact_text(values)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        lost = pc.and_(pc.is_valid(values), pc.is_null(within_bounds(values)))
        column.first(lost, "a timestamp in the years 1 to 9999")
    return values.cast(pa.string())


def _decoded(column: Column) -> pa.ChunkedArray:
    import pyarrow as pa

    values = column.values.cast(pa.large_binary() if is_binary(column.values.type) else pa.binary())
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid as error:
        raise column.wrong_type("text in UTF-8, or 16 bytes as a UUID", "Write it as text.") from error
