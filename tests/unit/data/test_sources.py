from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_mlops_provider.data.batches import Wanted, read_frames
from airflow_mlops_provider.data.sources import read_files, source_files
from airflow_mlops_provider.exceptions import ArtifactError, DataError
from airflow_mlops_provider.spec import Data

if TYPE_CHECKING:
    from collections.abc import Callable

COLUMNS = {"target": "late", "timestamp": "at", "keys": ["id"], "numeric": ["x", "y"], "categorical": ["c"]}
START = datetime(2013, 2, 1, tzinfo=UTC)
AS_OF = datetime(2013, 3, 1, tzinfo=UTC)


def rows(count: int = 50, start: datetime = START) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [f"{index:04}" for index in range(count)],
            "at": [(start + timedelta(minutes=index)).isoformat() for index in range(count)],
            "x": [index / 4 for index in range(count)],
            "y": [None if index == 5 else float(index) for index in range(count)],
            "c": [None if index == 6 else ("a, b", 'say "c"', "line\nbreak")[index % 3] for index in range(count)],
            "late": [index % 2 for index in range(count)],
            "unused": ["u"] * count,
        }
    )


def write(path: Path, frame: pd.DataFrame) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if ".parquet" in path.name:
        frame.to_parquet(path, index=False)
    elif ".jsonl" in path.name:
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False)
    return path


def data(uri: Path | str, **source: Any) -> Data:
    return Data.model_validate({"source": {"uri": str(uri), **source}, "columns": COLUMNS})


@pytest.mark.parametrize(
    "name", ["d.csv", "d.csv.zip", "d.csv.gz", "d.jsonl", "d.jsonl.gz", "D.CSV", "d.ndjson", "d.data.parquet"]
)
def test_every_format_gives_the_same_rows(steps: Any, tmp_path: Path, name: str) -> None:
    if name == "d.ndjson":
        write(tmp_path / "d.jsonl", rows()).rename(tmp_path / name)
    else:
        write(tmp_path / name, rows())
    expected = steps.ingest(data(write(tmp_path / "expected.parquet", rows())).model_dump(mode="json"))
    result = steps.ingest(data(tmp_path / name).model_dump(mode="json"))
    assert result.artifacts == expected.artifacts


def test_the_format_may_be_named(steps: Any, tmp_path: Path) -> None:
    write(tmp_path / "d.csv", rows()).rename(tmp_path / "export")
    assert steps.ingest(data(tmp_path / "export", format="csv").model_dump(mode="json")).facts["rows"] == 50


def test_a_file_uri_is_a_path(steps: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "a folder" / "d.csv", rows())
    assert steps.ingest(data(path.as_uri()).model_dump(mode="json")).facts["rows"] == 50


def test_another_scheme_says_what_can_be_opened() -> None:
    with pytest.raises(ArtifactError, match=r"cannot be opened: got ftp://host/d.csv, expected .*file:///"):
        source_files(data("ftp://host/d.csv"), AS_OF)


def test_a_folder_is_read_in_the_order_of_its_file_names(tmp_path: Path) -> None:
    for name, index in (("b.csv", 1), ("a/z.parquet", 0), ("c.jsonl", 2)):
        write(tmp_path / "d" / name, rows(3, START + timedelta(days=index)))
    for name in ("_SUCCESS", ".hidden.csv", "_temporary/part.csv"):
        write(tmp_path / "d" / name, rows(1))
    files = source_files(data(tmp_path / "d"), AS_OF)
    assert [file.name for file in files] == ["a/z.parquet", "b.csv", "c.jsonl"]
    batches = list(read_files(data(tmp_path / "d"), files))
    assert [Path(batch.where.removeprefix("file ")).name for batch in batches] == ["z.parquet", "b.csv", "c.jsonl"]


def test_parquet_comes_by_row_group_with_only_the_columns_asked_for(tmp_path: Path) -> None:
    rows(50).to_parquet(tmp_path / "d.parquet", index=False, row_group_size=20)
    files = source_files(data(tmp_path / "d.parquet"), AS_OF)
    batches = list(read_files(data(tmp_path / "d.parquet"), files))
    assert [(len(batch.table), batch.first_row) for batch in batches] == [(20, 1), (20, 21), (10, 41)]
    assert batches[0].table.column_names == ["id", "at", "x", "y", "c", "late"]


