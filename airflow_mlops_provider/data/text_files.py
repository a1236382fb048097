"""Reads CSV and JSON-lines files, and says what is wrong with one that is not that."""

from __future__ import annotations

import csv
import io
import json
import re
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from typing import IO, TYPE_CHECKING, Any, cast

from airflow_mlops_provider.bounds import MAX_DOCUMENT_BYTES
from airflow_mlops_provider.data.batches import python_column
from airflow_mlops_provider.data.opening import SET_ENCODING, check_text, head_of, opened
from airflow_mlops_provider.exceptions import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from airflow_mlops_provider.data.batches import Batch, Wanted
    from airflow_mlops_provider.spec.data import Csv

_BLOCK_BYTES = 4 << 20
_JSON_ROWS = 65_536
_HEAD_ROWS = 100
_SEPARATORS = {";": "a semicolon", "\t": "a tab", "|": "a bar", ",": "a comma"}


@dataclass(frozen=True)
class CsvHead:
    """The beginning of a CSV file.

    :param rows: some of those below the header.
    """

    header: list[str]
    rows: list[list[str]]


def read_csv(path: Path, where: str, wanted: Wanted) -> Iterator[Batch]:
    """Yield the rows of a CSV file with a header, each value as the text that stands there.

    :raises DataError: names the file, and what of it is no CSV.
    """
    import pyarrow as pa

    head = csv_head(path, where, wanted.csv)
    _check_separator(head, where, wanted)
    names = wanted.names(head.header, where)
    if not head.rows:
        return
    with opened(path, where) as stream:
        try:
            yield from _csv_batches(stream, where, names, wanted)
        except (pa.ArrowInvalid, UnicodeError) as error:
            if isinstance(error, UnicodeError) or "invalid UTF8" in str(error):
                raise _not_text(where, wanted.csv, error) from error
            raise DataError(
                f"{where} is not a readable CSV file",
                got=str(error),
                expected=f"fields separated by {_SEPARATORS.get(wanted.csv.separator, repr(wanted.csv.separator))}, as "
                "many in each row as in the header",
            ) from error


def _csv_batches(stream: IO[bytes], where: str, names: list[str], wanted: Wanted) -> Iterator[Batch]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    reader = arrow_csv.open_csv(
        pa.PythonFile(stream, mode="r"),
        read_options=arrow_csv.ReadOptions(block_size=_BLOCK_BYTES, encoding=wanted.csv.encoding),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True, delimiter=wanted.csv.separator),
        convert_options=arrow_csv.ConvertOptions(
            include_columns=names, column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
        ),
    )
    with reader:
        row = 1
        for block in reader:
            yield wanted.batch(pa.Table.from_batches([block]), where, row)
            row += len(block)


def csv_head(path: Path, where: str, csv_form: Csv) -> CsvHead:
    """Return the header of a CSV file and its first rows.

    :raises DataError: it is empty, a web page, or no text.
    """
    check_text(head_of(path, where), where, "CSV", csv_form.encoding)
    with opened(path, where) as stream:
        # What is no text is named where it is read: it may stand in a column that is not.
        text = io.TextIOWrapper(cast("Any", stream), csv_form.encoding, "backslashreplace", newline="")
        with closing(text):
            try:
                rows = list(islice(_csv_rows(text, csv_form.separator), _HEAD_ROWS + 1))
            except (csv.Error, UnicodeError) as error:
                raise DataError(
                    f"{where} is not a readable CSV file", got=str(error), expected="a header and rows"
                ) from error
    header = rows[0] if rows else []
    if bad := [name for name in header if re.search(r"\\x[0-9a-f]{2}", name)]:
        raise _not_text(where, csv_form, bad[0])
    return CsvHead(header, rows[1:])


def _csv_rows(text: io.TextIOWrapper, separator: str) -> Iterator[list[str]]:
    # A byte order mark begins the text, as Arrow has it, not a name: that may stand in quotes, or below an empty line.
    start = (line.removeprefix("\ufeff") for line in islice(text, 1))
    return (row for row in csv.reader(chain(start, text), delimiter=separator) if row)


def _check_separator(head: CsvHead, where: str, wanted: Wanted) -> None:
    """Refuse a file of other separators, when it seems to lack a column for that."""
    needed = set(wanted.every) - wanted.absent
    if needed <= set(head.header):
        return
    if (other := likely_separator(head, wanted.csv.separator)) != wanted.csv.separator:
        raise DataError(
            f"{where} separates its fields with {_SEPARATORS[other]}",
            got=wanted.csv.separator.join(head.header),
            expected=_SEPARATORS.get(wanted.csv.separator, repr(wanted.csv.separator)).removeprefix("a ") + "s",
            hint=f"Set data.source.csv.separator to {other!r}.",
        )


def likely_separator(head: CsvHead, separator: str) -> str:
    """Return what separates the most fields of a header, and as many in the rows below.

    :param separator: by which the head was read; it stays unless another is better.
    """
    best, fields = separator, len(head.header)
    for other in _SEPARATORS:
        width, *widths = (_width(separator.join(row), other) for row in (head.header, *head.rows))
        if other != separator and width > fields and (not widths or max(widths) >= width):
            best, fields = other, width
    return best


def _width(row: str, separator: str) -> int:
    r"""Return how many fields a row has by a separator.

    >>> _width("id;age\r(years)", ";")
    2
    """
    try:
        # A line's end within a field stood in quotes, which the first reading took; here it would end the row.
        return len(next(csv.reader([re.sub(r"[\r\n]", " ", row)], delimiter=separator), []))
    except csv.Error:  # a whole row as one field, longer than the reader takes: it is not separated so
        return 1


def read_json_lines(path: Path, where: str, wanted: Wanted) -> Iterator[Batch]:
    """Yield the rows of a file with one JSON object a line; empty lines are passed over.

    :raises DataError: names the file, and the column, row and value at fault.
    """
    import pyarrow as pa

    check_text(head_of(path, where), where, "JSON lines")
    with opened(path, where) as stream:
        records = _json_records(stream, where)
        row = 1
        while block := list(islice(records, _JSON_ROWS)):
            present = list(dict.fromkeys(name for record in block for name in record))
            names = wanted.names(present, where)
            columns = [python_column([record.get(name) for record in block], name, where) for name in names]
            yield wanted.batch(pa.table(columns, names=names), where, row)
            row += len(block)


def _json_records(stream: IO[bytes], where: str) -> Iterator[dict[str, Any]]:
    lines = iter(lambda: stream.readline(MAX_DOCUMENT_BYTES + 1), b"")
    for number, content in enumerate(lines, start=1):
        if len(content) > MAX_DOCUMENT_BYTES:
            raise DataError(
                f"line {number} of {where} is too long",
                expected=f"one object per line, up to {MAX_DOCUMENT_BYTES} bytes",
            )
        try:
            line = content.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"line {number} of {where} is not UTF-8 text", got=str(error), hint="Save it as UTF-8."
            ) from error
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"line {number} of {where} is not JSON", got=line.strip(), expected="one object per line"
            ) from error
        if not isinstance(record, dict):
            raise DataError(
                f"line {number} of {where} is not an object", got=line.strip(), expected="one object per line"
            )
        yield record


def _not_text(where: str, csv_form: Csv, got: object) -> DataError:
    name = "UTF-8" if csv_form.encoding == "utf-8" else csv_form.encoding
    return DataError(f"{where} is not {name} text", got=str(got), hint=SET_ENCODING)
