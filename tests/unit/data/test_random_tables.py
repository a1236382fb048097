"""Random tables, and random bytes: `init` and ingest agree on every column, and only our own errors leave."""

from __future__ import annotations

import json
import random
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_mlops_provider.data.conversion import Column, to_moment
from airflow_mlops_provider.data.forms import Forms
from airflow_mlops_provider.data.tables import iter_tables
from airflow_mlops_provider.drafting.roles import roles_of
from airflow_mlops_provider.drafting.sample import read_sample
from airflow_mlops_provider.exceptions import MLOpsError
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mlops_provider.drafting.roles import Roles

ROWS = 60
FORMATS = ["csv", "jsonl", "parquet"]
START = datetime(2024, 1, 1)


def grouped(number: float, decimal: str, thousands: str) -> str:
    return f"{number:,.2f}".replace(",", "_").replace(".", decimal).replace("_", thousands)


#: Kinds of columns, by the value of a row; each as people write it.
KINDS: dict[str, Callable[[random.Random, int], Any]] = {
    "whole": lambda chance, row: chance.randrange(-50, 5000),
    "fraction": lambda chance, row: round(chance.gauss(0, 10), 3),
    "exponent": lambda chance, row: f"{chance.gauss(0, 1):e}",
    "text number": lambda chance, row: str(chance.randrange(100)),
    "padded": lambda chance, row: f" {chance.randrange(100)} ",
    "decimal comma": lambda chance, row: grouped(chance.uniform(0, 9), ",", "."),
    "thousands": lambda chance, row: grouped(chance.uniform(0, 9e6), ".", ","),
    "price": lambda chance, row: f"${grouped(chance.uniform(0, 9e3), '.', ',')}",
    "percent": lambda chance, row: f"{chance.randrange(100)}%",
    "blank among numbers": lambda chance, row: " " if row % 17 == 3 else chance.randrange(900) / 8,
    "question mark": lambda chance, row: "?" if row % 19 == 3 else str(chance.randrange(900)),
    "NA among numbers": lambda chance, row: "NA" if row % 13 == 3 else str(chance.randrange(900)),
    "country": lambda chance, row: chance.choice(["NA", "ZA", "BW"]),
    "empty": lambda chance, row: chance.choice(["", "a", "b"]),
    "missing": lambda chance, row: None if row % 9 == 2 else chance.randrange(90),
    "infinite": lambda chance, row: "inf" if row == 7 else str(chance.randrange(90)),
    "postcode": lambda chance, row: f"{chance.randrange(9):05}",
    "13 digits": lambda chance, row: 4_006_381_300_000 + chance.randrange(90_000),
    "20 digits": lambda chance, row: str(12_345_678_901_234_567_000 + row),
    "category": lambda chance, row: chance.choice("abc"),
    "grade": lambda chance, row: chance.choice(["0", "1", "2", "3+"]),
    "sentence": lambda chance, row: f"call, {row}",
    "truth": lambda chance, row: chance.choice(["true", "False"]),
    "truth value": lambda chance, row: chance.random() < 0.5,
    "ISO": lambda chance, row: (START + timedelta(hours=7 * row)).isoformat(" "),
    "UTC": lambda chance, row: f"{START + timedelta(hours=7 * row)} UTC",
    "EST": lambda chance, row: f"{START + timedelta(hours=7 * row)} EST",
    "German": lambda chance, row: f"{START + timedelta(days=row):%d.%m.%Y}",
    "compact": lambda chance, row: int(f"{START + timedelta(days=row):%Y%m%d}"),
    "time of day": lambda chance, row: f"{row % 24:02}:{row:02}",
    "zero date": lambda chance, row: "0000-00-00" if row == 9 else f"2024-01-{1 + row % 28:02}",
    "some zones": lambda chance, row: f"2024-01-01T00:{row:02}:00" + ("Z" if row % 2 else ""),
    "epoch": lambda chance, row: 1_704_067_200_000 + 3_600_000 * row,
    "mixture": lambda chance, row: chance.choice([1, "x", 2.5, "", "31.12.2020", "1,5", None]),
    "umlauts": lambda chance, row: chance.choice(["München", "Köln", "Ärger"]),
}