def partitions(folder: Path, days: int, suffix: str = "parquet") -> None:
    for day in range(days):
        moment = START + timedelta(days=day)
        write(folder / f"date={moment:%Y-%m-%d}" / f"part.{suffix}", rows(24 * 60, moment))


@pytest.mark.parametrize(
    ("as_of", "window", "timezone", "first", "last"),
    [
        (datetime(2013, 2, 4, tzinfo=UTC), None, None, "02-01", "02-03"),
        (datetime(2013, 2, 4, 0, 0, 1, tzinfo=UTC), None, None, "02-01", "02-04"),
        (datetime(2013, 2, 9, tzinfo=UTC), timedelta(days=2), None, "02-07", "02-08"),
        (datetime(2013, 2, 9, 12, tzinfo=UTC), timedelta(days=2), None, "02-07", "02-09"),
        # Midnight in New York is five hours later: the day named 02-04 has not begun there.
        (datetime(2013, 2, 4, 4, tzinfo=UTC), None, "America/New_York", "02-01", "02-03"),
        (datetime(2013, 2, 4, 6, tzinfo=UTC), None, "America/New_York", "02-01", "02-04"),
    ],
)
def test_only_the_days_asked_for_are_read(
    tmp_path: Path, as_of: datetime, window: timedelta | None, timezone: str | None, first: str, last: str
) -> None:
    for day in range(12):
        write(tmp_path / "d" / f"date={START + timedelta(days=day):%Y-%m-%d}" / "part.csv", rows(1))
    requested = data(tmp_path / "d", partitioned_by="date").model_copy(update={"timezone": timezone})
    start = None if window is None else as_of - window
    names = [file.name for file in source_files(requested, as_of, start)]
    assert (names[0], names[-1]) == (f"date=2013-{first}/part.csv", f"date=2013-{last}/part.csv")


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_partitions_give_the_rows_of_their_days_and_their_key_as_a_column(
    steps: Any, tmp_path: Path, suffix: str
) -> None:
    partitions(tmp_path / "d", 4, suffix)
    requested = data(tmp_path / "d", partitioned_by="date").model_dump(mode="json")
    requested["columns"]["keys"] = ["date", "id"]
    result = steps.ingest(requested, as_of=datetime(2013, 2, 3, tzinfo=UTC))
    assert result.facts["rows"] == 2 * 24 * 60
    table = pq.read_table(steps.store.fetch(result.artifacts["dataset"]))
    assert table["date"].unique().to_pylist() == ["2013-02-01", "2013-02-02"]


def test_a_new_partition_of_a_later_day_does_not_change_the_key(steps: Any, tmp_path: Path) -> None:
    partitions(tmp_path / "d", 2)
    requested = data(tmp_path / "d", partitioned_by="date").model_dump(mode="json")
    as_of = datetime(2013, 2, 3, tzinfo=UTC)
    first = steps.ingest(requested, as_of=as_of)
    partitions(tmp_path / "e", 4)
    (tmp_path / "e" / "date=2013-02-04").rename(tmp_path / "d" / "date=2013-02-04")
    assert steps.ingest(requested, as_of=as_of) == first.model_copy(update={"cached": True})


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda folder: write(folder / "b.csv", rows(3)), "another file"),
        (lambda folder: (folder / "a.csv").write_text((folder / "a.csv").read_text() + "\n"), "another size"),
        (lambda folder: (folder / "a.csv").rename(folder / "z.csv"), "another name"),
    ],
)
def test_what_changes_a_folder_changes_its_fingerprint(
    steps: Any, tmp_path: Path, change: Callable[[Path], object], name: str
) -> None:
    write(tmp_path / "d" / "a.csv", rows(3))
    requested = data(tmp_path / "d").model_dump(mode="json")
    first = steps.ingest(requested)
    change(tmp_path / "d")
    assert not steps.ingest(requested).cached, name
    assert first.facts["rows"] == 3


