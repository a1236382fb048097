"""Which setting of `data.source.csv` would read what the given one does not: for `init`, and for advice in errors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_mlops_provider.data.forms import Forms, Misfits, exact_text, is_text
from airflow_mlops_provider.data.moments import date_pattern
from airflow_mlops_provider.spec.data import Csv
from airflow_mlops_provider.spec.dates import EPOCHS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

#: Decimal and thousands signs, in order of preference.
NUMBERS = ((".", None), (".", ","), (",", None), (",", "."), (".", " "), (",", " "), (".", "'"), (",", "'"))
_DAYS = (
    "%d.%m.%Y", "%d.%m.%y", "%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y", "%Y/%m/%d", "%Y.%m.%d", "%d-%m-%Y",
    "%m-%d-%Y", "%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%Y%m%d",
)  # fmt: skip
_TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p", " %I:%M%p", "T%H:%M:%S")
_COMPACT = ("%Y%m%d%H%M%S", "%Y%m%dT%H%M%S", "%Y%m%dT%H%M%S%z")
#: What people write where they have no value.
PLACEHOLDERS = re.compile(
    r"\s*|[?*._#-]+|(n\.?[/ ]?[av]\.?|n/d|nd|k\.?\s?a\.?|none|nil|null|missing|unknown|unbekannt|not available"
    r"|not applicable|empty|blank|#ref!|#value!|#div/0!|#n/a|\(null\)|\\n|-?9999?|tbd)",
    re.I,
)
_LOOKED_AT = 1000
_ROWS_LOOKED_AT = 50_000
_EXAMPLES = 20
_MANY = 12
_LEAST_DATE = 19_000_101
_ENDS_DATE = re.compile(r"\d.*([ap]\.?m\.?|z)$", re.I)
_NAMED_ZONE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d ?[A-Z]{3,4}")
_EPOCH_SPAN = (946_684_800, 2_208_988_800)  # the years 2000 to 2039


def advice_on_numbers(texts: pa.ChunkedArray, csv: Csv) -> str:
    """Return what to set so that all texts are numbers."""
    for decimal, thousands in NUMBERS:
        other = csv.model_copy(update={"decimal": decimal, "thousands": thousands})
        if other != csv and fits_numbers(texts, other) is None:
            return f"Set data.source.csv.{_differing(csv, other)}."
    return "Correct the source, or add texts that stand for a missing value to data.source.csv.missing."


def advice_on_dates(values: pa.ChunkedArray, csv: Csv) -> str | None:
    """Return what to set so that values are moments; None when nothing helps."""
    found = [dates for dates in dates_that_fit(values) if dates != csv.dates]
    if not found:
        return None
    names = " or ".join(repr(dates) if dates else "nothing" for dates in found)
    return f"Set data.source.csv.dates to {names}" + (", whichever is right." if len(found) > 1 else ".")


def fits_numbers(texts: pa.ChunkedArray, csv: Csv) -> Misfits | None:
    """Return which texts are no numbers of a form."""
    import pyarrow.compute as pc

    forms = Forms(csv)
    return forms.misfits(texts, pc.is_valid(forms.numbers("", texts)))


def guess_numbers(columns: Mapping[str, pa.ChunkedArray], csv: Csv, why: list[str]) -> Csv:
    """Return a form by which the most columns of texts are numbers.

    :param why: takes a sentence when it is not the given one.
    """
    samples = {name: _sample(texts) for name, texts in columns.items()}
    usual = [name for name, texts in samples.items() if _are_numbers(texts, csv)]
    others = [name for name, texts in samples.items() if name not in set(usual) and len(texts)]
    best, gained, lost = csv, list[str](), list[str]()
    for form in _in_order(csv) if others else ():
        other = csv.model_copy(update={"decimal": form[0], "thousands": form[1]})
        if len(found := [name for name in others if _are_numbers(samples[name], other)]) <= len(gained):
            continue
        left = [name for name in usual if not _are_numbers(samples[name], other)]
        if len(found) - len(left) > len(gained) - len(lost):
            best, gained, lost = other, found, left
    if gained:
        example = next(text for text in samples[gained[0]].to_pylist() if not re.fullmatch(r"[+-]?\d*", text.strip()))
        why.append(f"{len(gained)} numeric columns use this format, such as {example!r} in {gained[0]!r}")
        why.extend(f"but {name!r} does not" for name in lost[:1])
    return best


def guess_placeholders(columns: Mapping[str, pa.ChunkedArray], csv: Csv, why: list[str]) -> Csv:
    """Return the form with the texts that stand where numbers or moments have no value.

    :param why: takes a sentence for each column.
    """
    missing = list(csv.missing)
    for name, texts in columns.items():
        found = _few_odd(texts, csv)
        if found is None or not found.placeholders:
            continue
        why.append(f"{name!r}: {found.words}")
        missing += [text for text in found.odd.texts if text not in missing]
    return csv.model_copy(update={"missing": missing})


def odd_ones(texts: pa.ChunkedArray, csv: Csv) -> str | None:
    """Return which few texts are the reason that a column is none of numbers or moments; None for other texts."""
    found = _few_odd(texts, csv)
    return None if found is None or not found.many else found.words


@dataclass(frozen=True)
class _FewOdd:
    """Some texts by which a column is no numbers, or no moments, though most of it is.

    :param many: of the others there are too many for a category, as with `3` or `more`.
    """

    odd: Misfits
    what: str
    many: bool

    @property
    def words(self) -> str:
        return self.odd.words(self.what)

    @property
    def placeholders(self) -> bool:
        return all(PLACEHOLDERS.fullmatch(text) for text in self.odd.texts)


def _few_odd(texts: pa.ChunkedArray, csv: Csv) -> _FewOdd | None:
    import pyarrow.compute as pc

    forms = Forms(csv)
    for what in ("numbers", "timestamps"):
        read = pc.is_valid(forms.numbers("", texts)) if what == "numbers" else forms.moments(texts).read
        odd = forms.misfits(texts, read)
        if odd is None:
            return None
        if odd.count * 2 < odd.of:
            return _FewOdd(odd, what, pc.count_distinct(texts.filter(read)).as_py() > _MANY)
    return None


def _sample(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    return Forms().with_values(texts.slice(0, _ROWS_LOOKED_AT).unique()).drop_null()[:_LOOKED_AT]


def _in_order(csv: Csv) -> list[tuple[str, str | None]]:
    # Who separates fields by semicolons does so because of the commas in numbers.
    commas = sorted(NUMBERS, key=lambda form: form[0] != ",") if csv.separator == ";" else NUMBERS
    return list(dict.fromkeys([(csv.decimal, csv.thousands), *commas]))


def _are_numbers(texts: pa.ChunkedArray, csv: Csv) -> bool:
    """Return whether texts are numbers of a form, but for those that people write where there is none."""
    odd = fits_numbers(texts, csv)
    if odd is None:
        return len(texts) > 0
    return odd.count * 2 < odd.of and all(PLACEHOLDERS.fullmatch(text) for text in odd.texts)


def dates_that_fit(values: pa.ChunkedArray) -> list[str | None]:
    """Return the forms of which every value is a moment.

    >>> import pyarrow as pa
    >>> dates_that_fit(pa.chunked_array([["1/2/2024", "3/2/2024"]]))
    ['%m/%d/%Y', '%d/%m/%Y']
    """
    return [dates for dates, odd in guess_dates(values) if odd is None]


def guess_dates(values: pa.ChunkedArray) -> list[tuple[str | None, Misfits | None]]:
    """Return the forms of which the most values are moments, at least half of them, and which values are none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = _as_texts(values)
    if texts is None:
        return []
    counted = pc.value_counts(Forms().with_values(texts.slice(0, _ROWS_LOOKED_AT)).drop_null())[:_LOOKED_AT]
    present, counts = pa.chunked_array([counted.field("values")]), counted.field("counts")
    examples = [text.strip() for text in present[:_EXAMPLES].to_pylist()]
    fits: dict[str | None, int] = {}
    for dates in _candidates(examples):
        read = Forms(Csv(dates=dates)).moments(present).read.combine_chunks()
        plausible = dates not in EPOCHS or _plausible_epoch(present, dates)
        fits[dates] = (pc.sum(counts.filter(read)).as_py() or 0) if plausible else 0
    best = max(fits.values(), default=0)
    if best * 2 <= (pc.sum(counts).as_py() or 0):
        return []
    return [(dates, _odd_moments(texts, dates)) for dates, count in fits.items() if count == best]


