from __future__ import annotations

import re
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ingested_rows import COLUMNS, parquet, rows

from airflow_mlops_provider.data.tables import read_table, table_info, table_schema
from airflow_mlops_provider.exceptions import DataError, NotAllowedError, SpecError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def test_a_reader_gives_a_typed_snapshot(steps: Any, reader: Callable[[str], str]) -> None:
    name = reader(
        """
        import pandas as pd

        def read(as_of, start, count):
            at = pd.date_range("2013-02-01", periods=count, freq="h", tz="Europe/Berlin")
            return pd.DataFrame({
                "late": [True, False] * (count // 2), "at": at, "id": range(count), "x": range(count),
                "c": pd.Categorical(["a", "b"] * (count // 2)), "other": "ignored",
            })
        """
    )
    data = {"source": {"reader": name, "params": {"count": 10}}, "columns": COLUMNS}
    result = steps.ingest(data)
    schema = table_schema(steps.store, result.artifacts["dataset"])
    assert {field.name: str(field.type) for field in schema} == {
        "id": "int64",
        "at": "timestamp[us, tz=UTC]",
        "x": "double",
        "c": "dictionary<values=string, indices=int32, ordered=0>",
        "late": "int64",
    }
    info = table_info(steps.store, result.artifacts["dataset"])
    assert (info.task, info.columns.numeric) == ("binary", ["x"])
    assert result.facts["rows"] == 10
    assert result.facts["first"] == "2013-01-31T23:00:00+00:00"
    assert result.facts["bytes"] == result.artifacts["dataset"].size


@pytest.mark.parametrize(
    ("days", "data", "words"),
    [
        (["2013-03-05", "2013-03-09"], {}, "No row is old enough: choose an as_of after 2013-03-05T00:00:00"),
        (
            ["2013-02-27", "2013-02-28"],
            {"label_delay": "5 days"},
            "No row is old enough for its label to be known: choose an as_of after 2013-03-04T00:00:00",
        ),
        (
            ["2012-01-01", "2012-06-01"],
            {"window": "30 days", "label_delay": "5 days"},
            "The rows end before the window begins: has the source stopped? If not, choose an as_of after "
            "2012-06-06T00:00:00+00:00 and up to 2012-07-01T00:00:00+00:00, or a longer window.",
        ),
        (
            ["2012-01-01", "2013-04-01"],
            {"window": "30 days"},
            "All rows lie before or after the window: choose an as_of after 2013-04-01T00:00:00",
        ),
        (
            ["2013-02-27", "2013-02-28"],
            {"window": "1 day", "label_delay": "2 days"},
            "No as_of would work: the window, 1 day, 0:00:00, must be longer than label_delay, 2 days, 0:00:00.",
        ),
    ],
)
def test_where_no_row_may_be_seen_the_way_out_fits_the_case(
    days: list[str], data: dict[str, Any], words: str, steps: Any, tmp_path: Path
) -> None:
    frame = rows(len(days)).assign(at=[datetime.fromisoformat(f"{day}T00:00:00Z") for day in days])
    requested = {**parquet(frame, tmp_path / "rows.parquet"), **data}
    with pytest.raises(DataError, match="no rows available at as_of 2013-03-01") as raised:
        steps.ingest(requested)
    hint = str(raised.value)
    assert words in hint
    assert f"got rows from {days[0]}T00:00:00+00:00 to {days[-1]}T00:00:00+00:00" in hint
    if named := re.search(r"as_of after (\S+?)[.,]?(?: |$)", hint):
        found = datetime.fromisoformat(named[1]) + timedelta(seconds=1)
        assert steps.ingest(requested, as_of=found).facts["rows"], "what is named works"


def test_an_empty_source_says_so(steps: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="contains no rows"):
        steps.ingest(parquet(rows(1).head(0), tmp_path / "rows.parquet"))


def test_a_reader_may_yield_frames_and_arrow_tables(steps: Any, reader: Callable[[str], str]) -> None:
    name = reader(
        """
        import pandas as pd
        import pyarrow as pa

        def read(as_of, start):
            for part in range(3):
                ids = [2 * part, 2 * part + 1]
                frame = pd.DataFrame({"late": [0, 1], "x": [part, 0.5], "c": ["a", None], "id": ids,
                                      "at": pd.Timestamp("2013-02-01", tz="UTC") + pd.Timedelta(days=part)})
                yield pa.Table.from_pandas(frame) if part == 1 else frame
        """
    )
    result = steps.ingest({"source": {"reader": name}, "columns": COLUMNS})
    assert read_table(steps.store, result.artifacts["dataset"], ["id", "x"]).to_numpy().tolist() == [
        [0, 0], [1, 0.5], [2, 1], [3, 0.5], [4, 2], [5, 0.5],
    ]  # fmt: skip


