"""Reads CSV and JSON-lines files, plain, zipped or gzipped, and says what is wrong with one that is not that."""

from __future__ import annotations

import csv
import errno
import gzip
import json
import lzma
import re
import struct
import zipfile
import zlib
from contextlib import closing, contextmanager
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, NoReturn, cast

from airflow_mlops_provider.bounds import MAX_DOCUMENT_BYTES, bounded, unpacked_limit
from airflow_mlops_provider.data.batches import Batch, python_column, wanted_columns
from airflow_mlops_provider.exceptions import DataError, shorten

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator
    from pathlib import Path

    import pyarrow as pa

    from airflow_mlops_provider.spec.sections import Columns

_BLOCK_BYTES = 4 << 20
_JSON_ROWS = 65_536
_HEAD_BYTES = 1 << 16
_BOM = b"\xef\xbb\xbf"
_INVALID_VALUE = re.compile(
    r"column #(?P<column>\d+): CSV conversion error to (?P<kind>\w+).*: invalid value '(?P<value>.*)'", re.DOTALL
)
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d[\d. ]*,\d+\s*")
_SAVE = "Save it with commas, and decimals with a point: frame.to_csv(path, index=False) does."
#: zipfile's words for a compression that it does not know, and for an archive with a password, are the last two.
_DAMAGED = (
    zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error, lzma.LZMAError, struct.error, UnicodeDecodeError,
    NotImplementedError, RuntimeError,
)  # fmt: skip
_OTHER_DELIMITERS = {"\t": "a tab", ";": "a semicolon", "|": "a bar"}


def read_csv(
    path: Path, where: str, columns: Columns, absent: frozenset[str], forbidden: frozenset[str] = frozenset()
) -> Iterator[Batch]:
    """Yield the rows of a CSV file: UTF-8, comma, a header. Keys, categories and timestamps are read as text.

    :param absent: columns that the file need not hold.
    :param forbidden: columns that it must not hold.
    :raises DataError: names the file, and the column, row and value at fault.
    """
    import pyarrow as pa

    header, empty = csv_header(path, where, columns.all)
    wanted = wanted_columns(header, columns, where, absent, forbidden)
    if empty:
        return
    text = (*columns.categorical, *columns.keys, *columns.groups, columns.timestamp)
    kinds = {name: pa.string() for name in text if name in wanted}
    # The target's own type is read off the first block: whole numbers, truth values and text all label classes.
    kinds |= {name: pa.float64() for name in columns.numeric}
    try:
        yield from _csv_batches(path, where, wanted, kinds)
    except pa.ArrowInvalid as error:
        _explain_csv(path, where, header, error)


def read_json_lines(
    path: Path, where: str, columns: Columns, absent: frozenset[str], forbidden: frozenset[str] = frozenset()
) -> Iterator[Batch]:
    """Yield the rows of a file with one JSON object a line; empty lines are passed over.

    :param absent: columns that the file need not hold.
    :param forbidden: columns that it must not hold.
    :raises DataError: names the file, and the column, row and value at fault.
    """
    import pyarrow as pa

    _check_text(_head(path, where), where, "JSON lines")
    text = {*columns.categorical, *columns.keys, *columns.groups}
    with opened(path, where) as stream:
        records = _json_records(stream, where)
        row = 1
        while block := list(islice(records, _JSON_ROWS)):
            present = list(dict.fromkeys(name for record in block for name in record))
            wanted = wanted_columns(present, columns, where, absent, forbidden)
            arrays = [
                python_column([record.get(name) for record in block], name, where, row, as_text=name in text)
                for name in wanted
            ]
            yield Batch(pa.table(arrays, names=wanted), where, row)
            row += len(block)


def _json_records(stream: IO[bytes], where: str) -> Iterator[dict[str, Any]]:
    lines = iter(lambda: stream.readline(MAX_DOCUMENT_BYTES + 1), b"")
    for number, content in enumerate(lines, start=1):
        if len(content) > MAX_DOCUMENT_BYTES:
            raise DataError(
                f"line {number} of {where} is too long", expected=f"one object a line, of {MAX_DOCUMENT_BYTES} bytes"
            )
        try:
            line = content.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise _not_utf8(f"line {number} of {where}", error) from error
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"line {number} of {where} is not JSON", got=line, expected="one object a line") from error
        if not isinstance(record, dict):
            raise DataError(f"line {number} of {where} is not an object", got=line, expected="one object a line")
        yield record


def _csv_batches(path: Path, where: str, wanted: list[str], kinds: dict[str, pa.DataType]) -> Generator[Batch]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    with opened(path, where) as stream:
        reader = arrow_csv.open_csv(
            pa.PythonFile(stream, mode="r"),
            read_options=arrow_csv.ReadOptions(block_size=_BLOCK_BYTES),
            parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=wanted, column_types=kinds, strings_can_be_null=True
            ),
        )
        with reader:
            row = 1
            for block in reader:
                if any(pa.types.is_binary(field.type) for field in block.schema):
                    raise DataError(f"{where} is not UTF-8 text", hint="Save it as UTF-8.")
                yield Batch(pa.Table.from_batches([block]), where, row)
                row += len(block)


