"""Rows of a source as it gives them: the wanted columns, and where the rows stand."""

from __future__ import annotations

import difflib
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.data.forms import is_text
from airflow_mlops_provider.exceptions import DataError
from airflow_mlops_provider.spec.data import Csv

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pandas as pd
    import pyarrow as pa

    from airflow_mlops_provider.spec.data import Columns


@dataclass(frozen=True)
class Batch:
    """Some rows of a source.

    :param where: the file, reader or query, as an error names it.
    :param first_row: number of the first row, counted from 1.
    """

    table: pa.Table
    where: str
    first_row: int


@dataclass(frozen=True)
class Wanted:
    """What is read of a source.

    :param columns: those with a role; None for every column.
    :param beside: columns without a role of their own, such as the time of day of the timestamp.
    :param absent: columns that it need not hold.
    :param forbidden: columns that it must not hold.
    :param csv: how it writes values as text.
    """

    columns: Columns | None = None
    absent: frozenset[str] = frozenset()
    forbidden: frozenset[str] = frozenset()
    csv: Csv = field(default_factory=Csv)
    beside: tuple[str, ...] = ()

    @property
    def every(self) -> list[str]:
        """The columns that are requested by name; none when all are read."""
        return [] if self.columns is None else [*self.columns.all, *self.beside]

    def names(self, present: Sequence[str], where: str) -> list[str]:
        """Return the columns to read.

        :raises DataError: for a column that must not be there; for a missing column, with the nearest name that is
            there; for a column that is there twice.
        """
        if found := [name for name in present if name in self.forbidden]:
            raise DataError(
                f"{where} contains column {found[0]!r}, which data.privacy forbids", hint="Remove it from the source."
            )
        counts = Counter(present)
        wanted = list(counts)
        if self.columns is not None:
            wanted = [name for name in self.every if name in counts or name not in self.absent]
        if missing := [name for name in wanted if name not in counts]:
            raise _missing(missing, present, wanted, where)
        if twice := [name for name in wanted if counts[name] > 1]:
            raise DataError(f"{where} has column {twice[0]!r} more than once", got=list(present))
        return wanted

    def batch(self, table: pa.Table, where: str, first_row: int) -> Batch:
        """Return rows without the texts that are no value.

        :raises DataError: for bytes in a column of texts that are no UTF-8, with their row.
        """
        import pyarrow as pa

        columns = []
        for index, name in enumerate(table.column_names):
            values = _plain_texts(table[index])
            if is_text(values.type):
                _refuse_other_bytes(values, name, where, first_row)
                values = self._with_values(values)
            columns.append(values)
        return Batch(pa.table(columns, names=table.column_names), where, first_row)

    def _with_values(self, values: pa.ChunkedArray) -> pa.ChunkedArray:
        import pyarrow as pa
        import pyarrow.compute as pc

        gone = pc.is_in(values, value_set=pa.array(self.csv.missing, pa.string()))
        return pc.if_else(gone, pa.scalar(None, pa.string()), values) if pc.any(gone).as_py() else values


def _plain_texts(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts of any encoding as Arrow's usual ones, other values as they are."""
    import pyarrow as pa

    if pa.types.is_dictionary(values.type) and is_text(values.type.value_type):
        values = values.cast(values.type.value_type, safe=False)  # bytes that are no text are named later, by their row
    return values.cast(pa.string()) if is_text(values.type) and values.type != pa.string() else values


def _refuse_other_bytes(texts: pa.ChunkedArray, name: str, where: str, first_row: int) -> None:
    """Refuse bytes that are no UTF-8: Parquet's reader lets them pass as texts, and Python fails to show them."""
    import pyarrow as pa

    if _is_utf8(texts):
        return
    odd = bisect_left(range(len(texts)), True, key=lambda index: not _is_utf8(texts.slice(0, index + 1)))
    raise DataError(
        f"column {name!r}, row {first_row + odd} of {where} cannot be used",
        got=texts.slice(odd, 1).cast(pa.binary())[0].as_py(),
        expected="UTF-8 text",
        hint="Rewrite it as UTF-8.",
    )


def _is_utf8(texts: pa.ChunkedArray) -> bool:
    import pyarrow as pa

    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _missing(missing: list[str], present: Sequence[str], wanted: list[str], where: str) -> DataError:
    others = [name for name in present if name not in wanted]
    nearest = difflib.get_close_matches(missing[0], others, n=1)
    return DataError(
        f"{where} has no column " + ", ".join(repr(name) for name in missing),
        got=list(present),
        expected=wanted,
        hint=f"Did you mean {nearest[0]!r}?" if nearest else "Correct data.columns, or the source.",
    )


def read_frames(frames: Iterable[Any], where: str, wanted: Wanted) -> Iterator[Batch]:
    """Yield DataFrames or Arrow tables as batches.

    :raises DataError: for anything else, or a column that Arrow has no type for.
    """
    import pyarrow as pa

    row = 1
    for frame in frames:
        if isinstance(frame, pa.Table):
            table = frame.select(wanted.names(frame.column_names, where))
        else:
            table = _from_pandas(frame, where, wanted)
        yield wanted.batch(table, where, row)
        row += len(table)


def python_column(values: list[Any], name: str, where: str) -> pa.ChunkedArray:
    """Return Python values as an Arrow column: values of mixed types as texts, as a CSV file would have them.

    :raises DataError: for values of a kind that are no column.
    """
    import pyarrow as pa

    try:
        return pa.chunked_array([pa.array(values, from_pandas=True)])
    # The third is Arrow's error for objects of a kind that it has no type for.
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, ValueError, TypeError):
        pass
    try:
        texts = [_as_text(value) for value in values]
    except (TypeError, ValueError) as error:
        raise DataError(
            f"column {name!r} of {where} mixes lists or objects with other values",
            got=str(error),
            expected="numbers, text, timestamps or booleans",
            hint="Split it into plain columns, or leave it out of data.columns.",
        ) from error
    return pa.chunked_array([pa.array(texts, pa.string())])


def _as_text(value: Any) -> str | None:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, (list, dict, set, tuple, bytes)) or (hasattr(value, "__len__") and not isinstance(value, str)):
        raise TypeError(f"a value of type {type(value).__name__}")
    if isinstance(value, float):
        return None if value != value else str(int(value)) if value.is_integer() else repr(value)
    return str(value)


def _from_pandas(frame: Any, where: str, wanted: Wanted) -> pa.Table:
    import pandas as pd
    import pyarrow as pa

    if not isinstance(frame, pd.DataFrame):
        raise DataError(
            f"{where} did not return a table", got=type(frame).__name__, expected="a DataFrame or an Arrow table"
        )
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    names = wanted.names(list(frame.columns), where)
    return pa.table([_from_series(frame[name], name, where) for name in names], names=names)


def _from_series(series: pd.Series, name: str, where: str) -> pa.ChunkedArray:
    import pyarrow as pa

    if series.dtype == object:
        return python_column(series.tolist(), name, where)
    try:
        values = pa.Array.from_pandas(series)
    except (pa.ArrowException, TypeError, ValueError):
        return python_column(series.astype(object).tolist(), name, where)
    return values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])
