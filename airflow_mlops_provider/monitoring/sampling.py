"""One pass over a table: counts of every row, and a bounded sample of them.

A table is read by row group with pre-buffering off, and only the requested columns, so memory holds one row group and
the sample, however many rows there are. The sample is deterministic: the table is cut into as many stretches as rows
are wanted, and one row is drawn from each, so that it is spread evenly in time and no period of the data can hide.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from airflow_mlops_provider.data.tables import iter_tables, table_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from airflow_mlops_provider.results import ArtifactRef
    from airflow_mlops_provider.storage import ArtifactStore

Kind = Literal["numeric", "categorical"]

#: Distinct values of a category that are counted by name; what comes later is counted together.
MAX_CATEGORIES = 20_000


@dataclass
class Observed:
    """One column of one table.

    :param rows: rows of the table.
    :param missing: nulls and NaN among them.
    :param infinite: values that are infinite.
    :param low: smallest finite number of all rows; None for a category, or when there is none.
    :param outside: finite numbers that lie outside the given range.
    :param counts: rows by category, the first `MAX_CATEGORIES` met.
    :param uncounted: rows of categories beyond those.
    :param sample: float64 with NaN for what is missing, or text with None.
    """

    kind: Kind
    rows: int = 0
    missing: int = 0
    infinite: int = 0
    low: float | None = None
    high: float | None = None
    outside: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    uncounted: int = 0
    sample: NDArray[Any] | None = None

    @property
    def missing_share(self) -> float:
        """Share of the rows without a usable value: missing or infinite."""
        return (self.missing + self.infinite) / self.rows if self.rows else 0.0

    @property
    def empty(self) -> bool:
        """Whether no row has a usable value."""
        return self.missing + self.infinite == self.rows

    @property
    def constant(self) -> bool:
        """Whether every usable value is the same."""
        if self.empty:
            return False
        return self.low == self.high if self.kind == "numeric" else len(self.counts) + bool(self.uncounted) == 1

    def values(self) -> NDArray[Any]:
        """Return the sampled values that are there: finite numbers, or text."""
        import numpy as np

        if self.sample is None:
            return np.empty(0)
        usable: NDArray[Any] = self.sample[self.present()]
        return usable

    def present(self) -> NDArray[Any]:
        """Return which sampled rows have a usable value."""
        import numpy as np

        if self.sample is None:
            return np.empty(0, bool)
        return np.asarray(np.isfinite(self.sample) if self.kind == "numeric" else self.sample != np.array(None))

    def absent(self) -> NDArray[Any]:
        """Return which sampled rows have none."""
        return ~self.present()


@dataclass(frozen=True)
class Survey:
    """A table as far as drift needs to know it.

    :param sampled: rows in the sample.
    :param moments: of the sampled rows, in microseconds since 1970; None when they were not requested.
    """

    rows: int
    sampled: int
    columns: dict[str, Observed]
    moments: NDArray[Any] | None = None


def survey(
    store: ArtifactStore,
    ref: ArtifactRef,
    kinds: Mapping[str, Kind],
    size: int,
    seed: int,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    timestamp: str | None = None,
) -> Survey:
    """Read some columns of a table.

    :param kinds: the columns, each of a type that `fits` its kind.
    :param size: rows of the sample.
    :param ranges: by numeric column, the range outside which values are counted.
    :param timestamp: the column that says when each row was.
    """
    import numpy as np

    rows = table_rows(store, ref)
    positions = sample_positions(rows, size, seed)
    found = {name: Observed(kind) for name, kind in kinds.items()}
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in kinds}
    moments: list[NDArray[Any]] = []
    read = [*kinds, *([timestamp] if timestamp else [])]
    start = 0
    for table in iter_tables(store, ref, read) if read else ():
        first, last = np.searchsorted(positions, [start, start + len(table)])
        chosen = positions[first:last] - start
        for name, observed in found.items():
            if observed.kind == "numeric":
                parts[name].append(_count_numbers(observed, table[name], (ranges or {}).get(name))[chosen])
            else:
                _count_categories(observed, table[name])
                parts[name].append(_text(table[name].take(chosen)))
        if timestamp:
            moments.append(_microseconds(table[timestamp].take(chosen)))
        start += len(table)
    for name, observed in found.items():
        observed.sample = np.concatenate(parts[name]) if parts[name] else np.empty(0)
    return Survey(rows, len(positions), found, np.concatenate(moments) if moments else None)


def sample_positions(rows: int, size: int, seed: int) -> NDArray[Any]:
    """Return at most `size` ascending row numbers, one from each of `size` equal stretches.

    >>> sample_positions(3, 10, seed=0).tolist()
    [0, 1, 2]
    >>> [int(position) // 100 for position in sample_positions(1000, 10, seed=0)]
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    import numpy as np

    if rows <= size:
        return np.arange(rows)
    edges = np.arange(size + 1, dtype=np.int64) * rows // size
    inside = np.random.default_rng(seed).random(size) * np.diff(edges)
    positions: NDArray[Any] = edges[:-1] + inside.astype(np.int64)
    return positions


def fits(kind: Kind, type_: pa.DataType) -> bool:
    """Return whether a stored column can be read as numbers, or as categories."""
    import pyarrow as pa

    types = pa.types
    if types.is_null(type_):
        return True
    if kind == "numeric":
        return bool(
            types.is_integer(type_) or types.is_floating(type_) or types.is_decimal(type_) or types.is_boolean(type_)
        )
    value = type_.value_type if types.is_dictionary(type_) else type_
    return bool(
        types.is_string(value) or types.is_large_string(value) or types.is_integer(value) or types.is_boolean(value)
    )


def _count_numbers(observed: Observed, column: pa.ChunkedArray, bounds: tuple[float, float] | None) -> NDArray[Any]:
    """Count one row group and return it as float64."""
    import numpy as np
    import pyarrow as pa

    values: NDArray[Any] = column.cast(pa.float64(), safe=False).to_numpy()
    finite = values[np.isfinite(values)]
    missing = int(np.isnan(values).sum())
    observed.rows += len(values)
    observed.missing += missing
    observed.infinite += len(values) - missing - len(finite)
    if len(finite):
        low, high = float(finite.min()), float(finite.max())
        observed.low = low if observed.low is None else min(low, observed.low)
        observed.high = high if observed.high is None else max(high, observed.high)
        if bounds is not None and (low < bounds[0] or high > bounds[1]):
            observed.outside += int(((finite < bounds[0]) | (finite > bounds[1])).sum())
    return values


def _microseconds(column: pa.ChunkedArray) -> NDArray[Any]:
    import pyarrow as pa

    moments: NDArray[Any] = column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64()).to_numpy()
    return moments


def _count_categories(observed: Observed, column: pa.ChunkedArray) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    observed.rows += len(column)
    observed.missing += column.null_count
    counted = pc.value_counts(column.drop_null())
    names = counted.field("values")
    if pa.types.is_dictionary(names.type):
        names = names.dictionary_decode()
    for name, count in zip(names.cast(pa.string()).to_pylist(), counted.field("counts").to_pylist(), strict=True):
        if name in observed.counts or len(observed.counts) < MAX_CATEGORIES:
            observed.counts[name] = observed.counts.get(name, 0) + count
        else:
            observed.uncounted += count


def _text(column: pa.ChunkedArray) -> NDArray[Any]:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    values: NDArray[Any] = column.cast(pa.string()).to_numpy()
    return values