def _explain_csv(path: Path, where: str, header: list[str], error: pa.ArrowInvalid) -> NoReturn:
    """Find the row of the value that did not convert: Arrow names the column by its place, and the value."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if "invalid UTF8" in str(error):
        raise _not_utf8(where, error) from error
    if (match := _INVALID_VALUE.search(str(error))) is not None:
        name = header[int(match["column"])]
        with closing(_csv_batches(path, where, [name], {name: pa.string()})) as batches:
            for batch in _utf8(batches, where):
                if (index := pc.index(batch.table[name], match["value"]).as_py()) >= 0:
                    comma = match["kind"] == "double" and _DECIMAL_COMMA.fullmatch(match["value"])
                    raise DataError(
                        f"column {name!r}, row {batch.first_row + index} of {where} cannot be used",
                        got=match["value"],
                        expected="a number" if match["kind"] == "double" else f"{match['kind']}, like the rows before",
                        hint="Write decimals with a point." if comma else None,
                    ) from error
    raise DataError(
        f"{where} is not a readable CSV file", got=str(error), expected="UTF-8, fields separated by commas"
    ) from error


def _utf8(batches: Iterator[Batch], where: str) -> Iterator[Batch]:
    """Yield batches of text; Arrow finds what is no text only when it is asked for text."""
    import pyarrow as pa

    try:
        yield from batches
    except pa.ArrowInvalid as error:
        raise _not_utf8(where, error) from error


def _not_utf8(where: str, error: Exception) -> DataError:
    return DataError(f"{where} is not UTF-8 text", got=str(error), hint="Save it as UTF-8.")


def csv_header(path: Path, where: str, wanted: Collection[str]) -> tuple[list[str], bool]:
    """Return the names in the header, and whether no row follows it.

    :param wanted: columns that will be read: a header of other fields that holds them all is what it seems.
    :raises DataError: it is no CSV, or one of other separators than commas.
    """
    head = _head(path, where)
    _check_text(head, where, "CSV")
    line, _, rest = head.removeprefix(_BOM).replace(b"\r\n", b"\n").partition(b"\n")
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise _not_utf8(where, error) from error
    header = next(csv.reader([text]), [])
    for delimiter, name in _OTHER_DELIMITERS.items():
        others = next(csv.reader([text], delimiter=delimiter), [])
        if len(others) > len(header) and not set(wanted) <= set(header):
            raise DataError(f"{where} separates its fields by {name}", got=text, expected="commas", hint=_SAVE)
    return header, not rest.strip()


def _check_text(head: bytes, where: str, expected: str) -> None:
    start = head.removeprefix(_BOM).lstrip()
    if not start:
        raise DataError(f"{where} is empty", expected=f"{expected} with at least one row")
    if re.match(rb"<(!doctype|html|\?xml|!--)", start, re.IGNORECASE):
        raise DataError(
            f"{where} is a web page, not {expected}",
            got=shorten(start[:80].decode(errors="replace"), 80),
            hint="Download the file itself; a login or error page was probably saved instead.",
        )
    if b"\0" in head:
        raise DataError(f"{where} is not UTF-8 text", got=repr(head[:8]), expected=expected, hint="Save it as UTF-8.")


def _head(path: Path, where: str) -> bytes:
    with opened(path, where) as stream:
        return stream.read(_HEAD_BYTES)


@contextmanager
def opened(path: Path, where: str) -> Iterator[IO[bytes]]:
    """Open a file, unpacked within bounds; turn what a damaged archive raises into one DataError."""
    limit = unpacked_limit(path.stat().st_size)
    try:
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as archive:
                members = [name for name in archive.namelist() if not name.endswith("/")]
                if len(members) != 1:
                    raise DataError(f"{where} must hold exactly one file", got=members)
                with archive.open(members[0]) as member, bounded(member, limit, lambda: _bomb(where, limit)) as within:
                    yield within
        elif path.suffix.lower() == ".gz":
            with gzip.open(path) as packed:
                member = cast("IO[bytes]", packed)
                with bounded(member, limit, lambda: _bomb(where, limit)) as within:
                    yield within
        else:
            with path.open("rb") as plain:
                yield plain
    except _DAMAGED as error:
        raise _damaged(where, error) from error
    except OSError as error:
        # A directory at the end of an archive that names places before its beginning.
        if error.errno != errno.EINVAL:
            raise
        raise _damaged(where, error) from error


def _damaged(where: str, error: Exception) -> DataError:
    return DataError(f"{where} is a damaged or truncated archive", got=str(error), hint="Write the file again.")


def _bomb(where: str, limit: int) -> DataError:
    return DataError(
        f"{where} unpacks to far more than it is",
        expected=f"at most {limit >> 20} MiB",
        hint="If it is what it should be, store it unpacked, or in several files.",
    )
