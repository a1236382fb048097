"""The list of bad input: each gives one error that names what, where, got, expected and what to do."""

from __future__ import annotations

import gzip
import zipfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from airflow_mlops_provider.exceptions import DataError, MLOpsError, NotAllowedError, SpecError
from airflow_mlops_provider.pipelines import parse_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable

COLUMNS = {"target": "late", "timestamp": "at", "keys": ["id"], "numeric": ["x", "y"], "categorical": ["c"]}
START = datetime(2013, 2, 1, tzinfo=UTC)


def good(count: int = 40) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [f"r{index:03}" for index in range(count)],
            "at": [(START + timedelta(hours=index)).isoformat() for index in range(count)],
            "x": [float(index) for index in range(count)],
            "y": [index % 5 for index in range(count)],
            "c": ["abc"[index % 3] for index in range(count)],
            "late": [index % 2 for index in range(count)],
        }
    )


def replaced(column: str, row: int, value: object) -> pd.DataFrame:
    frame = good().astype({column: object})
    frame.loc[row, column] = value
    return frame


@dataclass
class Case:
    """What is written, and what the one error must name."""

    name: str
    write: Callable[[Path], object]
    file: str
    says: tuple[str, ...]
    error: type[MLOpsError] = DataError
    data: dict[str, Any] = field(default_factory=dict)
    validation: dict[str, Any] = field(default_factory=dict)
    task: str = "binary"


def csv(frame: pd.DataFrame, **options: Any) -> Callable[[Path], object]:
    return lambda path: frame.to_csv(path, index=False, **options)


def parquet(frame: pd.DataFrame) -> Callable[[Path], object]:
    return lambda path: frame.to_parquet(path, index=False)


def text(content: str, encoding: str = "utf-8") -> Callable[[Path], object]:
    return lambda path: path.write_text(content, encoding=encoding)


def truncated(write: Callable[[Path], object], keep: float = 0.5) -> Callable[[Path], object]:
    def cut(path: Path) -> None:
        write(path)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * keep)])

    return cut


def corrupted(write: Callable[[Path], object]) -> Callable[[Path], object]:
    def damage(path: Path) -> None:
        write(path)
        data = bytearray(path.read_bytes())
        data[20:120] = bytes(100)
        path.write_bytes(bytes(data))

    return damage


def zipped(members: dict[str, str]) -> Callable[[Path], object]:
    def pack(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)

    return pack


def gzipped(content: str) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(gzip.compress(content.encode()))


PAGE = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please sign in</body></html>"
NAIVE = good().assign(at=[(START + timedelta(hours=index)).isoformat()[:19] for index in range(40)])

