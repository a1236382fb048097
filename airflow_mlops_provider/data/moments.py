"""Texts and numbers that are moments: ISO 8601, a format of `data.source.csv.dates`, or counted from 1970 on.

Texts of another form are written anew as ISO 8601, by Arrow's own regular expressions, and read as such: a day that no
calendar has stays unread.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from airflow_mlops_provider.spec.dates import DIRECTIVES, EPOCHS, date_tokens

if TYPE_CHECKING:
    import pyarrow as pa

_LONG, _SHORT = "(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])", "(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
_LEAP = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29"
_DAY = f"(?:[0-9]{{4}}-(?:{_LONG}|{_SHORT}|02-(?:0[1-9]|1[0-9]|2[0-8]))|{_LEAP})"
_CLOCK = r"(?:[T ](?:[01][0-9]|2[0-3])(?::[0-5][0-9](?::[0-5][0-9](?:[.][0-9]{1,6})?)?)?)"
_ZONE = r"(?:Z|[+-](?:0[0-9]|1[0-9]|2[0-3])(?::?[0-5][0-9])?)"
_NAIVE_ISO, _ZONED_ISO = f"^{_DAY}{_CLOCK}?$", f"^{_DAY}{_CLOCK}{_ZONE}$"
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_SHORT_MONTHS = tuple(name[:3] for name in _MONTHS)
_NUMBERS = frozenset("YymdHIMS")
#: Arrow counts far beyond what Python, pandas and Parquet's readers know as dates.
_EARLIEST, _LATEST = "0001-01-01T00:00:00", "9999-12-31T23:59:59.999999"


@dataclass(frozen=True)
class Moments:
    """What is a moment among some values; each is missing where it is not one of the kind.

    :param zoned: in UTC, where the value says its zone.
    :param naive: without a zone, where it does not.
    """

    zoned: pa.ChunkedArray
    naive: pa.ChunkedArray

    @property
    def read(self) -> pa.ChunkedArray:
        """Whether a value is a moment."""
        import pyarrow.compute as pc

        return pc.or_(pc.is_valid(self.zoned), pc.is_valid(self.naive))


def moments_in_texts(texts: pa.ChunkedArray, dates: str | None) -> Moments:
    """Return the moments in texts.

    >>> import pyarrow as pa
    >>> found = moments_in_texts(pa.chunked_array([["31.2.2024", "1.3.2024 9:05"]]), "%d.%m.%Y %H:%M")
    >>> found.naive.cast(pa.string()).to_pylist()
    [None, '2024-03-01 09:05:00.000000']
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if dates in EPOCHS:
        counted = pc.if_else(pc.match_substring_regex(texts, r"^\s*-?[0-9]+(?:[.][0-9]+)?\s*$"), texts, None)
        return moments_in_numbers(pc.utf8_trim_whitespace(counted).cast(pa.float64()), dates)
    if dates is None:
        for kind in (_zoned_type(), _naive_type()):
            try:
                return _moments(texts.cast(kind))
            except pa.ArrowInvalid:
                continue
        return _from_iso(_tidied(texts))
    return _from_iso(_rewritten(texts, dates))


def moments_in_numbers(numbers: pa.ChunkedArray, dates: str) -> Moments:
    """Return the moments that numbers count from 1970 on, in UTC.

    :param dates: one of `EPOCHS`.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    in_microseconds = {"s": 1_000_000, "ms": 1000, "us": 1}[EPOCHS[dates]]
    if pa.types.is_integer(numbers.type):
        wide = pa.uint64() if numbers.type == pa.uint64() else pa.int64()
        sane = pc.less(numbers, pa.scalar(2**62 // in_microseconds, wide))
        if wide == pa.int64():
            sane = pc.and_(sane, pc.greater(numbers, -(2**62) // in_microseconds))
        counted = pc.multiply(pc.if_else(sane, numbers, None).cast(pa.int64()), in_microseconds)
    else:
        exact = pc.round(pc.multiply(numbers.cast(pa.float64()), float(in_microseconds)))
        counted = pc.if_else(pc.less(pc.abs(exact), 2.0**62), exact, None).cast(pa.int64(), safe=False)
    return _moments(counted.cast(_zoned_type()))


def within_bounds(moments: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return timestamps in microseconds, of the years 1 to 9999; what is beyond is missing.

    Arrow would let seconds or days of a far future wrap around into the past.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = moments.type
    if pa.types.is_date(kind):
        kind = pa.timestamp("ms" if kind == pa.date64() else "s")
        moments = moments.cast(kind)
    plain = moments.cast(pa.int64())
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[kind.unit]
    low, high = (pa.scalar(text).cast(pa.timestamp("s")).cast(pa.int64()).as_py() for text in (_EARLIEST, _LATEST[:19]))
    inside = pc.and_(
        pc.greater_equal(plain, max(low * per_second, -(2**63))),
        pc.less_equal(plain, min((high + 1) * per_second - 1, 2**63 - 1)),
    )
    return pc.if_else(inside, moments, pa.scalar(None, kind)).cast(pa.timestamp("us", kind.tz), safe=False)


def _moments(values: pa.ChunkedArray) -> Moments:
    import pyarrow as pa

    bounded = within_bounds(values)
    zoned = bounded.type.tz is not None
    none = pa.chunked_array([pa.nulls(len(values), _naive_type() if zoned else _zoned_type())])
    return Moments(bounded, none) if zoned else Moments(none, bounded)


def _from_iso(texts: pa.ChunkedArray) -> Moments:
    """Return the moments in texts of ISO 8601, whatever other texts are among them."""
    import pyarrow.compute as pc

    def those(pattern: str, kind: pa.DataType) -> pa.ChunkedArray:
        return within_bounds(pc.if_else(pc.match_substring_regex(texts, pattern), texts, None).cast(kind))

    return Moments(those(_ZONED_ISO, _zoned_type()), those(_NAIVE_ISO, _naive_type()))


def _tidied(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts with UTC, GMT and offsets where ISO 8601 has them, and no more than microseconds."""
    import pyarrow.compute as pc

    found = pc.utf8_trim_whitespace(texts)
    found = pc.replace_substring_regex(found, r"(?i)([0-9])\s*(?:UTC|GMT|Z)$", r"\1Z")
    found = pc.replace_substring_regex(found, r"([0-9])\s+([+-][0-9]{2}:?(?:[0-9]{2})?)$", r"\1\2")
    return pc.replace_substring_regex(found, r"([:][0-9]{2})[.,]([0-9]{1,6})[0-9]*(Z|[+-][0-9:]+)?$", r"\1.\2\3")


