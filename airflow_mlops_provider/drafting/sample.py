"""A data file as a table, typed as its values suggest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.data.text_files import csv_header, opened
from airflow_mlops_provider.exceptions import DataError

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

_SUFFIXES = (".csv", ".csv.gz", ".csv.zip", ".parquet", ".pq", ".jsonl", ".ndjson")


def read_file(path: Path, target: str) -> pa.Table:
    """Return the rows of a file.

    :param target: a column that it should hold: one of other separators than commas seems to lack it.

    :raises DataError: it is missing, of no known format, unreadable or empty.
    """
    import pyarrow as pa

    name = path.name.lower()
    if not path.is_file():
        raise DataError(f"data file {path} is missing", expected="a file that can be read here")
    if not name.endswith(_SUFFIXES):
        raise DataError(f"data file {path} is of no known format", got=path.name, expected=" ".join(_SUFFIXES))
    try:
        table = _read(path, name, target)
    except (pa.ArrowException, OSError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"data file {path} cannot be read", got=first, hint="Save it as UTF-8, with commas.") from error
    if not len(table):
        raise DataError(f"data file {path} holds no row", expected="a header and rows")
    if twice := sorted({column for column in table.column_names if table.column_names.count(column) > 1}):
        raise DataError(f"data file {path} has columns of the same name", got=twice)
    return table


def _read(path: Path, name: str, target: str) -> pa.Table:
    import pyarrow as pa

    if name.endswith((".parquet", ".pq")):
        import pyarrow.parquet as pq

        return pq.read_table(path)
    if name.endswith((".jsonl", ".ndjson")):
        from pyarrow import json as arrow_json

        return arrow_json.read_json(path)
    from pyarrow import csv as arrow_csv

    csv_header(path, f"data file {path}", [target])
    with opened(path, f"file {path}") as stream:
        return arrow_csv.read_csv(
            pa.PythonFile(stream, mode="r"),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(strings_can_be_null=True),
        )