IN_INGEST = [
    Case("a missing file", lambda path: None, "d.csv", ("d.csv", "is missing", "Correct the path")),
    Case("an empty folder", lambda path: path.mkdir(), "folder", ("folder", "holds no file")),
    Case(
        "a truncated Parquet file", truncated(parquet(good())), "d.parquet", ("d.parquet", "cannot be read", "Parquet")
    ),
    Case("a damaged Parquet file", corrupted(parquet(good())), "d.parquet", ("d.parquet", "cannot be read")),
    Case("a CSV named .parquet", csv(good()), "d.parquet", ("d.parquet", "cannot be read", "a Parquet file")),
    Case("a Parquet file named .csv", parquet(good()), "d.csv", ("d.csv", "is not UTF-8 text", "PAR1")),
    Case("a truncated zip", truncated(csv(good())), "d.csv.zip", ("d.csv.zip", "damaged or truncated archive")),
    Case("a truncated gzip", truncated(csv(good())), "d.csv.gz", ("d.csv.gz", "damaged or truncated archive")),
    Case("a CSV named .csv.gz", text("a,b\n1,2\n"), "d.csv.gz", ("d.csv.gz", "damaged or truncated archive")),
    Case(
        "a zip of two files", zipped({"a.csv": "x", "b.csv": "y"}), "d.csv.zip", ("exactly one file", "a.csv", "b.csv")
    ),
    Case("a web page saved as .csv", text(PAGE), "d.csv", ("d.csv", "is a web page, not CSV", "<!DOCTYPE html>")),
    Case("a web page in a gzip", gzipped("\n " + PAGE), "d.csv.gz", ("d.csv.gz", "is a web page")),
    Case("a tab-separated file named .csv", csv(good(), sep="\t"), "d.csv", ("d.csv", "by a tab", "commas")),
    Case("a semicolon-separated file", csv(good(), sep=";"), "d.csv", ("d.csv", "by a semicolon", "commas")),
    Case("an empty file", text(""), "d.csv", ("d.csv", "is empty", "at least one row")),
    Case("a header only", csv(good(0)), "d.csv", ("d.csv", "holds no row")),
    Case("a header without a line end", text("id,at,x,y,c,late"), "d.csv", ("d.csv", "holds no row")),
    Case("UTF-16", text("id,at,x,y,c,late\n1,2,3,4,5,6", "utf-16"), "d.csv", ("d.csv", "is not UTF-8 text")),
    Case("Latin-1", csv(replaced("c", 3, "Zürich"), encoding="latin-1"), "d.csv", ("d.csv", "is not UTF-8 text")),
    Case(
        "a row of too many fields",
        text("id,at,x,y,c,late\n1,2013-02-01T00:00:00Z,3,4,a,1,7\n"),
        "d.csv",
        ("d.csv", "Expected 6 columns, got 7", "separated by commas"),
    ),
    Case("an unknown format", csv(good()), "d.xlsx", ("d.xlsx", "no known format", ".parquet", "data.source.format")),
    Case("a missing column", csv(good().drop(columns="y")), "d.csv", ("d.csv", "has no column 'y'", "data.columns")),
    Case(
        "a renamed column",
        csv(good().rename(columns={"late": "lated"})),
        "d.csv",
        ("has no column 'late'", "Did you mean 'lated'?"),
    ),
    Case(
        "a renamed Parquet column",
        parquet(good().rename(columns={"x": "X1"}).assign(xx=1)),
        "d.parquet",
        ("has no column 'x'", "Did you mean 'xx'?"),
    ),
    Case(
        "a column that is there twice",
        text("id,at,x,x,y,c,late\n1,2013-02-01T00:00:00Z,1,2,3,a,0\n"),
        "d.csv",
        ("column 'x' more than once",),
    ),
    Case(
        "a retyped column",
        parquet(good().assign(y="five")),
        "d.parquet",
        ("column 'y', row 1 of file", "d.parquet", "got five", "a number; the column holds", "string"),
    ),
    Case(
        "a list column", parquet(good().assign(c=[["a"]] * 40)), "d.parquet", ("column 'c', row 1", "text or a number")
    ),
    Case(
        "mixed types in a CSV",
        csv(replaced("y", 30, "unknown")),
        "d.csv",
        ("column 'y', row 31 of file", "d.csv", "got unknown", "expected a number"),
    ),
    Case(
        "a NaN target",
        parquet(good().assign(late=good()["late"].where(good().index != 7))),
        "d.parquet",
        ("column 'late', row 8 of file", "a target in every row", "data.label_delay"),
    ),
    Case("a missing CSV target", csv(replaced("late", 7, None)), "d.csv", ("column 'late', row 8", "1 rows have none")),
    Case(
        "an infinite target",
        parquet(replaced("late", 9, float("inf")).astype({"late": float})),
        "d.parquet",
        ("column 'late', row 10", "got inf", "a target in every row"),
        task="regression",
    ),
    Case(
        "a fractional class",
        parquet(good().assign(late=0.5)),
        "d.parquet",
        ("column 'late', row 1", "got 0.5", "a class"),
    ),
    Case(
        "naive timestamps",
        csv(NAIVE),
        "d.csv",
        ("column 'at', row 1 of file", "2013-02-01", "a timestamp with its zone", "data.timezone"),
    ),
    Case(
        "some naive timestamps",
        csv(replaced("at", 12, "2013-02-01T12:00:00")),
        "d.csv",
        ("column 'at', row 13", "got 2013-02-01T12:00:00", "with its zone like the rows before"),
    ),
    Case(
        "an unreadable timestamp",
        csv(replaced("at", 5, "yesterday")),
        "d.csv",
        ("column 'at', row 6", "got yesterday", "2013-03-01T06:00:00Z"),
    ),
    Case(
        "a missing timestamp",
        csv(replaced("at", 5, None)),
        "d.csv",
        ("column 'at', row 6", "got no value", "a timestamp in every row"),
    ),
    Case(
        "a number for a timestamp",
        parquet(good().assign(at=20130201)),
        "d.parquet",
        ("column 'at', row 1", "got 20130201", "a timestamp such as"),
    ),
    Case(
        "future timestamps",
        csv(good().assign(at=[f"2013-03-{day:02}T00:00:00Z" for day in range(1, 21)] * 2)),
        "d.csv",
        ("no row that may be seen at as_of 2013-03-01", "2013-03-01T00:00:00+00:00 to 2013-03-20", "later as_of"),
    ),
    Case(
        "a zone that does not exist",
        csv(NAIVE),
        "d.csv",
        ("data.timezone", "Mars/Olympus"),
        SpecError,
        data={"timezone": "Mars/Olympus"},
    ),
    Case(
        "a line that is not JSON", text('{"id": 1}\n{"id": \n'), "d.jsonl", ("line 2 of file", "d.jsonl", "is not JSON")
    ),
    Case("a JSON array", text('[{"id": 1}]\n'), "d.jsonl", ("line 1 of file", "is not an object", "one object a line")),
    Case(
        "mixed types in JSON lines",
        lambda path: replaced("x", 17, "high").to_json(path, orient="records", lines=True),
        "d.jsonl",
        ("column 'x', row 18 of file", "d.jsonl", "got high", "expected a number"),
    ),
    Case(
        "a folder that is no day",
        lambda path: (path / "date=soon").mkdir(parents=True) or good().to_csv(path / "date=soon/d.csv"),
        "folder",
        ("date=soon", "names no day", "date=2013-03-01"),
        data={"partitioned_by": "date"},
    ),
    Case(
        "a file outside the partitions",
        lambda path: path.mkdir() or good().to_csv(path / "d.csv"),
        "folder",
        ("d.csv", "is in no 'date' folder"),
        data={"partitioned_by": "date"},
    ),
    Case(
        "no partition in time",
        lambda path: (path / "date=2013-05-01").mkdir(parents=True) or good().to_csv(path / "date=2013-05-01/d.csv"),
        "folder",
        ("no partition 'date' in the time asked for", "2013-05-01", "as_of 2013-03-01"),
        data={"partitioned_by": "date"},
    ),
]

