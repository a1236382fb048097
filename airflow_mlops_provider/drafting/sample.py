"""A data file as `init` sees it: read as ingest reads it, by the form of its texts that the file itself shows."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_mlops_provider.data.batches import Wanted
from airflow_mlops_provider.data.conversion import Column
from airflow_mlops_provider.data.forms import Forms, exact_text, is_text
from airflow_mlops_provider.data.guesses import guess_numbers, guess_placeholders
from airflow_mlops_provider.data.kinds import is_uuid, uuid_texts
from airflow_mlops_provider.data.opening import opened
from airflow_mlops_provider.data.sources import format_of, read_local
from airflow_mlops_provider.data.text_files import csv_head, likely_separator
from airflow_mlops_provider.exceptions import DataError
from airflow_mlops_provider.spec import Csv

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

_CHUNK = 1 << 20
#: Of the signs beyond ASCII, so many are letters in a text that was read by the right encoding.
_LETTERS = 0.7


@dataclass(frozen=True)
class Sample:
    """The rows of a file, and what its texts look like.

    :param table: of the types that ingest gives values.
    :param csv: how the file writes them.
    :param why: what of that is not as usual, a sentence each.
    """

    table: pa.Table
    csv: Csv
    why: list[str] = field(default_factory=list)


def read_sample(path: Path, target: str) -> Sample:
    """Return the rows of a file.

    :param target: a column that it should hold: one of other separators than commas seems to lack it.
    :raises DataError: it is missing, of no known format, unreadable or empty.
    """
    import pyarrow as pa

    where = f"data file {path}"
    if not path.is_file():
        raise DataError(f"{where} is missing", expected="a file that can be read here")
    kind = format_of(path.name, where)
    why: list[str] = []
    csv = _csv_of(path, where, target, why) if kind == "csv" else Csv()
    batches = [batch.table for batch in read_local(path, where, kind, Wanted(csv=csv))]
    table = _joined(batches)
    if not len(table):
        raise DataError(f"{where} has no rows", expected="a header and rows")
    texts = {name: table[name] for name in table.column_names if is_text(table[name].type)}
    csv = guess_numbers(texts, csv, why)
    csv = guess_placeholders(texts, csv, why)
    columns = [_typed(name, table[name], csv) for name in table.column_names]
    return Sample(pa.table(columns, names=table.column_names), csv, why)


def _typed(name: str, values: pa.ChunkedArray, csv: Csv) -> pa.ChunkedArray:
    import pyarrow as pa

    forms = Forms(csv)
    column = Column(name, values, "", pa.arange(1, len(values) + 1)).plain()
    if is_uuid(column.values.type):
        return uuid_texts(column.values.cast(column.values.type.storage_type))
    if not is_text(column.values.type):
        return column.values
    [texts] = Wanted(csv=csv).batch(pa.table([column.values], names=[name]), "", 1).table.columns
    return forms.typed(name, texts)


def _joined(tables: list[pa.Table]) -> pa.Table:
    """Return all rows; those of a column whose type changes from one part to the next as texts."""
    import pyarrow as pa

    names = list(dict.fromkeys(name for table in tables for name in table.column_names))
    return pa.table([_column(tables, name) for name in names], names=names)


def _column(tables: list[pa.Table], name: str) -> pa.ChunkedArray:
    import pyarrow as pa

    parts = [
        table[name] if name in table.column_names else pa.chunked_array([pa.nulls(len(table))]) for table in tables
    ]
    kinds = {part.type for part in parts if part.null_count < len(part)} or {parts[0].type}
    if len(kinds) > 1:
        nested = next((kind for kind in kinds if pa.types.is_nested(kind)), None)
        if nested is not None:  # of no use as it is, whatever its other parts hold
            parts = [part if part.type == nested else pa.chunked_array([pa.nulls(len(part), nested)]) for part in parts]
        kinds = {nested or pa.string()}
        parts = [part if nested is not None else exact_text(part) for part in parts]
    [kind] = kinds
    return pa.chunked_array([chunk for part in parts for chunk in part.cast(kind).chunks], kind)


def _csv_of(path: Path, where: str, target: str, why: list[str]) -> Csv:
    """Return the encoding and the separator of a CSV file."""
    csv = Csv(encoding=_encoding_of(path, where, why))
    head = csv_head(path, where, csv)
    if target not in head.header and (other := likely_separator(head, csv.separator)) != csv.separator:
        csv = csv.model_copy(update={"separator": other})
        why.append(f"its header has the most fields when {other!r} separates them")
    return csv


def _encoding_of(path: Path, where: str, why: list[str]) -> str:
    """Return the encoding of a text file: UTF-8, or one that leaves no doubt, or one that gives letters."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with opened(path, where) as stream:
        start = stream.read(4)
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            why.append("it begins with the byte order mark of UTF-16")
            return "utf-16"
        odd = bytearray()
        utf8, chunk = True, start
        while chunk:
            if utf8:
                try:
                    decoder.decode(chunk)
                except UnicodeDecodeError:
                    utf8 = False
            odd += chunk.translate(None, bytes(range(128)))[: _CHUNK - len(odd)]
            chunk = stream.read(_CHUNK)
    if utf8:
        return "utf-8"
    try:
        signs = odd.decode("cp1252")
    except UnicodeDecodeError:
        signs = ""
    if sum(sign.isalpha() for sign in signs) < _LETTERS * max(1, len(signs)):
        raise DataError(f"{where} is not UTF-8 text", hint="Save it as UTF-8: the encoding cannot be determined.")
    why.append(
        f"it is not UTF-8 text; read as cp1252 (Windows, Latin-1), the characters beyond ASCII are letters: "
        f"{''.join(dict.fromkeys(signs))[:20]}"
    )
    return "cp1252"
