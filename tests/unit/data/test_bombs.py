"""Files that would unpack, or parse, to far more than a process can take."""

from __future__ import annotations

import gzip
import io
import random
import zipfile
from typing import TYPE_CHECKING

import pytest

from airflow_mlops_provider.bounds import MAX_DOCUMENT_BYTES, parse_json, unpacked_limit
from airflow_mlops_provider.data.batches import Wanted
from airflow_mlops_provider.data.text_files import read_csv, read_json_lines
from airflow_mlops_provider.exceptions import DataError
from airflow_mlops_provider.spec import Columns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COLUMNS = Columns(target="y", numeric=["x"])
MANY = unpacked_limit(0) + 1
ROWS = b"x,y\n" + b"1,0\n" * 1000


def zipped(path: Path) -> None:
    block = b"1,0\n" * (1 << 20)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("rows.csv", "w") as member,
    ):
        member.write(b"x,y\n")
        for _ in range(MANY // len(block) + 1):
            member.write(block)


def gzipped(path: Path) -> None:
    # Members of a gzip file follow one another, so that one packed block serves for all.
    block = gzip.compress(b"1,0\n" * (1 << 20))
    path.write_bytes(gzip.compress(b"x,y\n") + block * (MANY // (4 << 20) + 1))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("rows.csv.zip", zipped),
        ("rows.csv.gz", gzipped),
    ],
    ids=["zip", "gzip"],
)
def test_an_archive_that_unpacks_to_far_more_than_it_is_is_refused(
    name: str, write: Callable[[Path], None], tmp_path: Path
) -> None:
    write(tmp_path / name)

    with pytest.raises(DataError, match=f"file {name} unpacks to far more than its size: expected at most 256 MiB"):
        for _ in read_csv(tmp_path / name, f"file {name}", Wanted(COLUMNS)):
            pass


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"x": 1, "y": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "line 2 of rows is not JSON"),
        (b'{"x": "' + b"a" * MAX_DOCUMENT_BYTES + b'", "y": 1}', "line 2 of rows is too long"),
    ],
    ids=["nested", "long"],
)
def test_a_line_that_nobody_could_hold_is_refused(line: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b'{"x": 1, "y": 0}\n' + line + b"\n")

    with pytest.raises(DataError, match=message):
        list(read_json_lines(tmp_path / "rows.jsonl", "rows", Wanted(COLUMNS)))


@pytest.mark.parametrize("kind", ["zip", "gz"])
def test_a_damaged_archive_is_one_error(kind: str, tmp_path: Path) -> None:
    chance = random.Random(7)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.csv", ROWS)
    good = buffer.getvalue() if kind == "zip" else gzip.compress(ROWS)
    path, refused = tmp_path / f"rows.csv.{kind}", 0
    for _ in range(1000):
        data = bytearray(good)
        for _ in range(chance.choice((1, 2, 8))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data[: chance.choice((len(data), chance.randrange(len(data))))])
        try:
            list(read_csv(path, "rows", Wanted(COLUMNS)))
        except DataError:
            refused += 1

    assert refused > 300


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"[" * 100_000, "nested more than 64 deep"),
        (b"[" * 65 + b"]" * 65, "nested more than 64 deep"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "nested more than 64 deep"),
        (b"[" + b"[]," * 8_000_000 + b"[]]", "more than 16777216"),
        (b"NaN", "NaN is not a JSON number"),
        (b'{"a": [-Infinity]}', "-Infinity is not a JSON number"),
        (b"1" * 5000, "4300"),
        (b"\xff\xfe", "codec can't decode|Expecting value"),
        (b"", "Expecting value"),
    ],
)
def test_json_is_read_within_bounds(raw: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(raw)
