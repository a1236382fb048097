"""Bad input that ingest stops: each gives one error that names what, where, got, expected and what to do."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from bad_files import (
    COLUMNS,
    PAGE,
    START,
    Case,
    beheaded,
    corrupted,
    csv,
    good,
    gzipped,
    left_behind,
    parquet,
    replaced,
    text,
    truncated,
    zipped,
)

from airflow_mlops_provider.exceptions import DataError, MLOpsError, SpecError

if TYPE_CHECKING:
    from pathlib import Path

NAIVE = good().assign(at=[(START + timedelta(hours=index)).isoformat()[:19] for index in range(40)])
IN_INGEST = [
    Case("a missing file", lambda path: None, "d.csv", ("d.csv", "is missing", "Correct the path")),
    Case("an empty folder", lambda path: path.mkdir(), "folder", ("folder", "contains no files")),
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
        "a zip without its beginning", beheaded(csv(good())), "d.csv.zip", ("d.csv.zip", "damaged or truncated archive")
    ),
    Case(
        "a zip of two files", zipped({"a.csv": "x", "b.csv": "y"}), "d.csv.zip", ("exactly one file", "a.csv", "b.csv")
    ),
    Case("a web page saved as .csv", text(PAGE), "d.csv", ("d.csv", "is a web page, not CSV", "<!DOCTYPE html>")),
    Case("a web page in a gzip", gzipped("\n " + PAGE), "d.csv.gz", ("d.csv.gz", "is a web page")),
    Case("a tab-separated file named .csv", csv(good(), sep="\t"), "d.csv", ("d.csv", "with a tab", "commas")),
    Case("a semicolon-separated file", csv(good(), sep=";"), "d.csv", ("d.csv", "with a semicolon", "commas")),
    Case("an empty file", text(""), "d.csv", ("d.csv", "is empty", "at least one row")),
    Case("a header only", csv(good(0)), "d.csv", ("d.csv", "contains no rows")),
    Case("a header without a line end", text("id,at,x,y,c,late"), "d.csv", ("d.csv", "contains no rows")),
    Case("UTF-16", text("id,at,x,y,c,late\n1,2,3,4,5,6", "utf-16"), "d.csv", ("d.csv", "is not UTF-8 text")),
    Case("Latin-1", csv(replaced("c", 3, "Zürich"), encoding="latin-1"), "d.csv", ("d.csv", "is not UTF-8 text")),
    Case(
        "Latin-1 where numbers belong",
        text("id,at,x,y,c,late\n1,2013-02-01T00:00:00Z,3,ü,a,1\n", "latin-1"),
        "d.csv",
        ("d.csv", "is not UTF-8 text", "Save it as UTF-8"),
    ),
    Case(
        "Latin-1 in JSON lines",
        text('{"id": 1}\n{"id": "ü"}\n', "latin-1"),
        "d.jsonl",
        ("line 2 of file", "d.jsonl", "is not UTF-8 text"),
    ),
    Case(
        "a row of too many fields",
        text("id,at,x,y,c,late\n1,2013-02-01T00:00:00Z,3,4,a,1,7\n"),
        "d.csv",
        ("d.csv", "Expected 6 columns, got 7", "separated by a comma"),
    ),
    Case("an unknown format", csv(good()), "d.xlsx", ("d.xlsx", "unknown format", ".parquet", "data.source.format")),
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
        ("column 'y', row 1 of file", "d.parquet", "got five; 40 of 40 values are not numbers", "a number"),
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
        ("column 'at', row 1 of file", "2013-02-01", "a timestamp with a time zone", "data.timezone"),
    ),
    Case(
        "some naive timestamps",
        csv(replaced("at", 12, "2013-02-01T12:00:00")),
        "d.csv",
        ("column 'at', row 13", "got 2013-02-01T12:00:00", "with a time zone, like the rows before"),
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
        (
            "no rows available at as_of 2013-03-01",
            "2013-03-01T00:00:00+00:00 to 2013-03-20",
            "choose an as_of after",
        ),
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
    Case(
        "a JSON array", text('[{"id": 1}]\n'), "d.jsonl", ("line 1 of file", "is not an object", "one object per line")
    ),
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
        ("date=soon", "is not a day", "date=2013-03-01"),
        data={"partitioned_by": "date"},
    ),
    Case(
        "a file outside the partitions",
        lambda path: path.mkdir() or good().to_csv(path / "d.csv"),
        "folder",
        ("d.csv", "is not in a 'date' folder"),
        data={"partitioned_by": "date"},
    ),
    Case(
        "no partition in time",
        lambda path: (path / "date=2013-05-01").mkdir(parents=True) or good().to_csv(path / "date=2013-05-01/d.csv"),
        "folder",
        ("no partition 'date' in the requested period", "2013-05-01", "as_of 2013-03-01"),
        data={"partitioned_by": "date"},
    ),
]


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


def test_a_byte_order_mark_is_not_bad_input(steps: Any, tmp_path: Path) -> None:
    good().to_csv(tmp_path / "d.csv", index=False, encoding="utf-8-sig")
    marked = steps.ingest({"source": {"uri": str(tmp_path / "d.csv")}, "columns": COLUMNS})
    good().to_csv(tmp_path / "plain.csv", index=False)
    assert (
        marked.artifacts == steps.ingest({"source": {"uri": str(tmp_path / "plain.csv")}, "columns": COLUMNS}).artifacts
    )


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