def test_a_row_is_named_by_its_place_in_its_own_file(steps: Any, tmp_path: Path) -> None:
    write(tmp_path / "d" / "a.csv", rows(30))
    write(
        tmp_path / "d" / "b.csv",
        rows(30, START + timedelta(days=1)).assign(late=[None if i == 4 else 1 for i in range(30)]),
    )
    with pytest.raises(DataError, match=r"column 'late', row 5 of file .*b\.csv"):
        steps.ingest(data(tmp_path / "d").model_dump(mode="json"))


@pytest.mark.parametrize("column", ["id", "y", "c", "late", "at"])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
def test_bytes_in_parquet_that_are_no_text_are_named_whatever_their_column_is_for(
    column: str, kind: pa.DataType, steps: Any, tmp_path: Path
) -> None:
    frame = rows(50).astype({column: str})
    frame.loc[24, column] = "an umlaut of old"
    table = pa.Table.from_pandas(frame)
    table = table.set_column(table.column_names.index(column), column, table[column].cast(kind))
    file = tmp_path / "d.parquet"
    pq.write_table(table, file, row_group_size=20, compression="none")
    file.write_bytes(file.read_bytes().replace(b"an umlaut", b"an \xfcmlaut"))
    with pytest.raises(
        DataError, match=rf"column '{column}', row 25 of file .* got b'an .xfcmlaut of old'.*UTF-8 text"
    ):
        steps.ingest(data(file).model_dump(mode="json"))


def test_a_column_of_parquet_whose_name_is_no_text_makes_the_file_unreadable(steps: Any, tmp_path: Path) -> None:
    file = write(tmp_path / "d.parquet", rows())
    file.write_bytes(file.read_bytes().replace(b"unused", b"un\xffsed"))
    with pytest.raises(DataError, match=r"d\.parquet cannot be read: got 'utf-8' codec"):
        steps.ingest(data(file).model_dump(mode="json"))


@pytest.mark.parametrize("encoded", [False, True], ids=["plain", "dictionary"])
def test_bytes_in_a_table_of_a_reader_that_are_no_text_are_named(encoded: bool) -> None:
    texts = pa.array([b"Koeln", b"K\xf6ln"]).view(pa.string())
    values = pa.DictionaryArray.from_arrays([0, 0, 1], texts) if encoded else texts.take(pa.array([0, 0, 1]))
    with pytest.raises(DataError, match="column 'city', row 3 of reader 'r' cannot be used"):
        list(read_frames([pa.table({"city": values})], "reader 'r'", Wanted()))


def test_a_bad_value_far_down_a_large_csv_is_found(steps: Any, tmp_path: Path) -> None:
    frame = rows(120_000)
    frame.loc[111_111, "y"] = float("nan")
    frame["y"] = frame["y"].astype(object)
    frame.loc[111_110, "y"] = "n.v."
    frame["c"] = "a long text\nof two lines, that makes this file larger than one block of the reader"
    write(tmp_path / "d.csv", frame)
    with pytest.raises(DataError, match=r"column 'y', row 111111 of file .*d\.csv cannot be used: got n\.v\."):
        steps.ingest(data(tmp_path / "d.csv").model_dump(mode="json"), as_of=datetime(2014, 1, 1, tzinfo=UTC))


def csv_of_prices(folder: Path) -> dict[str, Any]:
    """Write a CSV whose target is whole in its first block of four megabytes, and is not later."""
    file = folder / "prices.csv"
    with file.open("w") as text:
        text.write("id,x,price\n")
        for index in range(100_000):
            text.write(f"{index:040},{index}.5,{index if index < 90_000 else index + 0.5}\n")
    return {"source": {"uri": str(file)}, "columns": {"target": "price", "numeric": ["x"], "keys": ["id"]}}


def test_a_regression_target_that_begins_with_whole_numbers_is_read(steps: Any, tmp_path: Path) -> None:
    assert steps.ingest(csv_of_prices(tmp_path), task="regression").facts["rows"] == 100_000


def test_a_value_that_two_columns_hold_is_blamed_on_the_right_one(steps: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column 'price', row 90001 of .* got 90000\.5, expected a class"):
        steps.ingest(csv_of_prices(tmp_path), task="multiclass")
