"""Real files as people have them: `init` and ingest give each column the same type, or say what is wrong with it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_mlops_provider.data.tables import read_table, table_schema
from airflow_mlops_provider.drafting import draft_pipeline
from airflow_mlops_provider.drafting.roles import Roles, roles_of
from airflow_mlops_provider.drafting.sample import read_sample
from airflow_mlops_provider.exceptions import DataError
from airflow_mlops_provider.spec import Csv

CASES = Path(__file__).parent / "cases"
AS_OF = datetime(2030, 1, 1, tzinfo=UTC)


@dataclass
class Case:
    """What `init` makes of a file.

    :param csv: what it finds of `data.source.csv`, besides the defaults.
    :param notes: what its reason for leaving a column out holds.
    :param types: of columns, as ingest stores them.
    """

    file: str
    keys: list[str]
    numeric: list[str]
    categorical: list[str]
    timestamp: str | None = None
    target: str = "left"
    csv: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)


FILES = [
    Case("bigquery_utc.csv", ["id"], ["age"], ["plan"], "at"),
    Case("binary16_few.parquet", [], ["age"], ["plan"], notes={"grp": "holds fixed_size_binary[16]: bytes"}),
    Case("blank_number.csv", ["id"], ["age", "balance"], ["plan"], "at", csv={"missing": ["", " "]}),
    Case("cr_only.csv", ["id"], ["age"], ["plan"], "at"),
    Case("customerID.csv", ["customerID"], ["age"], ["plan"], "at"),
    Case("epoch_ms.jsonl", ["id"], ["age"], ["plan"], "at", csv={"dates": "epoch_milliseconds"}),
    Case("id20.csv", ["id"], ["age"], ["plan"], "at", types={"id": "string"}),
    Case("index_of_a_sample.csv", [], ["age"], ["plan"], "at", notes={"": "has no name"}),
    Case("latin1.csv", ["id"], ["age"], ["plan"], "at", csv={"encoding": "cp1252"}),
    Case("leading_zeros.csv", ["id"], ["age"], ["plan", "zip"], "at"),
    Case("mac.csv.zip", ["customerID"], ["age"], ["plan"], "at"),
    Case("mixed.jsonl", ["id"], ["age"], ["plan"], "at", types={"age": "double"}),
    Case("mixed_naive_zoned.csv", ["id"], ["age"], ["plan"], notes={"at": "30 have a zone and 30 do not"}),
    Case("namibia.csv", ["id"], ["age"], ["plan", "country"], "at"),
    Case("one_infinite.csv", ["id"], [], ["plan"], "at", notes={"age": "1 of 60 values is infinite (row 8)"}),
    Case("open_end_9999.csv", ["id"], ["age"], ["plan"], notes={"valid_to": "an open end such as 9999-12-31"}),
    Case("parts_of_the_target.csv", [], ["temp", "casual", "registered"], [], "day", target="cnt"),
    Case("quoted_header_newline.csv", ["id"], ["age\n(years)"], ["plan"], "at"),
    Case("uint64_key.parquet", ["id"], ["age"], [], types={"id": "string"}),
    Case("uuid_column.parquet", ["uid"], ["age"], ["plan"], types={"uid": "string"}),
    Case("wide_header.csv", [], [f"gene_{n:05}_expression_level_normalised" for n in range(1800)], []),
    Case(
        "zero_date.csv",
        ["id"],
        ["age"],
        ["plan"],
        notes={"at": "1 of 60 values is not a timestamp: '0000-00-00 00:00:00' (row 10)"},
    ),
]


def written(name: str, folder: Path) -> Path:
    """Copy a file, or make the one whose header is longer than a reader's usual first look."""
    path = folder / name
    if name != "wide_header.csv":
        return Path(shutil.copy(CASES / name, path))
    names = [f"gene_{number:05}_expression_level_normalised" for number in range(1800)]
    rows = [[str((row * 7 + number * number) % 10) for number in range(1800)] + [str(row % 2)] for row in range(60)]
    path.write_text("\n".join(",".join(row) for row in [[*names, "left"], *rows]) + "\n")
    return path


def ingested(path: Path, roles: Roles, steps: Any) -> Any:
    data: dict[str, Any] = {
        "source": {"uri": str(path), "csv": roles.csv.model_dump()},
        "columns": roles.columns.model_dump(),
        "timezone": "UTC",
    }
    return steps.ingest(data, task=roles.task, as_of=AS_OF).artifacts["dataset"]


