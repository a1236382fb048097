"""What a text looks like: a number, a moment, an id, a missing value. `init` and ingest ask here, and nowhere else.

A reader gives texts as the source has them. What they are is decided by their role (`conversion`), or by what all of
them look like (`drafting`), by the same functions: numbers with a thousands sign, a decimal comma, a currency or per
cent sign; moments; texts that are no value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.data.moments import Moments, moments_in_numbers, moments_in_texts
from airflow_mlops_provider.exceptions import shorten
from airflow_mlops_provider.spec.data import Csv
from airflow_mlops_provider.spec.dates import EPOCHS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

#: What is no value where a number or a moment belongs; as text it may be one: Namibia's code is NA.
NO_VALUE = (
    "", "NA", "N/A", "n/a", "na", "#N/A", "#NA", "NaN", "nan", "-NaN", "-nan", "NULL", "null", "Null", "None", "none",
    "NaT", "<NA>", "1.#QNAN", "-1.#IND",
)  # fmt: skip
_UNITS = "[$€£¥%]"
_CODE = r"^[+-]?(?:0[0-9]|[0-9]{19})[0-9]*$"
_TIME_OF_DAY = r"^(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:[.][0-9]+)?)?$"
_MISFITS_SHOWN, _MISFITS_HELD = 3, 20
_ROWS_SHOWN = 5
#: Up to here a 64-bit float tells whole numbers apart.
EXACT = 2**53


@dataclass(frozen=True)
class Misfits:
    """Values of one column that are not what the others are.

    :param texts: some of them, each once.
    :param rows: of the first of them, in the source.
    :param first: index of the first.
    """

    count: int
    of: int
    texts: Sequence[str]
    rows: Sequence[int]
    first: int = 0

    def words(self, what: str) -> str:
        """Return how many they are, and which.

        >>> Misfits(3, 60, [" "], [1, 21, 41]).words("numbers")
        "3 of 60 values are not numbers: ' ' (rows 1, 21, 41)"
        """
        texts = ", ".join(repr(shorten(text, 40)) for text in self.texts[:_MISFITS_SHOWN])
        texts += ", …" if len(self.texts) > _MISFITS_SHOWN else ""
        rows = ", ".join(str(row) for row in self.rows) + (", …" if self.count > len(self.rows) else "")
        are = f"is not a {what.removesuffix('s')}" if self.count == 1 else f"are not {what}"
        return f"{self.count} of {self.of} values {are}: {texts} (row{'s' if self.count > 1 else ''} {rows})"


@dataclass
class Forms:
    """How a source writes its values, and what one reading has found of its columns.

    :param units: the currency or per cent sign of each column of numbers.
    :param classes: the type of the target's classes, by its column.
    """

    csv: Csv = field(default_factory=Csv)
    units: dict[str, str] = field(default_factory=dict)
    classes: dict[str, pa.DataType] = field(default_factory=dict)

    def numbers(self, name: str, texts: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return a column of texts as float64; what is no number is missing, as `misfits` finds."""
        import pyarrow as pa

        texts = self.with_values(texts)
        if self.csv.decimal == "." and self.csv.thousands != "." and not self.units.get(name):
            try:
                found = texts.cast(pa.float64())
            except pa.ArrowInvalid:
                pass
            else:
                if found.null_count < len(found):
                    self.units[name] = ""
                return found
        found, self.units[name] = numbers_in(texts, self.csv, self.units.get(name))
        return found

    def typed(self, name: str, texts: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return texts as what all of them are: whole or other numbers, truth values, moments, times; else as texts.

        Codes stay texts: digits that begin with a zero, or are more than a whole number has room for.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        present = self.with_values(texts).drop_null()
        if not len(present):
            return texts
        if not pc.any(pc.match_substring_regex(present, _CODE)).as_py():
            numbers = Forms(self.csv).numbers(name, texts)
            if numbers.null_count == len(texts) - len(present):
                return self._whole(present, numbers)
        if pc.all(pc.match_substring_regex(present, "^(?i:true|false)$")).as_py():
            return self.with_values(texts).cast(pa.bool_())
        moments = self.moments(texts)
        for found in (moments.zoned, moments.naive):
            if found.null_count == len(texts) - len(present):
                return found
        if pc.all(pc.match_substring_regex(present, _TIME_OF_DAY)).as_py():
            clock = pc.utf8_slice_codeunits(self.with_values(texts), 0, len("18:05:00.123456"))
            moments_of_one_day = pc.binary_join_element_wise("1970-01-01", clock, " ")
            return moments_of_one_day.cast(pa.timestamp("us")).cast(pa.time64("us"))
        return texts

    def _whole(self, present: pa.ChunkedArray, numbers: pa.ChunkedArray) -> pa.ChunkedArray:
        import pyarrow as pa
        import pyarrow.compute as pc

        point = re.escape(self.csv.decimal)
        fraction = pc.any(pc.match_substring_regex(present, f"(?i)[0-9]e[+-]?[0-9]|{point}|inf|%")).as_py()
        return numbers if fraction else numbers.cast(pa.int64())

    def moments(self, values: pa.ChunkedArray) -> Moments:
        """Return the moments in texts, or in numbers where `dates` says how to read them."""
        import pyarrow.compute as pc

        if is_text(values.type):
            return moments_in_texts(self.with_values(values), self.csv.dates)
        if self.csv.dates in EPOCHS:
            return moments_in_numbers(values, str(self.csv.dates))
        return moments_in_texts(pc.replace_substring_regex(exact_text(values), r"[.]0*$", ""), self.csv.dates)

    def with_values(self, texts: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return texts without those that are no value where a number or a moment belongs."""
        import pyarrow as pa
        import pyarrow.compute as pc

        return pc.if_else(pc.is_in(texts, value_set=pa.array(NO_VALUE)), pa.scalar(None, texts.type), texts)

    def misfits(self, texts: pa.ChunkedArray, fits: pa.ChunkedArray, rows: pa.Array | None = None) -> Misfits | None:
        """Return which texts are there and do not fit; None when all do.

        :param fits: whether each does.
        :param rows: the row number of each in the source; counted from 1 when left out.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        present = pc.is_valid(self.with_values(texts) if is_text(texts.type) else texts)
        odd = pc.indices_nonzero(pc.and_not(present, fits))
        if not len(odd):
            return None
        shown = [str(value) for value in texts.take(odd).unique()[:_MISFITS_HELD].to_pylist()]
        numbers = pc.add(odd[:_ROWS_SHOWN].cast(pa.int64()), 1) if rows is None else rows.take(odd[:_ROWS_SHOWN])
        return Misfits(len(odd), pc.sum(present).as_py(), shown, numbers.to_pylist(), odd[0].as_py())


def numbers_in(texts: pa.ChunkedArray, csv: Csv, unit: str | None = None) -> tuple[pa.ChunkedArray, str]:
    """Return the numbers in texts as float64, missing where a text is none, and their sign of a currency or per cent.

    :param unit: the sign of those before: empty when they had none, None when there are none before.

    >>> import pyarrow as pa
    >>> numbers_in(pa.chunked_array([["$1,284.5", "-$7", "€3"]]), Csv(thousands=","))[0].to_pylist()
    [1284.5, -7.0, None]
    >>> numbers_in(pa.chunked_array([["1.284,5", "1.5"]]), Csv(decimal=",", thousands="."))[0].to_pylist()
    [1284.5, None]
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pc.extract_regex(texts, _number_pattern(csv.decimal, csv.thousands))
    before, after, digits = (pc.struct_field(found, name) for name in ("before", "after", "digits"))
    units = pc.binary_join_element_wise(before, after, "")
    present = units.filter(pc.fill_null(pc.not_equal(units, ""), False))
    first = present[0].as_py() if len(present) else ""
    # A sum without its currency may be one; a share without its sign may be 0.05 or 5.
    unit = unit or ("" if unit == "" and first == "%" else first)
    fits = pc.equal(units, unit)
    fits = fits if unit == "%" else pc.or_(fits, pc.equal(units, ""))
    if csv.thousands is not None:
        digits = pc.replace_substring_regex(digits, _group_sign(csv.thousands), "")
    if csv.decimal == ",":
        digits = pc.replace_substring(digits, ",", ".")
    signs = pc.binary_join_element_wise(pc.struct_field(found, "sign"), pc.struct_field(found, "late"), "")
    fits = pc.and_(fits, pc.less(pc.utf8_length(signs), 2))
    written = pc.if_else(fits, pc.binary_join_element_wise(signs, digits, ""), pa.scalar(None, pa.string()))
    return written.cast(pa.float64()), unit


@cache
def _number_pattern(decimal: str, thousands: str | None) -> str:
    whole = "[0-9]+"
    if thousands is not None:
        whole = f"(?:[0-9]{{1,3}}(?:{_group_sign(thousands)}[0-9]{{3}})+|[0-9]+)"
    point = re.escape(decimal)
    digits = f"(?:{whole}(?:{point}[0-9]*)?|{point}[0-9]+)(?:[eE][+-]?[0-9]+)?|(?i:inf(?:inity)?)"
    return (
        rf"^[\s\x{{a0}}]*(?P<sign>[+-]?)\s*(?P<before>[$€£¥]?)[\s\x{{a0}}]*(?P<late>[+-]?)(?P<digits>{digits})"
        rf"[\s\x{{a0}}]*(?P<after>{_UNITS}?)[\s\x{{a0}}]*$"
    )


def _group_sign(thousands: str) -> str:
    # A space between digits is written in three ways.
    return r"[ \x{a0}\x{202f}]" if thousands == " " else re.escape(thousands)


def exact_text(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return numbers as texts, none of which has lost a digit: whole ones without a point or an exponent.

    >>> import pyarrow as pa
    >>> exact_text(pa.chunked_array([[4006381333931.0, 0.5]])).to_pylist()
    ['4006381333931', '0.5']
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if pa.types.is_floating(kind):
        wide = values.cast(pa.float64())
        whole = pc.and_(pc.equal(pc.floor(wide), wide), pc.less_equal(pc.abs(wide), float(EXACT)))
        digits = pc.if_else(whole, wide, None).cast(pa.int64()).cast(pa.string())
        return pc.coalesce(digits, values.cast(pa.string()))
    if pa.types.is_decimal(kind):
        if kind.scale < 0:
            values = values.cast(pa.decimal256(76, 0))
        # 7.00 and 7.0 are one number, of drivers that give each value a scale of its own.
        text = values.cast(pa.string())
        return pc.replace_substring_regex(text, r"^(-?[0-9]+)(?:[.]0*|([.][0-9]*[1-9])0*)$", r"\1\2")
    return values.cast(pa.string())


def is_text(kind: Any) -> bool:
    """Return whether values of an Arrow type are texts."""
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
