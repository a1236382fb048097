"""From batches of a source to the snapshot: what may be seen at `as_of`, typed, sorted, stored.

Rows from `as_of` on are the future. Rows from `as_of - label_delay` on have no label yet: training on them
would be training on what nobody knew at `as_of`. Both are left out and counted. Scoring asks for no labels: its rows
go up to `as_of`, and their target is kept as far as it is known.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.as_of import in_utc
from airflow_mlops_provider.data.conversion import Column, to_category, to_key, to_label, to_moment, to_number
from airflow_mlops_provider.data.forms import Forms
from airflow_mlops_provider.data.tables import ROW_GROUP_ROWS, TableInfo, write_table
from airflow_mlops_provider.data.time_of_day import with_time_of_day
from airflow_mlops_provider.exceptions import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa
    from pydantic import JsonValue

    from airflow_mlops_provider.data.batches import Batch
    from airflow_mlops_provider.data.privacy import Shield
    from airflow_mlops_provider.results import ArtifactRef
    from airflow_mlops_provider.spec import Data, Task
    from airflow_mlops_provider.storage import ArtifactStore


class OutOfOrderError(Exception):
    """A batch begins before the last one ended."""


class Intake:
    """One reading of a source, and the count of what was kept and left out.

    :param start: rows before are left out; None for no such limit.
    :param labelled: every row needs its target, and time for it: rows of the last `label_delay` are left out.
    :param without: stretches of time, from and until, whose rows are left out, since their data was broken.
    :param hashing: hashes keys and categories that must not be stored as they are.
    """

    def __init__(
        self,
        task: Task,
        data: Data,
        as_of: datetime,
        *,
        start: datetime | None = None,
        labelled: bool = True,
        hashing: Shield | None = None,
        without: Sequence[tuple[datetime, datetime]] = (),
    ) -> None:
        self.task = task
        self.data = data
        self.as_of = in_utc(as_of)
        self.start = None if start is None else in_utc(start)
        self.labelled = labelled
        self.hashing = hashing
        self.end = self.as_of - data.label_delay if labelled else self.as_of
        self.rows = 0
        self.excluded = {"future": 0, "unlabelled": 0, "older": 0, **({"incident": 0} if without else {})}
        self.without = [(in_utc(start), in_utc(end)) for start, end in without]
        self.seen: tuple[datetime, datetime] | None = None
        self.span: tuple[datetime, datetime] | None = None
        self._forms = Forms(data.source.csv)
        self._order = [*([data.columns.timestamp] if data.columns.timestamp else []), *data.columns.keys]

    def store_in_order(self, batches: Iterable[Batch], store: ArtifactStore) -> ArtifactRef:
        """Store batches that follow each other in time, holding one of them at a time.

        :raises OutOfOrderError: when they do not; nothing is stored then.
        :raises DataError: for rows that cannot be used, or when none is left.
        """
        return self._store(self._in_order(self._typed(batches)), store)

    def store_sorted(self, batches: Iterable[Batch], store: ArtifactStore) -> ArtifactRef:
        """Store batches in any order, holding all of them.

        :raises DataError: for rows that cannot be used, or when none is left.
        """
        import pyarrow as pa

        tables = list(self._typed(batches))
        return self._store(iter([self._sorted(pa.concat_tables(tables))] if tables else []), store)

    def try_batch(self, batch: Batch | None) -> int:
        """Return how many rows of a batch are kept, once they are typed; nothing is stored.

        :raises DataError: for rows that cannot be used.
        """
        return sum(len(table) for table in self._typed([] if batch is None else [batch]))

    def facts(self) -> dict[str, JsonValue]:
        """Return the counts, and the first and last timestamp that were kept."""
        first, last = (None, None) if self.span is None else (moment.isoformat() for moment in self.span)
        return {"rows": self.rows, "first": first, "last": last, "excluded": dict(self.excluded)}

    def _store(self, tables: Iterator[pa.Table], store: ArtifactStore) -> ArtifactRef:
        import pyarrow as pa

        first = next(tables, None)
        if first is None:
            raise self._nothing_left()
        text = {*self.data.columns.categorical, *self.data.columns.groups, self.data.columns.target}
        encoded = pa.dictionary(pa.int32(), pa.string())
        schema = pa.schema(
            (field.name, encoded if field.name in text and field.type == pa.string() else field.type)
            for field in first.schema
        )
        groups = (_encode(group, schema) for group in _regroup(chain([first], tables)))
        info = TableInfo(task=self.task, columns=self.data.columns, label_delay=self.data.label_delay)
        return write_table(store, groups, schema, info)

    def _typed(self, batches: Iterable[Batch]) -> Iterator[pa.Table]:
        """Yield the rows of each batch that are kept, typed and sorted."""
        import pyarrow as pa

        schema = None
        for batch in batches:
            table, rows = self._visible(batch)
            if not len(table):
                continue
            values = {
                name: self._convert(Column(name, table[name], batch.where, rows, self._forms))
                for name in self.data.columns.all
                if name in table.column_names
            }
            if not self.labelled:
                self._settle_labels(values, len(table), schema)
            typed = pa.table(values)
            schema = schema or typed.schema
            if typed.schema != schema:
                raise _retyped(typed.schema, schema, batch)
            self.rows += len(typed)
            yield self._sorted(typed)

    def _visible(self, batch: Batch) -> tuple[pa.Table, pa.Array]:
        """Return the rows that may be seen at as_of, timestamps converted, and their numbers in the source."""
        import pyarrow as pa
        import pyarrow.compute as pc

        table, name = batch.table, self.data.columns.timestamp
        rows = pa.arange(batch.first_row, batch.first_row + len(table))
        if name is None or not len(table):
            return table, rows
        column = Column(name, table[name], batch.where, rows, self._forms)
        if self.data.time_of_day is not None:
            column = with_time_of_day(column, table[self.data.time_of_day])
        moments = to_moment(column, self.data.timezone)
        table = table.set_column(table.column_names.index(name), name, moments)
        self.seen = _widen(self.seen, moments)
        mask = pc.less(moments, pa.scalar(self.end, moments.type))
        future = pc.sum(pc.greater_equal(moments, pa.scalar(self.as_of, moments.type))).as_py()
        self.excluded["future"] += future
        self.excluded["unlabelled"] += len(table) - pc.sum(mask).as_py() - future
        if self.start is not None:
            recent = pc.greater_equal(moments, pa.scalar(self.start, moments.type))
            self.excluded["older"] += len(table) - pc.sum(recent).as_py()
            mask = pc.and_(mask, recent)
        for start, end in self.without:
            from_then, until_then = (pa.scalar(moment, moments.type) for moment in (start, end))
            within = pc.and_(pc.greater_equal(moments, from_then), pc.less(moments, until_then))
            broken = pc.and_(mask, within)
            self.excluded["incident"] += pc.sum(broken).as_py()
            mask = pc.and_not(mask, within)
        matching = table.filter(mask)
        if len(matching):
            self.span = _widen(self.span, matching[name])
        return matching, rows.filter(mask.combine_chunks())

    def _convert(self, column: Column) -> pa.ChunkedArray:
        columns = self.data.columns
        if column.name == columns.timestamp:
            return column.values
        if column.name == columns.target:
            return to_label(column, self.task, required=self.labelled)
        if column.name in (*columns.numeric, *columns.amounts):
            return to_number(column)
        values = to_key(column) if column.name in columns.keys else to_category(column)
        if self.hashing is not None and column.name in self.hashing.hashed:
            return self.hashing.hashes_of(values)
        return values

    def _settle_labels(self, values: dict[str, pa.ChunkedArray], rows: int, schema: pa.Schema | None) -> None:
        """Keep the target of rows that need none when the first batch knows some of it, and leave it out otherwise."""
        import pyarrow as pa

        name = self.data.columns.target
        known = name in values and values[name].null_count < rows
        if not (known if schema is None else name in schema.names):
            values.pop(name, None)
        elif not known and schema is not None:
            values[name] = pa.chunked_array([pa.nulls(rows, schema.field(name).type)])

    def _sorted(self, table: pa.Table) -> pa.Table:
        import pyarrow as pa
        import pyarrow.compute as pc

        if not self._order:
            return table
        indices = pc.sort_indices(table, [(name, "ascending") for name in self._order])
        if indices.equals(pa.arange(0, len(table)).cast(indices.type)):
            return table
        return table.combine_chunks().take(indices)

    def _in_order(self, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        last: list[Any] | None = None
        for table in tables:
            if self._order:
                first = self._rank(table, 0)
                if last is not None and first < last:
                    raise OutOfOrderError
                last = self._rank(table, len(table) - 1)
            yield table

    def _rank(self, table: pa.Table, index: int) -> list[Any]:
        values = [table[name][index].as_py() for name in self._order]
        return [(value is None, "" if value is None else value) for value in values]

    def _nothing_left(self) -> DataError:
        where = self.data.source.uri or self.data.source.reader or f"the query on {self.data.source.conn_id!r}"
        if self.seen is None:
            return DataError(f"source {where} contains no rows", expected="at least one row")
        first, last = self.seen
        if self.excluded.get("incident"):
            return DataError(
                f"source {where} has no training rows at as_of {self.as_of.isoformat()}",
                got=f"{self.excluded['incident']} rows in windows that monitoring marked as incidents",
                expected="rows of other windows",
                hint="List repaired windows under monitoring.incident.repaired, or choose an earlier as_of.",
            )
        since = f", from {self.start.isoformat()} on" if self.start else ""
        delay = f" less label_delay {self.data.label_delay}" if self.labelled else ""
        return DataError(
            f"source {where} has no rows available at as_of {self.as_of.isoformat()}",
            got=f"rows from {first.isoformat()} to {last.isoformat()}",
            expected=f"rows before as_of{delay}{since}",
            hint=self._way_out(first, last),
        )

    def _way_out(self, first: datetime, last: datetime) -> str:
        """Return which as_of would do, where all rows lie outside of what may be seen."""
        delay = self.as_of - self.end
        if self.start is not None and self.start >= self.end:
            return (
                f"No as_of would work: the window, {self.as_of - self.start}, must be longer than label_delay, {delay}."
            )
        after = f"an as_of after {((first if first >= self.end else last) + delay).isoformat()}"
        if first >= self.end:
            return f"No row is old enough{' for its label to be known' if delay else ''}: choose {after}."
        if self.start is not None and last < self.start:
            until = (last + (self.as_of - self.start)).isoformat()
            return (
                f"The rows end before the window begins: has the source stopped? If not, choose {after} and up to "
                f"{until}, or a longer window."
            )
        return f"All rows lie before or after the window: choose {after} to include the last row, or a longer window."


def _regroup(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Yield tables of exactly one row group's rows, the last one excepted: equal rows, equal bytes."""
    import pyarrow as pa

    waiting, rows = [], 0
    for table in tables:
        waiting.append(table)
        rows += len(table)
        if rows < ROW_GROUP_ROWS:
            continue
        whole = pa.concat_tables(waiting)
        complete = rows - rows % ROW_GROUP_ROWS
        for start in range(0, complete, ROW_GROUP_ROWS):
            yield whole.slice(start, ROW_GROUP_ROWS)
        waiting, rows = [whole.slice(complete)], rows - complete
    if rows:
        yield pa.concat_tables(waiting)


def _encode(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the table with its text encoded anew, so that a dictionary depends on the group's rows alone."""
    import pyarrow as pa

    arrays = [
        table[field.name].dictionary_encode() if pa.types.is_dictionary(field.type) else table[field.name]
        for field in schema
    ]
    return pa.table(arrays, schema=schema)


def _retyped(found: pa.Schema, schema: pa.Schema, batch: Batch) -> DataError:
    name = next(field.name for field in schema if found.field(field.name).type != field.type)
    return DataError(
        f"column {name!r} changes its type in {batch.where}, from row {batch.first_row} on",
        got=found.field(name).type,
        expected=schema.field(name).type,
    )


def _widen(span: tuple[datetime, datetime] | None, moments: pa.ChunkedArray) -> tuple[datetime, datetime]:
    import pyarrow.compute as pc

    bounds = pc.min_max(moments).as_py()
    low, high = bounds["min"].astimezone(UTC), bounds["max"].astimezone(UTC)
    return (low, high) if span is None else (min(span[0], low), max(span[1], high))