@pytest.mark.parametrize("case", FILES, ids=lambda case: case.file)
def test_init_finds_what_is_right_and_ingest_reads_it_so(case: Case, steps: Any, tmp_path: Path) -> None:
    path = written(case.file, tmp_path)
    sample = read_sample(path, case.target)
    roles = roles_of(sample, case.target, None, [])
    assert (roles.timestamp, roles.keys) == (case.timestamp, case.keys)
    assert (roles.numeric, roles.categorical) == (case.numeric, case.categorical)
    assert roles.csv.model_dump(exclude_defaults=True) == case.csv
    assert bool(roles.why_csv) == bool(case.csv)
    assert roles.left_out.keys() == case.notes.keys()
    for name, note in case.notes.items():
        assert note in roles.left_out[name]
    if not roles.numeric + roles.categorical:
        return
    dataset = ingested(path, roles, steps)
    schema = table_schema(steps.store, dataset)
    assert {name: str(schema.field(name).type) for name in case.types} == case.types
    frame = read_table(steps.store, dataset)
    assert len(frame) == len(sample.table)
    for name in roles.columns.features:
        assert frame[name].isna().sum() == sample.table[name].null_count, name


@pytest.mark.parametrize("name", ["customerID.csv", "index_of_a_sample.csv", "blank_number.csv", "uuid_column.parquet"])
def test_what_is_drafted_of_it_passes_its_own_steps(name: str, tmp_path: Path) -> None:
    draft = draft_pipeline(written(name, tmp_path), target="left")
    assert draft.rows >= 60


@pytest.mark.parametrize(
    ("name", "target", "says"),
    [
        ("page.parquet", "left", ("is a web page, not Parquet", "Download the file itself")),
        ("no_letters.csv", "left", ("is not UTF-8 text", "Save it as UTF-8")),
        ("list.jsonl", "left", ("line 1 of data file", "is not an object", "one object per line")),
    ],
)
def test_what_cannot_be_read_is_one_line_that_fits_the_format(
    name: str, target: str, says: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "no_letters.csv").write_bytes(b"a,left\n\xf7\xd7\xa7\xb1,1\n" * 60)
    (tmp_path / "list.jsonl").write_text("[1, 2]\n")
    path = tmp_path / name
    if not path.exists():
        written(name, tmp_path)
    with pytest.raises(DataError) as raised:
        read_sample(path, target)
    for part in says:
        assert part in str(raised.value)
    assert "with commas" not in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    "content",
    [
        b'id,"age\r(years)",left\n1,20,0\n',
        b'id,"age\n(years)",left\n1,20,0\n',
        b"id,left\n1,0\n" + b'2,"a\rb"\n' * 3,
        b"id," + b"a" * 70_000 + b"," + b"b" * 70_000 + b"\n1,2,3\n",
    ],
    ids=[
        "carriage return in the header",
        "newline in the header",
        "carriage return in a row",
        "header of 140,000 bytes",
    ],
)
def test_a_column_that_is_not_there_is_named_whatever_the_fields_of_its_file_hold(
    content: bytes, steps: Any, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_bytes(content)
    assert read_sample(tmp_path / "rows.csv", "churned").csv == Csv()
    data = {"source": {"uri": str(tmp_path / "rows.csv")}, "columns": {"target": "churned", "numeric": ["id"]}}
    with pytest.raises(DataError, match="has no column.*'churned'"):
        steps.ingest(data, task="binary", as_of=AS_OF)


@pytest.mark.parametrize(
    "start", ['"id"', '\n"id"', "\r\nid"], ids=["in quotes", "in the second line", "not in quotes"]
)
def test_the_first_name_of_a_file_with_a_byte_order_mark_is_read_as_any_other(
    start: str, steps: Any, tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(f"\ufeff{start},age,left\n1,20,0\n2,30,1\n".encode())
    assert read_sample(path, "left").table.column_names == ["id", "age", "left"]
    data = {"source": {"uri": str(path)}, "columns": {"target": "left", "keys": ["id"], "numeric": ["age"]}}
    dataset = steps.ingest(data, task="binary", as_of=AS_OF).artifacts["dataset"]
    assert read_table(steps.store, dataset)["id"].tolist() == ["1", "2"]


def test_another_separator_is_found_though_a_field_holds_the_end_of_a_line(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b'"age\r(years)";id;left\n20;1;0\n')
    assert read_sample(tmp_path / "rows.csv", "left").csv == Csv(separator=";")


def test_values_are_what_the_file_says(steps: Any, tmp_path: Path) -> None:
    def values(name: str, column: str) -> list[Any]:
        path = written(name, tmp_path)
        found = read_table(steps.store, ingested(path, roles_of(read_sample(path, "left"), "left", None, []), steps))
        return sorted({str(value) for value in found[column].dropna()})

    assert values("namibia.csv", "country") == ["BW", "NA", "ZA"]
    assert values("leading_zeros.csv", "zip")[0] == "00501"
    assert values("latin1.csv", "plan")[-1] == "München"
    assert values("id20.csv", "id")[0] == "12345678901234567000"
    assert values("uint64_key.parquet", "id")[0] == "9223372036854775808"
    assert "c4b09ca6-ed93-54da-6b27-0302a06a3a5c" in values("uuid_column.parquet", "uid")
