"""Finds the files of a source, and reads their rows in bounded batches."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from airflow_mlops_provider.data.batches import Batch, Wanted
from airflow_mlops_provider.data.conversion import zone_of
from airflow_mlops_provider.data.opening import refuse_web_page
from airflow_mlops_provider.data.text_files import read_csv, read_json_lines
from airflow_mlops_provider.exceptions import DataError
from airflow_mlops_provider.storage import SourceFile, list_files, local_copy, of_disk

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from airflow_mlops_provider.spec.data import Data
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
        raise DataError(f"source {uri} contains no files", hint="Correct the path, or wait for the data.")
    if source.partitioned_by is None:
        return files
    days = {file: _partition_day(file, source.partitioned_by, uri) for file in files}
    zone = zone_of(data.timezone)
    matching = [
        file
        for file, day in days.items()
        if datetime.combine(day, time(), zone) < as_of
        and (start is None or datetime.combine(day + timedelta(1), time(), zone) > start)
    ]
    if not matching:
        raise DataError(
            f"source {uri} has no partition {source.partitioned_by!r} in the requested period",
            got=f"{min(days.values())} to {max(days.values())}",
            expected=f"days before as_of {as_of.isoformat()}"
            + ("" if start is None else f" and from {start.isoformat()} on"),
        )
    return matching


def read_files(
    data: Data, files: Sequence[SourceFile], absent: frozenset[str] = frozenset(), options: S3Options | None = None
) -> Iterator[Batch]:
    """Yield the rows of files, a row group or a block at a time.

    :param absent: columns that a file need not hold.
    :param options: how S3 is reached.
    :raises DataError: names the file, and the column, row and value at fault.
    """
    forbidden = frozenset(() if data.privacy is None else data.privacy.forbid)
    for file in files:
        constants = {}
        if (partition := data.source.partitioned_by) is not None and partition in data.columns.all:
            constants = {partition: str(_partition_day(file, partition, file.uri))}
        wanted = Wanted(data.columns, absent | constants.keys(), forbidden, data.source.csv, data.beside)
        kind = data.source.format or format_of(file.name, f"file {file.uri}")
        with local_copy(file, options) as path:
            for batch in read_local(path, f"file {file.uri}", kind, wanted):
                yield _with_constants(batch, constants)


def read_local(path: Path, where: str, kind: str, wanted: Wanted) -> Iterator[Batch]:
    """Yield the rows of a file on this machine.

    :param kind: `parquet`, `csv` or `jsonl`.
    :raises DataError: names the file, and the line or row at fault.
    """
    return {"parquet": read_parquet, "csv": read_csv, "jsonl": read_json_lines}[kind](path, where, wanted)


def read_parquet(path: Path, where: str, wanted: Wanted) -> Iterator[Batch]:
    """Yield the row groups of a Parquet file."""
    import pyarrow.parquet as pq

    # Old writers' timestamps of 96 bits reach beyond what 64 bits of nanoseconds do: 9999-12-31 would become 1816.
    with (
        _readable(path, where, "Parquet"),
        pq.ParquetFile(path, pre_buffer=False, coerce_int96_timestamp_unit="us") as file,
    ):
        names = wanted.names(file.schema_arrow.names, where)
        row = 1
        for index in range(file.num_row_groups):
            table = file.read_row_group(index, columns=names).select(names)
            yield wanted.batch(table, where, row)
            row += len(table)


@contextmanager
def _readable(path: Path, where: str, expected: str) -> Iterator[None]:
    """Turn what a damaged file raises into one DataError."""
    import pyarrow as pa

    try:
        yield
    except (ConnectionError, TimeoutError):
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last for the name of a column
        if of_disk(error):
            raise
        if path.is_file():
            with path.open("rb") as stream:
                refuse_web_page(stream.read(1024), where, expected)
        raise DataError(
            f"{where} cannot be read", got=str(error), expected=f"a {expected} file", hint="Write the file again."
        ) from error


def _with_constants(batch: Batch, constants: dict[str, str]) -> Batch:
    import pyarrow as pa

    table = batch.table
    for name, value in constants.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.repeat(value, len(table)))
    return Batch(table, batch.where, batch.first_row)


def format_of(name: str, where: str) -> str:
    """Return the format of a file by its name.

    :raises DataError: it is none of those that are read.
    """
    suffixes = PurePosixPath(name.lower()).suffixes
    if suffixes and suffixes[-1] in _COMPRESSIONS:
        suffixes.pop()
    kind = _FORMATS.get(suffixes[-1] if suffixes else "")
    if kind is None:
        raise DataError(
            f"{where} has an unknown format",
            got=PurePosixPath(name).name,
            expected=".parquet .csv .csv.zip .csv.gz .jsonl",
            hint="Set data.source.format.",
        )
    return kind


def _partition_day(file: SourceFile, key: str, uri: str) -> date:
    for part in PurePosixPath(file.name).parts[:-1]:
        name, _, value = part.partition("=")
        if name == key:
            try:
                return date.fromisoformat(value)
            except ValueError as error:
                raise DataError(f"folder {part!r} of {uri} is not a day", expected=f"{key}=2013-03-01") from error
    raise DataError(f"file {file.name} of {uri} is not in a {key!r} folder", expected=f"{key}=2013-03-01/{file.name}")
