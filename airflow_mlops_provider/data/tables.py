"""Tables as Parquet artifacts whose schema says what each column means.

The roles of the columns travel in the Parquet file itself, so a step needs only the file. Categories are
dictionary columns. Only the requested columns are read, by row group and with pre-buffering off, so memory does
not grow with rows (pyarrow's `iter_batches` does not keep that promise).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.exceptions import ArtifactError, DataError
from airflow_mlops_provider.spec.data import Columns
from airflow_mlops_provider.spec.frozen import Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    from airflow_mlops_provider.results import ArtifactRef
    from airflow_mlops_provider.storage import ArtifactStore

ROW_GROUP_ROWS = 65_536
_METADATA_KEY = b"airflow_mlops_provider"


class TableInfo(Document):
    """What a table is for: the task, the role of each column, and how long after its timestamp a row has its label."""

    SCHEMA = 2

    task: Task
    columns: Columns
    label_delay: timedelta = timedelta(0)


@dataclass(frozen=True)
class Dataset:
    """A stored table that is read a column at a time."""

    store: ArtifactStore
    ref: ArtifactRef
    info: TableInfo
    rows: int

    @classmethod
    def open(cls, store: ArtifactStore, ref: ArtifactRef) -> Dataset:
        """Return a table, of which only the footer is read."""
        return cls(store, ref, table_info(store, ref), table_rows(store, ref))

    def column(self, name: str) -> pd.Series[Any]:
        """Return one column."""
        return read_table(self.store, self.ref, [name])[name]


def write_table(store: ArtifactStore, batches: Iterable[pa.Table], schema: pa.Schema, info: TableInfo) -> ArtifactRef:
    """Store tables of one schema as one Parquet file, never holding more than one of them.

    :raises pyarrow.ArrowInvalid: when a batch does not fit the schema.
    """
    import pyarrow.parquet as pq

    with store.workspace() as folder:
        file = folder / "table.parquet"
        metadata = {**(schema.metadata or {}), _METADATA_KEY: json.dumps(info.stored()).encode()}
        with pq.ParquetWriter(file, schema.with_metadata(metadata), compression="zstd", compression_level=1) as writer:
            for batch in batches:
                writer.write_table(batch, row_group_size=ROW_GROUP_ROWS)
        return store.add(file, ".parquet")


def table_info(store: ArtifactStore, ref: ArtifactRef) -> TableInfo:
    """Return the roles of a table's columns, from its footer.

    :raises ArtifactError: when the file was not written by us.
    """
    raw = (_open(store, ref).schema_arrow.metadata or {}).get(_METADATA_KEY)
    if raw is None:
        raise ArtifactError(f"table {ref.uri} does not describe its columns", hint="Create it with ingest.")
    return TableInfo.read(raw, f"the roles of the columns of table {ref.uri}")


def table_rows(store: ArtifactStore, ref: ArtifactRef) -> int:
    """Return the number of rows, from the footer."""
    return int(_open(store, ref).metadata.num_rows)


def table_schema(store: ArtifactStore, ref: ArtifactRef) -> pa.Schema:
    """Return the Arrow schema, from the footer."""
    return _open(store, ref).schema_arrow


def row_groups(store: ArtifactStore, ref: ArtifactRef) -> list[int]:
    """Return the number of rows of each row group, from the footer."""
    metadata = _open(store, ref).metadata
    return [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]


def iter_tables(
    store: ArtifactStore, ref: ArtifactRef, columns: Sequence[str] | None = None, groups: Iterable[int] | None = None
) -> Iterator[pa.Table]:
    """Yield a table one row group at a time.

    :param groups: indices of the row groups to read; all when left out.
    """
    file = _open(store, ref)
    wanted = _columns(file, ref, columns)
    for index in range(file.num_row_groups) if groups is None else groups:
        # One thread: those of Arrow's pool give their buffers back late on a busy machine, four at once seen.
        yield file.read_row_group(index, columns=wanted, use_threads=False)


def read_table(store: ArtifactStore, ref: ArtifactRef, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return a table, or some of its columns in the requested order. Dictionary columns become categories."""
    file = _open(store, ref)
    wanted = _columns(file, ref, columns)
    frame: pd.DataFrame = file.read(columns=wanted).select(wanted).to_pandas(ignore_metadata=True, split_blocks=True)
    return frame


def _open(store: ArtifactStore, ref: ArtifactRef) -> pq.ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = store.fetch(ref)
    try:
        return pq.ParquetFile(path, pre_buffer=False, memory_map=False)
    except pa.ArrowInvalid as error:
        raise ArtifactError(f"artifact {ref.uri} is not a Parquet table", got=str(error)) from error


def _columns(file: pq.ParquetFile, ref: ArtifactRef, columns: Sequence[str] | None) -> list[str]:
    present = file.schema_arrow.names
    if columns is None:
        return list(present)
    if missing := [name for name in columns if name not in present]:
        raise DataError(f"table {ref.uri} has no column {missing[0]!r}", got=present, expected=missing)
    return list(columns)