def _odd_moments(texts: pa.ChunkedArray, dates: str | None) -> Misfits | None:
    forms = Forms(Csv(dates=dates))
    return forms.misfits(texts, forms.moments(texts).read)


def _candidates(examples: Sequence[str]) -> Iterator[str | None]:
    """Yield the forms that any of some texts may be of."""
    yield None
    for example in examples:
        if _NAMED_ZONE.fullmatch(example):
            yield f"%Y-%m-%d{example[10]}%H:%M:%S{example[19:]}"
            return
    if any(example.isdigit() for example in examples):
        yield from EPOCHS
    examples = [example for example in examples if example[-1:].isdigit() or _ENDS_DATE.search(example)]
    for dates in (*_COMPACT, *(day + time for day in _DAYS for time in _TIMES)):
        if any(re.match(date_pattern(dates), example) for example in examples):
            yield dates


def _as_texts(values: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return texts, or numbers as texts; None where none can be a date: they are too small, or fractions."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if is_text(kind):
        return values
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return None
    least = pc.min(values.cast(pa.float64(), safe=False)).as_py()
    return exact_text(values) if least is not None and least >= _LEAST_DATE else None


def _plausible_epoch(values: pa.ChunkedArray, dates: str) -> bool:
    """Return whether numbers are moments of our time, counted in that unit."""
    import pyarrow as pa
    import pyarrow.compute as pc

    forms = Forms(Csv(dates=dates))
    bounds = pc.min_max(forms.moments(values).zoned.cast(pa.int64())).as_py()
    low, high = (second * 1_000_000 for second in _EPOCH_SPAN)
    return bounds["min"] is not None and low <= bounds["min"] and bounds["max"] < high


def _differing(csv: Csv, other: Csv) -> str:
    found: Sequence[str] = [name for name in ("decimal", "thousands") if getattr(csv, name) != getattr(other, name)]
    return " and ".join(f"{name} to {getattr(other, name)!r}" for name in found)