IN_VALIDATION = [
    Case("one row", csv(good(1)), "d.csv", ("rows_are_enough", "1 row,", "at least 20 rows")),
    Case("one row, allowed", csv(good(1)), "d.csv", ("rows_are_enough", "at least 2 rows"), validation={"min_rows": 1}),
    Case(
        "too many rows",
        csv(good()),
        "d.csv",
        ("rows_are_not_too_many", "40 rows", "at most 30"),
        validation={"max_rows": 30},
    ),
    Case(
        "a single-class target",
        csv(good().assign(late=1)),
        "d.csv",
        ("target_varies of column 'late'", "1 class: 1", "exactly 2 classes"),
    ),
    Case(
        "three classes of two",
        csv(good().assign(late=[0, 1, 2, 1] * 10)),
        "d.csv",
        ("target_varies", "3 classes: 0, 1, 2"),
    ),
    Case(
        "a constant regression target",
        csv(good().assign(late=1.5)),
        "d.csv",
        ("target_varies", "1 value: 1.5"),
        task="regression",
    ),
    Case(
        "a class label of another type", csv(replaced("late", 30, "maybe")), "d.csv", ("target_varies", "0, 1, maybe")
    ),
    Case(
        "an all-null number",
        csv(good().assign(x=None)),
        "d.csv",
        ("column_is_not_all_null of column 'x'", "40 of 40 values"),
    ),
    Case(
        "an all-null category", parquet(good().assign(c=None)), "d.parquet", ("column_is_not_all_null of column 'c'",)
    ),
    Case(
        "an infinite feature",
        parquet(replaced("x", 11, float("inf")).astype({"x": float})),
        "d.parquet",
        ("column_is_finite of column 'x'", "1 of 40 values, the first in row 12", "no infinite value"),
    ),
    Case(
        "a missing required value",
        csv(replaced("c", 4, None)),
        "d.csv",
        ("column_has_no_null of column 'c'", "row 5", "a value in every row"),
        validation={"required": ["c"]},
    ),
    Case("a missing key", csv(replaced("id", 4, None)), "d.csv", ("column_has_no_null of column 'id'", "row 5")),
    Case(
        "a repeated key",
        csv(replaced("id", 4, "r003")),
        "d.csv",
        ("keys_are_unique of column 'id'", "1 repeated rows, such as id=r003", "each id once"),
    ),
]


def left_behind(store: Any, step: str) -> list[str]:
    root = Path(store.objects.root)
    if not root.exists():
        return []
    files = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    return [name for name in files if name.startswith(".tmp") or name.startswith(f"receipts/tested/{step}/")]


@pytest.mark.parametrize("case", IN_INGEST, ids=lambda case: case.name)
def test_bad_input_stops_in_ingest(case: Case, steps: Any, tmp_path: Path) -> None:
    path = tmp_path / case.file
    case.write(path)
    source = {"uri": str(path)}
    if "partitioned_by" in case.data:
        source["partitioned_by"] = case.data["partitioned_by"]
    data = {"source": source, "columns": COLUMNS, **{k: v for k, v in case.data.items() if k != "partitioned_by"}}
    with pytest.raises(MLOpsError) as caught:
        steps.ingest(data, task=case.task)
    assert type(caught.value) is case.error
    for part in case.says:
        assert part in str(caught.value)
    assert len(str(caught.value)) < 2000
    assert left_behind(steps.store, "ingest") == []


