"""Finds the files of a source, and reads their rows in bounded batches."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from airflow_mlops_provider.data.batches import Batch, wanted_columns
from airflow_mlops_provider.data.conversion import zone_of
from airflow_mlops_provider.data.text_files import read_csv, read_json_lines
from airflow_mlops_provider.exceptions import DataError
from airflow_mlops_provider.storage import SourceFile, list_files, local_copy, of_disk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from airflow_mlops_provider.spec.sections import Columns, Data
    from airflow_mlops_provider.storage import S3Options

_FORMATS = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_COMPRESSIONS = (".zip", ".gz")


def source_files(
    data: Data, as_of: datetime, start: datetime | None = None, options: S3Options | None = None
) -> list[SourceFile]:
    """Return the files that hold rows of [start, as_of): all, or the partitions of those days.

    :param options: how S3 is reached.
    :raises DataError: when there is no file, or no partition in that time.
    """
    source = data.source
    uri = str(source.uri)
    files = list_files(uri, options)
    if not files:
        raise DataError(f"source {uri} holds no file", hint="Correct the path, or wait for the data.")
    if source.partitioned_by is None:
        return files
    days = {file: _partition_day(file, source.partitioned_by, uri) for file in files}
    zone = zone_of(data.timezone)
    kept = [
        file
        for file, day in days.items()
        if datetime.combine(day, time(), zone) < as_of
        and (start is None or datetime.combine(day + timedelta(1), time(), zone) > start)
    ]
    if not kept:
        raise DataError(
            f"source {uri} has no partition {source.partitioned_by!r} in the time asked for",
            got=f"{min(days.values())} to {max(days.values())}",
            expected=f"days before as_of {as_of.isoformat()}"
            + ("" if start is None else f" and from {start.isoformat()} on"),
        )
    return kept


def read_files(
    data: Data,
    files: Sequence[SourceFile],
    absent: frozenset[str] = frozenset(),
    numbers: Sequence[str] = (),
    options: S3Options | None = None,
) -> Iterator[Batch]:
    """Yield the rows of files, a row group or a block at a time.

    :param absent: columns that a file need not hold.
    :param numbers: columns of numbers besides the numeric features: the target of a regression. Text does not say so:
        its first block may hold whole ones only.
    :param options: how S3 is reached.
    :raises DataError: names the file, and the column, row and value at fault.
    """
    forbidden = frozenset(() if data.privacy is None else data.privacy.forbid)
    readers = {"parquet": read_parquet, "csv": read_csv, "jsonl": read_json_lines}
    columns = data.columns.model_copy(update={"numeric": [*data.columns.numeric, *numbers]})
    for file in files:
        constants = {}
        if (partition := data.source.partitioned_by) is not None and partition in data.columns.all:
            constants = {partition: str(_partition_day(file, partition, file.uri))}
        read = readers[data.source.format or _format_of(file)]
        with local_copy(file, options) as path:
            for batch in read(path, f"file {file.uri}", columns, absent | constants.keys(), forbidden):
                yield _with_constants(batch, constants)


def read_parquet(
    path: Path, where: str, columns: Columns, absent: frozenset[str], forbidden: frozenset[str] = frozenset()
) -> Iterator[Batch]:
    """Yield the row groups of a Parquet file.

    :param absent: columns that the file need not hold.
    :param forbidden: columns that it must not hold.
    """
    import pyarrow.parquet as pq

    with _readable(where, "a Parquet file"), pq.ParquetFile(path, pre_buffer=False) as file:
        wanted = wanted_columns(file.schema_arrow.names, columns, where, absent, forbidden)
        row = 1
        for index in range(file.num_row_groups):
            table = file.read_row_group(index, columns=wanted).select(wanted)
            yield Batch(table, where, row)
            row += len(table)


@contextmanager
def _readable(where: str, expected: str) -> Iterator[None]:
    """Turn what a damaged file raises into one DataError."""
    import pyarrow as pa

    try:
        yield
    except (ConnectionError, TimeoutError):
        raise
    except (pa.ArrowException, OSError) as error:
        if of_disk(error):
            raise
        raise DataError(
            f"{where} cannot be read", got=str(error), expected=expected, hint="Write the file again."
        ) from error


def _with_constants(batch: Batch, constants: dict[str, str]) -> Batch:
    import pyarrow as pa

    table = batch.table
    for name, value in constants.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.repeat(value, len(table)))
    return Batch(table, batch.where, batch.first_row)


def _format_of(file: SourceFile) -> str:
    suffixes = PurePosixPath(file.name.lower()).suffixes
    if suffixes and suffixes[-1] in _COMPRESSIONS:
        suffixes.pop()
    kind = _FORMATS.get(suffixes[-1] if suffixes else "")
    if kind is None:
        raise DataError(
            f"file {file.uri} is of no known format",
            got=PurePosixPath(file.name).name,
            expected=".parquet .csv .csv.zip .csv.gz .jsonl",
            hint="Name data.source.format.",
        )
    return kind


def _partition_day(file: SourceFile, key: str, uri: str) -> date:
    for part in PurePosixPath(file.name).parts[:-1]:
        name, _, value = part.partition("=")
        if name == key:
            try:
                return date.fromisoformat(value)
            except ValueError as error:
                raise DataError(f"folder {part!r} of {uri} names no day", expected=f"{key}=2013-03-01") from error
    raise DataError(f"file {file.name} of {uri} is in no {key!r} folder", expected=f"{key}=2013-03-01/{file.name}")