def test_a_reader_is_told_as_of_and_the_start_of_the_window(steps: Any, reader: Callable[[str], str]) -> None:
    name = reader(
        """
        import pandas as pd

        def read(as_of, start):
            return pd.DataFrame({"late": [0, 1], "at": [start, as_of - pd.Timedelta(seconds=1)], "id": [1, 2],
                                 "x": [1, 2], "c": ["a", "b"]})
        """
    )
    facts = steps.ingest({"source": {"reader": name}, "columns": COLUMNS, "window": "P7D"}).facts
    assert (facts["first"], facts["last"]) == ("2013-02-22T00:00:00+00:00", "2013-02-28T23:59:59+00:00")


def test_params_that_a_reader_does_not_take_are_a_setting_error(steps: Any, reader: Callable[[str], str]) -> None:
    name = reader("def read(as_of, start, count):\n    raise AssertionError\n")
    with pytest.raises(SpecError, match=r"does not accept data.source.params.*'cuont'.*as_of, start, count"):
        steps.ingest({"source": {"reader": name, "params": {"cuont": 1}}, "columns": COLUMNS})


def test_a_reader_outside_the_allow_list_is_not_imported(steps: Any) -> None:
    with pytest.raises(NotAllowedError, match="'os.system' is outside the allow-list"):
        steps.ingest({"source": {"reader": "os.system"}, "columns": COLUMNS})


def test_rows_that_nobody_could_know_at_as_of_are_left_out_and_counted(steps: Any, tmp_path: Path) -> None:
    as_of = datetime(2013, 2, 1, 2, 10, tzinfo=UTC)
    frame = rows(300)
    frame.loc[frame["at"] >= as_of - timedelta(minutes=30), "late"] = None  # not known yet: no error
    data = {**parquet(frame, tmp_path / "d.parquet"), "label_delay": "PT30M", "window": "PT2H"}
    facts = steps.ingest(data, as_of=as_of).facts
    # Rows up to minute 100 have their label, the window begins at minute 10.
    assert facts["excluded"] == {"future": 170, "unlabelled": 30, "older": 10}
    assert facts["rows"] == 90
    assert facts["last"] == "2013-02-01T01:39:00+00:00"


def test_rows_of_windows_with_broken_data_are_left_out_and_counted(steps: Any, tmp_path: Path) -> None:
    start = datetime(2013, 2, 1, tzinfo=UTC)
    data, as_of = parquet(rows(300), tmp_path / "d.parquet"), start + timedelta(minutes=200)

    def ingest(*minutes: tuple[int, int]) -> Any:
        stretches = [[(start + timedelta(minutes=each)).isoformat() for each in pair] for pair in minutes]
        return steps.run("ingest", {"task": "binary", "data": data, "without": stretches}, as_of=as_of)

    found = ingest((10, 20), (150, 250))
    assert found.facts["excluded"] == {"future": 100, "unlabelled": 0, "older": 0, "incident": 60}
    stored = read_table(steps.store, found.artifacts["dataset"])["at"]
    numbers = {int((moment - start) / timedelta(minutes=1)) for moment in stored}
    assert numbers == {*range(10), *range(20, 150)}
    assert ingest().key == steps.ingest(data, as_of=as_of).key, "what leaves nothing out is cached as it always was"
    with pytest.raises(DataError, match="no training rows .*200 rows in windows .*monitoring.incident.repaired"):
        ingest((0, 250))


def sqlite_reader(database: Path) -> Callable[[str, str], Iterator[pd.DataFrame]]:
    def read(conn_id: str, sql: str) -> Iterator[pd.DataFrame]:
        assert conn_id == "warehouse"
        connection = sqlite3.connect(database)
        try:
            yield from pd.read_sql(sql, connection, chunksize=7)
        finally:
            connection.close()

    return read


def test_sql_is_read_through_the_connection_in_any_order(steps: Any, tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "d.db")
    frame = rows(40).drop(columns="unused")
    frame["at"] = frame["at"].map(datetime.isoformat)
    frame.sample(frac=1, random_state=1).to_sql("flights", connection, index=False)
    connection.close()
    data = {"source": {"sql": "select * from flights", "conn_id": "warehouse"}, "columns": COLUMNS}
    result = steps.ingest(data, read_sql=sqlite_reader(tmp_path / "d.db"))
    same = steps.ingest(parquet(rows(40), tmp_path / "d.parquet"))
    assert result.artifacts == same.artifacts