def _rewritten(texts: pa.ChunkedArray, dates: str) -> pa.ChunkedArray:
    """Return texts of a format as ISO 8601; what is not of it is missing."""
    import pyarrow.compute as pc

    fields = _Fields(texts, dates)
    day = pc.binary_join_element_wise(fields.year(), fields.month(), fields.two("d", ""), "-")
    clock = pc.binary_join_element_wise(fields.hour(), fields.two("M", "00"), fields.two("S", "00"), ":")
    fraction = pc.utf8_slice_codeunits(fields.get("f", "0"), 0, 6)
    zone = pc.utf8_upper(fields.get("z", "Z" if "Z" in fields.names else ""))
    moment = pc.binary_join_element_wise(pc.binary_join_element_wise(day, clock, "T"), fraction, ".")
    return pc.binary_join_element_wise(moment, zone, "")


class _Fields:
    """The parts of texts that a format names, each missing where a text is not of the format."""

    def __init__(self, texts: pa.ChunkedArray, dates: str) -> None:
        import pyarrow.compute as pc

        self.names = {directive for directive, text in date_tokens(dates) if not text}
        self._found = pc.extract_regex(pc.utf8_trim_whitespace(texts), date_pattern(dates))

    def get(self, name: str, default: str) -> pa.ChunkedArray:
        import pyarrow as pa
        import pyarrow.compute as pc

        if name in self.names:
            return pc.struct_field(self._found, name)
        return pc.if_else(pc.is_valid(self._found), pa.scalar(default), pa.scalar(None, pa.string()))

    def two(self, name: str, default: str) -> pa.ChunkedArray:
        import pyarrow.compute as pc

        return pc.utf8_lpad(self.get(name, default), 2, "0")

    def year(self) -> pa.ChunkedArray:
        import pyarrow.compute as pc

        if "Y" in self.names:
            return self.get("Y", "")
        # As POSIX has it: 69 is 1969, 68 is 2068.
        short = self.get("y", "")
        return pc.binary_join_element_wise(pc.if_else(pc.greater_equal(short, "69"), "19", "20"), short, "")

    def month(self) -> pa.ChunkedArray:
        import pyarrow as pa
        import pyarrow.compute as pc

        if "m" in self.names:
            return self.two("m", "")
        name = pc.utf8_lower(pc.utf8_rtrim(self.get("b" if "b" in self.names else "B", ""), "."))
        months = _SHORT_MONTHS if "b" in self.names else _MONTHS
        number = pc.add(pc.index_in(name, value_set=pa.array(months)), 1)
        return pc.utf8_lpad(number.cast(pa.string()), 2, "0")

    def hour(self) -> pa.ChunkedArray:
        import pyarrow as pa
        import pyarrow.compute as pc

        if "I" not in self.names:
            return self.two("H", "00")
        hour = self.get("I", "").cast(pa.int64())
        known = pc.if_else(pc.and_(pc.greater(hour, 0), pc.less_equal(hour, 12)), hour, None)
        afternoon = pc.starts_with(pc.utf8_lower(self.get("p", "")), "p")
        of_day = pc.add(pc.if_else(pc.equal(known, 12), 0, known), pc.if_else(afternoon, 12, 0))
        return pc.utf8_lpad(of_day.cast(pa.string()), 2, "0")


@cache
def date_pattern(dates: str) -> str:
    """Return the regular expression of a format, a group for each directive."""
    tokens = date_tokens(dates)
    parts = []
    for index, (directive, text) in enumerate(tokens):
        if text:
            parts.append("".join(r"\s+" if part.isspace() else re.escape(part) for part in re.split(r"(\s+)", text)))
            continue
        beside = [tokens[other][0] for other in (index - 1, index + 1) if 0 <= other < len(tokens)]
        # Where no sign divides two numbers, as in %Y%m%d, each has all of its digits.
        known = DIRECTIVES[directive]
        packed = known.replace("{1,2}", "{2}") if any(other in _NUMBERS for other in beside) else known
        parts.append(f"(?P<{directive}>{packed})")
    return "^" + "".join(parts) + "$"


def _zoned_type() -> pa.DataType:
    import pyarrow as pa

    return pa.timestamp("us", "UTC")


def _naive_type() -> pa.DataType:
    import pyarrow as pa

    return pa.timestamp("us")