def write(columns: dict[str, list[Any]], kind: str, folder: Path, encoding: str = "utf-8") -> Path:
    path = folder / f"rows.{kind}"
    names = list(columns)
    rows = list(zip(*columns.values(), strict=True))
    if kind == "jsonl":
        path.write_text("\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in rows))
    elif kind == "csv":
        import csv

        with path.open("w", newline="", encoding=encoding) as file:
            csv.writer(file).writerows([names, *rows])
    else:
        arrays = {}
        for name, values in columns.items():
            try:
                arrays[name] = pa.array(values)
            except (pa.ArrowInvalid, pa.ArrowTypeError):
                arrays[name] = pa.array([None if value is None else str(value) for value in values])
        pq.write_table(pa.table(arrays), path)
    return path


def ingest(path: Path, roles: Roles, folder: Path) -> pa.Table:
    data = {
        "source": {"uri": str(path), "csv": roles.csv.model_dump()},
        "columns": roles.columns.model_dump(),
        "timezone": "UTC",
    }
    section = {"task": roles.task, "data": data}
    request = StepRequest(step="ingest", pipeline="p", as_of=datetime(2040, 1, 1, tzinfo=UTC), section=section)
    store = ArtifactStore(str(folder / "store"))
    result = run_step(request, store)
    return pa.concat_tables(iter_tables(store, result.artifacts["dataset"]), promote_options="permissive")


def check_agreement(seed: int) -> None:
    """Compare what `init` sees of one random table with what ingest makes of it."""
    chance = random.Random(seed)
    kinds = chance.sample(list(KINDS), chance.randrange(2, 7))
    columns = {f"{kind} {index}": [KINDS[kind](chance, row) for row in range(ROWS)] for index, kind in enumerate(kinds)}
    columns["y"] = [row % 2 for row in range(ROWS)]
    file_kind = chance.choice(FORMATS)
    with tempfile.TemporaryDirectory() as name:
        path = write(columns, file_kind, Path(name), chance.choice(["utf-8", "cp1252", "utf-8-sig"]))
        try:
            sample = read_sample(path, "y")
            roles = roles_of(sample, "y", None, [])
        except MLOpsError as error:
            if any(part in str(error) for part in ("columns are moments", "no column is left")):
                return
            raise
        rows = ingest(path, roles, Path(name))
    assert len(rows) == len(sample.table) == ROWS, seed
    for column in roles.columns.all:
        seen, made = sample.table[column], rows[column]
        where = (seed, file_kind, column, str(seen.type), str(made.type))
        assert made.null_count == seen.null_count, where
        if column in roles.numeric:
            ordered = seen.cast(pa.float64(), safe=False)
            assert sorted(made.drop_null().to_pylist()) == sorted(ordered.drop_null().to_pylist()), where
        elif column == roles.timestamp:
            numbers = pa.arange(1, ROWS + 1)
            moments = to_moment(Column(column, seen, "the file", numbers, Forms(roles.csv)), "UTC")
            assert sorted(made.to_pylist()) == sorted(moments.to_pylist()), where
        else:
            assert len(made.unique()) == len(seen.unique()), where


@pytest.mark.parametrize("seed", range(60))
def test_init_and_ingest_agree_on_a_random_table(seed: int) -> None:
    check_agreement(seed)


@pytest.mark.nightly
def test_init_and_ingest_agree_on_10_000_random_tables() -> None:
    for seed in range(1000, 11_000):
        check_agreement(seed)


def check_damaged(seed: int) -> None:
    """Read a file of which bytes were changed, cut or repeated: rows, or one of our errors."""
    chance = random.Random(seed)
    kinds = chance.sample(list(KINDS), 4)
    columns = {f"c{index}": [KINDS[kind](chance, row) for row in range(ROWS)] for index, kind in enumerate(kinds)}
    columns["y"] = [row % 2 for row in range(ROWS)]
    with tempfile.TemporaryDirectory() as name:
        path = write(columns, chance.choice(FORMATS), Path(name))
        content = bytearray(path.read_bytes())
        for _ in range(chance.choice((1, 3, 30))):
            place = chance.randrange(len(content))
            if chance.random() < 0.5:
                content[place] = chance.choice((0, 10, 13, 34, 44, 59, 92, 123, 125, 255, chance.randrange(256)))
            else:
                part = content[place : place + chance.randrange(40)]
                content[place:place] = part * chance.randrange(3)
        path.write_bytes(content[: chance.choice((len(content), chance.randrange(len(content))))])
        try:
            roles = roles_of(read_sample(path, "y"), "y", None, [])
            ingest(path, roles, Path(name))
        except MLOpsError:
            return


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_file_gives_rows_or_one_of_our_errors(seed: int) -> None:
    check_damaged(seed)


@pytest.mark.nightly
def test_20_000_damaged_files_give_rows_or_one_of_our_errors() -> None:
    for seed in range(1000, 21_000):
        check_damaged(seed)