@pytest.mark.parametrize("case", IN_VALIDATION, ids=lambda case: case.name)
def test_bad_input_stops_in_validation(case: Case, steps: Any, tmp_path: Path) -> None:
    path = tmp_path / case.file
    case.write(path)
    dataset = steps.ingest({"source": {"uri": str(path)}, "columns": COLUMNS}, task=case.task)
    failure = steps.validate(dataset, **case.validation).failure
    assert failure is not None
    said = f"{failure.what}: got {failure.got}, expected {failure.expected}. {failure.hint}"
    for part in case.says:
        assert part in said


def test_a_byte_order_mark_is_not_bad_input(steps: Any, tmp_path: Path) -> None:
    good().to_csv(tmp_path / "d.csv", index=False, encoding="utf-8-sig")
    marked = steps.ingest({"source": {"uri": str(tmp_path / "d.csv")}, "columns": COLUMNS})
    good().to_csv(tmp_path / "plain.csv", index=False)
    assert (
        marked.artifacts == steps.ingest({"source": {"uri": str(tmp_path / "plain.csv")}, "columns": COLUMNS}).artifacts
    )


def frame_reader(reader: Callable[[str], str], body: str) -> dict[str, Any]:
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return {
        "source": {"reader": reader(f"import pandas as pd\n\ndef read(as_of, start):\n{lines}\n")},
        "columns": COLUMNS,
    }


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return [1, 2]", ("reader plugin", "gave what is not a table", "got int", "a DataFrame")),
        ("return None", ("gave what is not a table", "NoneType")),
        ("open('nowhere.csv')", ("does not find its data", "nowhere.csv")),
        ("yield from ()", ("holds no row",)),
        (
            "return pd.DataFrame({'late': [0, 1], 'at': pd.Timestamp('2013-02-01', tz='UTC'), 'id': [1, 'a'],"
            " 'x': [1, 2], 'y': [3.5, 'many'], 'c': ['a', 1]})",
            ("column 'y', row 2 of reader", "got many", "expected a number"),
        ),
        (
            "frame = pd.DataFrame({'late': [0, 1], 'at': pd.Timestamp('2013-02-01', tz='UTC'), 'id': [1, 2],"
            " 'x': [1, 2], 'y': [3, 4], 'c': ['a', 'b']})\n"
            "yield frame\nyield frame.assign(late='often')",
            ("column 'late' changes its type in reader", "from row 3 on", "int64"),
        ),
    ],
)  # fmt: skip
def test_what_a_reader_gives_wrong_is_named(
    steps: Any, reader: Callable[[str], str], body: str, says: tuple[str, ...]
) -> None:
    with pytest.raises(DataError) as caught:
        steps.ingest(frame_reader(reader, body))
    for part in says:
        assert part in str(caught.value)
    assert left_behind(steps.store, "ingest") == []


def spec(**changes: Any) -> dict[str, Any]:
    return {
        "name": "p",
        "task": "binary",
        "data": {"source": {"uri": "d.csv"}, "columns": COLUMNS},
        "training": {"candidates": {"a": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
        **changes,
    }


def test_an_unknown_key_names_its_path_and_the_nearest_key() -> None:
    with pytest.raises(SpecError) as caught:
        parse_pipeline(spec(validation={"min_row": 5}), where="flights.yaml")
    for part in ("flights.yaml", "validation.min_row", "did you mean 'min_rows'?"):
        assert part in str(caught.value)


def test_a_reader_outside_the_allow_list_names_what_is_allowed(steps: Any) -> None:
    with pytest.raises(NotAllowedError, match=r"'shutil.rmtree' is outside.*sklearn.*allowed_modules"):
        steps.ingest({"source": {"reader": "shutil.rmtree"}, "columns": COLUMNS})


def test_an_earlier_result_survives_a_source_that_breaks_and_its_repair_is_read(steps: Any, tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    data = {"source": {"uri": str(path)}, "columns": COLUMNS}
    good().to_csv(path, index=False)
    first = steps.ingest(data)
    path.write_text(PAGE)
    with pytest.raises(DataError, match="web page"):
        steps.ingest(data)
    assert steps.store.fetch(first.artifacts["dataset"]).is_file()
    good(41).to_csv(path, index=False)
    assert steps.ingest(data).facts["rows"] == 41
