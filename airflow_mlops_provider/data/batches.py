"""Rows of a source as it gives them: the wanted columns, and where the rows stand."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pandas as pd
    import pyarrow as pa

    from airflow_mlops_provider.spec.sections import Columns


@dataclass(frozen=True)
class Batch:
    """Some rows of a source.

    :param where: the file, reader or query, as an error names it.
    :param first_row: number of the first row, counted from 1.
    """

    table: pa.Table
    where: str
    first_row: int


def read_frames(
    frames: Iterable[Any],
    where: str,
    columns: Columns,
    absent: frozenset[str] = frozenset(),
    forbidden: frozenset[str] = frozenset(),
) -> Iterator[Batch]:
    """Yield DataFrames or Arrow tables as batches.

    :param absent: columns that a frame need not hold.
    :param forbidden: columns that it must not hold.
    :raises DataError: for anything else, or a column that mixes types.
    """
    import pyarrow as pa

    row = 1
    for frame in frames:
        table = frame if isinstance(frame, pa.Table) else _from_pandas(frame, where, row, columns, absent, forbidden)
        wanted = wanted_columns(table.column_names, columns, where, absent, forbidden)
        yield Batch(table.select(wanted), where, row)
        row += len(table)


def wanted_columns(
    present: Sequence[str],
    columns: Columns,
    where: str,
    absent: frozenset[str] = frozenset(),
    forbidden: frozenset[str] = frozenset(),
) -> list[str]:
    """Return the columns to read.

    :raises DataError: for a column that must not be there; for a missing column, with the nearest name that is there;
        for a column that is there twice.
    """
    if found := [name for name in present if name in forbidden]:
        raise DataError(
            f"{where} holds column {found[0]!r}, which data.privacy forbids", hint="Take it out of the source."
        )
    wanted = [name for name in columns.all if name in present or name not in absent]
    if missing := [name for name in wanted if name not in present]:
        others = [name for name in present if name not in columns.all]
        nearest = difflib.get_close_matches(missing[0], others, n=1)
        raise DataError(
            f"{where} has no column " + ", ".join(repr(name) for name in missing),
            got=list(present),
            expected=columns.all,
            hint=f"Did you mean {nearest[0]!r}?" if nearest else "Correct data.columns, or the source.",
        )
    if twice := [name for name in wanted if list(present).count(name) > 1]:
        raise DataError(f"{where} has column {twice[0]!r} more than once", got=list(present))
    return wanted


def python_column(values: list[Any], name: str, where: str, first_row: int, *, as_text: bool) -> pa.Array:
    """Return Python values as one Arrow array.

    :param as_text: take values of mixed types as text, as a category or a key does.
    :raises DataError: for mixed types otherwise.
    """
    import pyarrow as pa

    try:
        return pa.array(values, from_pandas=True)
    # The third is Arrow's error for objects of a kind that it has no type for.
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as error:
        if as_text:
            return pa.array([None if _is_missing(value) else str(value) for value in values], pa.string())
        index, expected = _odd_one(values)
        raise DataError(
            f"column {name!r}, row {first_row + index} of {where} differs in type from the rest of its column",
            got=values[index],
            expected=expected,
        ) from error


def _from_pandas(
    frame: Any, where: str, first_row: int, columns: Columns, absent: frozenset[str], forbidden: frozenset[str]
) -> pa.Table:
    import pandas as pd
    import pyarrow as pa

    if not isinstance(frame, pd.DataFrame):
        raise DataError(
            f"{where} gave what is not a table", got=type(frame).__name__, expected="a DataFrame or an Arrow table"
        )
    wanted = wanted_columns([str(name) for name in frame.columns], columns, where, absent, forbidden)
    text = {*columns.categorical, *columns.keys, *columns.groups}
    arrays = [_from_series(frame[name], name, where, first_row, as_text=name in text) for name in wanted]
    return pa.table(arrays, names=wanted)


def _from_series(series: pd.Series, name: str, where: str, first_row: int, *, as_text: bool) -> pa.Array:
    import pyarrow as pa

    if series.dtype == object:
        return python_column(series.tolist(), name, where, first_row, as_text=as_text)
    return pa.Array.from_pandas(series)


def _odd_one(values: list[Any]) -> tuple[int, str]:
    """Return the index of the first value of the rarer kind, and what the others are."""
    numbers = [isinstance(value, (int, float)) for value in values]
    present = [not _is_missing(value) for value in values]
    mostly_numbers = sum(numbers) * 2 >= sum(present)
    for index, is_number in enumerate(numbers):
        if present[index] and is_number != mostly_numbers:
            return index, "a number" if mostly_numbers else "text"
    return 0, "values of one type"


def _is_missing(value: Any) -> bool:
    return value is None or bool(value != value)  # NaN and NaT alone differ from themselves