def test_sql_without_a_worker_is_a_clear_error(steps: Any) -> None:
    data = {"source": {"sql": "select 1", "conn_id": "warehouse"}, "columns": COLUMNS}
    with pytest.raises(SpecError, match="SQL is read in the worker.*'warehouse'"):
        steps.ingest(data)


def test_naive_timestamps_are_read_in_the_named_zone(steps: Any, tmp_path: Path) -> None:
    frame = rows(2).assign(at=pd.to_datetime(["2013-01-10 12:00", "2013-02-10 12:00"]))
    data = {**parquet(frame, tmp_path / "d.parquet"), "timezone": "America/New_York"}
    assert steps.ingest(data).facts["first"] == "2013-01-10T17:00:00+00:00"


def test_an_hour_that_clocks_repeat_is_the_first_and_one_that_they_skip_is_its_beginning(
    steps: Any, tmp_path: Path
) -> None:
    frame = rows(2).assign(at=pd.to_datetime(["2012-03-11 02:30", "2012-11-04 01:30"]))
    data = {**parquet(frame, tmp_path / "d.parquet"), "timezone": "America/New_York"}
    facts = steps.ingest(data).facts
    assert (facts["first"], facts["last"]) == ("2012-03-11T07:00:00+00:00", "2012-11-04T05:30:00+00:00")


def test_an_unknown_zone_is_a_setting_error(steps: Any, tmp_path: Path) -> None:
    data = {**parquet(rows(2), tmp_path / "d.parquet"), "timezone": "Europe/Berlni"}
    data["source"] = {**data["source"], "partitioned_by": None}
    frame = rows(2).assign(at=pd.to_datetime(["2013-01-10 12:00", "2013-02-10 12:00"]))
    parquet(frame, tmp_path / "d.parquet")
    with pytest.raises(SpecError, match=r"data\.timezone is not a time zone.*Berlni"):
        steps.ingest(data)


def test_data_without_a_time_ignores_as_of_and_keeps_its_bytes(steps: Any, tmp_path: Path) -> None:
    columns = {name: value for name, value in COLUMNS.items() if name != "timestamp"}
    data = {**parquet(rows(30), tmp_path / "d.parquet"), "columns": columns}
    first = steps.ingest(data)
    second = steps.ingest(data, as_of=datetime(2012, 1, 1, tzinfo=UTC))
    assert first.artifacts == second.artifacts
    assert first.facts["first"] is None


def test_a_timestamp_no_row_of_which_may_be_seen_names_what_the_source_holds(steps: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        steps.ingest(parquet(rows(60), tmp_path / "d.parquet"), as_of=datetime(2013, 1, 1, tzinfo=UTC))
    for part in ("2013-01-01", "2013-02-01T00:00:00+00:00", "2013-02-01T00:59:00+00:00", "d.parquet"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("task", "values", "kind"),
    [
        ("binary", [True, False], "int64"),
        ("binary", [0.0, 1.0], "int64"),
        ("binary", ["yes", "no"], "dictionary<values=string, indices=int32, ordered=0>"),
        ("multiclass", pd.Categorical(["a", "b"]), "dictionary<values=string, indices=int32, ordered=0>"),
        ("regression", [1, 2], "double"),
    ],
)
def test_the_target_has_the_type_of_its_task(steps: Any, tmp_path: Path, task: str, values: Any, kind: str) -> None:
    result = steps.ingest(parquet(rows(2).assign(late=values), tmp_path / "d.parquet"), task=task)
    assert str(table_schema(steps.store, result.artifacts["dataset"]).field("late").type) == kind


def test_an_all_null_feature_keeps_its_type(steps: Any, tmp_path: Path) -> None:
    result = steps.ingest(parquet(rows(4).assign(x=None, c=None), tmp_path / "d.parquet"))
    schema = table_schema(steps.store, result.artifacts["dataset"])
    assert (str(schema.field("x").type), schema.field("c").type.value_type) == ("double", pa.string())


def test_nan_is_a_missing_value(steps: Any, tmp_path: Path) -> None:
    expected = steps.ingest(parquet(rows(40), tmp_path / "null.parquet"))
    table = pa.Table.from_pandas(rows(40).drop(columns="unused"), preserve_index=False)
    table = table.set_column(table.column_names.index("x"), "x", table["x"].fill_null(float("nan")))
    pq.write_table(table, tmp_path / "nan.parquet")
    result = steps.ingest({"source": {"uri": str(tmp_path / "nan.parquet")}, "columns": COLUMNS})
    assert table["x"].null_count == 0
    assert result.artifacts == expected.artifacts
