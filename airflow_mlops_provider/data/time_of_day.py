"""A timestamp whose day and time of day stand in two columns, as loggers write them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_mlops_provider.data.forms import Forms, is_text

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_mlops_provider.data.conversion import Column

#: Hours, minutes and perhaps seconds, with colons or points between them.
_CLOCK = r"^\s*(?P<hour>[01]?[0-9]|2[0-3])[:.](?P<minute>[0-5][0-9])(?:[:.](?P<second>[0-5][0-9]))?(?:[.][0-9]+)?\s*$"


def with_time_of_day(days: Column, times: pa.ChunkedArray) -> Column:
    """Return the days with their time of day, as texts.

    :param days: days in ISO 8601, in the form that `data.source.csv.dates` names, or as dates.
    :param times: texts such as 18:00, 18:00:30 and 18.00.30, or times.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    clock = _clock(times)
    day = days.plain().values
    if not is_text(day.type):
        day = pc.strftime(day.cast(pa.timestamp("s", getattr(day.type, "tz", None)), safe=False), format="%Y-%m-%d")
    joined = pc.binary_join_element_wise(pc.utf8_trim_whitespace(day), clock, " ")
    csv = days.forms.csv
    form = None if csv.dates is None else f"{csv.dates} %H:%M:%S"
    return replace(days, values=joined, forms=Forms(csv.model_copy(update={"dates": form})))


def is_time_of_day(values: pa.ChunkedArray) -> bool:
    """Return whether a column holds a time of day in every row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if values.null_count or not len(values):
        return False
    return pa.types.is_time(values.type) or (
        is_text(values.type) and bool(pc.all(pc.match_substring_regex(values, _CLOCK)).as_py())
    )


def _clock(times: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return times as 18:00:30; what is none stays as it is, so that the error shows it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = times.cast(pa.string())
    parts = pc.extract_regex(texts, pattern=_CLOCK)
    hours, minutes, seconds = (pc.struct_field(parts, name) for name in ("hour", "minute", "second"))
    seconds = pc.if_else(pc.equal(pc.utf8_length(seconds), 0), "00", seconds)
    read = pc.binary_join_element_wise(pc.utf8_lpad(hours, 2, "0"), minutes, seconds, ":")
    return pc.if_else(pc.is_valid(parts), read, texts)
