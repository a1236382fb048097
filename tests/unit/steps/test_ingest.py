from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.data.tables import read_table, table_info, table_schema
from airflow_mlops_provider.exceptions import DataError, NotAllowedError, SpecError
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.pipelines import load_pipeline
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[3]
COLUMNS = {"target": "late", "timestamp": "at", "keys": ["id"], "numeric": ["x"], "categorical": ["c"]}


def rows(count: int, *, start: datetime = datetime(2013, 2, 1, tzinfo=UTC)) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [f"r{index:05}" for index in range(count)],
            "at": [start + timedelta(minutes=index) for index in range(count)],
            "x": [index / 7 if index % 11 else None for index in range(count)],
            "c": [None if index % 13 == 12 else "abc"[index % 3] for index in range(count)],
            "late": [index % 2 for index in range(count)],
            "unused": [object()] * count,
        }
    )


def parquet(frame: pd.DataFrame, path: Path, row_group_size: int | None = None) -> dict[str, Any]:
    frame.drop(columns="unused", errors="ignore").to_parquet(path, index=False, row_group_size=row_group_size)
    return {"source": {"uri": str(path)}, "columns": COLUMNS}


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
    with pytest.raises(SpecError, match=r"does not take data.source.params.*'cuont'.*as_of, start, count"):
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


@pytest.mark.parametrize("seed", range(3))
def test_equal_rows_give_equal_bytes_in_any_order_and_batches(steps: Any, tmp_path: Path, seed: int) -> None:
    frame = rows(70_000, start=datetime(2012, 12, 1, tzinfo=UTC))
    ordered = steps.ingest(parquet(frame, tmp_path / "ordered.parquet"))
    shuffled = frame.sample(frac=1, random_state=seed)
    group = random.Random(seed).randrange(5_000, 60_000)
    other = steps.ingest(parquet(shuffled, tmp_path / f"{seed}.parquet", group))
    assert other.artifacts == ordered.artifacts
    assert other.key != ordered.key
    at = read_table(steps.store, other.artifacts["dataset"], ["at"])["at"]
    assert at.is_monotonic_increasing


def test_an_unchanged_file_is_not_read_again_and_a_changed_one_is(steps: Any, tmp_path: Path) -> None:
    data = parquet(rows(100), tmp_path / "d.parquet")
    first = steps.ingest(data)
    assert steps.ingest(data) == first.model_copy(update={"cached": True})
    parquet(rows(101), tmp_path / "d.parquet")
    again = steps.ingest(data)
    assert not again.cached
    assert again.facts["rows"] == 101


def test_recompute_reads_an_unchanged_file_again(steps: Any, tmp_path: Path) -> None:
    data = parquet(rows(100), tmp_path / "d.parquet")
    first = steps.ingest(data)
    again = steps.ingest(data, recompute=True)
    assert (again.cached, again.artifacts, again.key) == (False, first.artifacts, first.key)


COUNTING_READER = """
    import pathlib

    def read(as_of, start, log):
        import pandas as pd
        with open(log, "a") as file:
            file.write("read ")
        return pd.DataFrame({"late": [0, 1], "at": pd.Timestamp("2013-02-01", tz="UTC"), "id": [1, 2], "x": [1, 2],
                             "c": ["a", "b"]})
    """


def test_a_reader_with_a_fingerprint_is_not_called_again(
    steps: Any, reader: Callable[[str], str], tmp_path: Path
) -> None:
    name = reader(
        COUNTING_READER + "\n    read.fingerprint = lambda log: pathlib.Path(log).with_suffix('.v').read_text()\n"
    )
    log = tmp_path / "log"
    log.with_suffix(".v").write_text("1")
    data = {"source": {"reader": name, "params": {"log": str(log)}}, "columns": COLUMNS}
    assert [steps.ingest(data).cached, steps.ingest(data).cached] == [False, True]
    log.with_suffix(".v").write_text("2")
    assert not steps.ingest(data).cached
    assert log.read_text() == "read read "


def test_a_reader_without_a_fingerprint_is_called_each_time_and_keeps_its_key(
    steps: Any, reader: Callable[[str], str], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    data = {"source": {"reader": reader(COUNTING_READER), "params": {"log": str(log)}}, "columns": COLUMNS}
    first, second = steps.ingest(data), steps.ingest(data)
    assert (first.key, first.artifacts) == (second.key, second.artifacts)
    assert log.read_text() == "read read "


def test_changed_reader_code_is_another_key(
    steps: Any, reader: Callable[[str], str], plugins: Path, tmp_path: Path
) -> None:
    name = reader(COUNTING_READER + "\n    read.fingerprint = lambda log: 'fixed'\n")
    data = {"source": {"reader": name, "params": {"log": str(tmp_path / "log")}}, "columns": COLUMNS}
    first = steps.ingest(data)
    file = plugins / f"{name.partition('.')[0]}.py"
    file.write_text(file.read_text() + "\n# a change\n")
    second = steps.ingest(data)
    assert not second.cached
    assert second.key != first.key


def test_a_cached_run_imports_nothing_heavy(tmp_path: Path) -> None:
    code = f"""
import sys
from datetime import UTC, datetime
from pathlib import Path
from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.pipelines import load_pipeline
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.storage import ArtifactStore

sys.path.insert(0, "plugins")
pipeline = load_pipeline(Path("config/pipelines/wine_cultivar.yaml"))
allow_list = AllowList(plugins_folder="plugins")
store = ArtifactStore({str(tmp_path)!r})

def run(step, section, **inputs):
    request = StepRequest(step=step, pipeline="wine", as_of=datetime(2013, 3, 1, tzinfo=UTC), section=section,
                          inputs=inputs, allow_list=allow_list)
    return run_step(request, store)

dataset = run("ingest", {{"task": pipeline.task, "data": pipeline.data.model_dump(mode="json")}})
validated = run("validate", pipeline.validation.model_dump(mode="json"), dataset=[dataset])
heavy = {{"pandas", "numpy", "pyarrow", "sklearn", "great_expectations", "mlflow", "boto3"}} & set(sys.modules)
print(dataset.cached, validated.cached, sorted(heavy))
"""
    outputs = [
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert outputs[0].startswith("False False")
    assert outputs[1].strip() == "True True []"


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


def test_the_flights_are_what_was_known_before_departure(tmp_path: Path) -> None:
    pipeline = load_pipeline(ROOT / "config/pipelines/flight_delays.yaml")
    store = ArtifactStore(str(tmp_path))
    as_of = datetime(2013, 3, 1, tzinfo=UTC)
    request = StepRequest(
        step="ingest",
        pipeline=pipeline.name,
        as_of=as_of,
        section={"task": pipeline.task, "data": pipeline.data.model_dump(mode="json")},
        allow_list=AllowList(plugins_folder=str(ROOT / "plugins")),
    )
    result = run_step(request, store)
    frame = read_table(store, result.artifacts["dataset"])
    assert sorted(frame.columns) == sorted(pipeline.data.columns.all)
    assert frame["scheduled_departure"].max() < as_of - timedelta(days=1)
    assert frame["flight_key"].is_unique
    assert len(frame) == 48_910
    # UA 1545, the first flight of the year: 05:15 in New York, two minutes late, eleven minutes late on arrival.
    first = frame.iloc[0]
    assert (first["flight_key"], first["minute_of_day"], first["late"]) == ("UA-1545-EWR-2013-01-01", 315, 0)
    assert first["scheduled_departure"] == pd.Timestamp("2013-01-01T10:15Z")
    assert 0.2 < frame["late"].mean() < 0.3


@pytest.mark.parametrize("name", ["diabetes_progression", "wine_cultivar"])
def test_the_bundled_pipelines_pass_their_own_validation(tmp_path: Path, name: str) -> None:
    pipeline = load_pipeline(ROOT / f"config/pipelines/{name}.yaml")
    store = ArtifactStore(str(tmp_path))

    def run(step: str, section: dict[str, Any], **inputs: Any) -> Any:
        request = StepRequest(
            step=step,
            pipeline=name,
            as_of=datetime(2013, 3, 1, tzinfo=UTC),
            section=section,
            inputs=inputs,
            allow_list=AllowList(plugins_folder=str(ROOT / "plugins")),
        )
        return run_step(request, store)

    dataset = run("ingest", {"task": pipeline.task, "data": pipeline.data.model_dump(mode="json")})
    validated = run("validate", pipeline.validation.model_dump(mode="json"), dataset=[dataset])
    assert (validated.failure, validated.facts["failed"], validated.facts["warned"]) == (None, 0, 0)
    assert pq.read_metadata(store.fetch(dataset.artifacts["dataset"])).num_rows == dataset.facts["rows"]


# ------------------------------------------------------------------------------------------------ scoring, live


def scored(steps: Any, data: dict[str, Any], *, task: str = "binary", **section: Any) -> Any:
    as_of = section.pop("as_of", datetime(2013, 2, 1, 2, tzinfo=UTC))
    return steps.run("ingest", {"task": task, "data": data, "purpose": "scoring", **section}, as_of=as_of)


def target_of(steps: Any, result: Any) -> list[Any] | None:
    ref = result.artifacts["dataset"]
    if "late" not in table_schema(steps.store, ref).names:
        return None
    values = read_table(steps.store, ref, ["late"])["late"].astype(object)
    return values.where(values.notna(), None).tolist()


def test_what_training_asks_keeps_its_key_and_its_request(steps: Any, tmp_path: Path) -> None:
    from airflow_mlops_provider.steps.ingest import Section

    data = parquet(rows(10), tmp_path / "d.parquet")
    section = Section(task="binary", data=data).model_dump(mode="json")
    assert sorted(section) == ["data", "task"]
    assert Section.model_validate(section).purpose == "training"
    training = steps.ingest(data, as_of=datetime(2013, 2, 1, 2, tzinfo=UTC))
    assert scored(steps, data).key != training.key


def test_scoring_reads_the_rows_of_its_window_up_to_as_of(steps: Any, tmp_path: Path) -> None:
    # The window and the delay of labels are those of training.
    data = {**parquet(rows(300), tmp_path / "d.parquet"), "label_delay": "PT50M", "window": "PT1M"}
    facts = scored(steps, data, start="2013-02-01T01:00:00+00:00").facts
    assert (facts["rows"], facts["first"][11:16], facts["last"][11:16]) == (60, "01:00", "01:59")
    assert facts["excluded"] == {"future": 180, "unlabelled": 0, "older": 60}
    assert facts["start"] == "2013-02-01T01:00:00+00:00"


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_scoring_needs_no_target(steps: Any, tmp_path: Path, suffix: str) -> None:
    frame, file = rows(100).drop(columns=["unused", "late"]), tmp_path / f"d.{suffix}"
    writers: dict[str, Any] = {
        "parquet": lambda: frame.to_parquet(file),
        "csv": lambda: frame.to_csv(file, index=False),
        "jsonl": lambda: frame.to_json(file, orient="records", lines=True, date_format="iso"),
    }
    writers[suffix]()
    data = {"source": {"uri": str(file)}, "columns": COLUMNS, "timezone": "UTC"}
    result = scored(steps, data)
    assert (result.facts["rows"], target_of(steps, result)) == (100, None)
    with pytest.raises(DataError, match="no column 'late'"):
        steps.ingest(data, as_of=datetime(2013, 2, 1, 2, tzinfo=UTC))


def test_a_reader_of_rows_to_score_needs_no_target(steps: Any, reader: Callable[[str], str]) -> None:
    name = reader(
        """
        import pandas as pd

        def read(as_of, start):
            at = [start, as_of - pd.Timedelta(seconds=1)]
            yield pd.DataFrame({"at": at, "id": [1, 2], "x": [1, 2], "c": ["a", "b"]})
        """
    )
    facts = scored(steps, {"source": {"reader": name}, "columns": COLUMNS}, start="2013-02-01T00:00:00+00:00").facts
    assert (facts["first"], facts["last"]) == ("2013-02-01T00:00:00+00:00", "2013-02-01T01:59:59+00:00")


@pytest.mark.parametrize(
    ("labels", "kept"),
    [([0, 1, 1, 0], [0, 1, 1, 0]), ([0, None, None, None], [0, None, None, None]), ([None] * 4, None)],
)
def test_scoring_keeps_the_labels_that_are_known(
    steps: Any, tmp_path: Path, labels: list[int | None], kept: list[int | None] | None
) -> None:
    frame = rows(4).assign(late=labels)
    result = scored(steps, parquet(frame, tmp_path / "d.parquet", row_group_size=2))
    assert target_of(steps, result) == kept


def test_labels_that_come_and_go_from_file_to_file_are_kept_where_they_are_known(steps: Any, tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    frame = rows(6).drop(columns="unused")
    frame.iloc[:2].to_parquet(folder / "a.parquet")
    frame.iloc[2:4].drop(columns="late").to_parquet(folder / "b.parquet")
    frame.iloc[4:].to_parquet(folder / "c.parquet")
    result = scored(steps, {"source": {"uri": str(folder)}, "columns": COLUMNS})
    assert target_of(steps, result) == [0, 1, None, None, 0, 1]


def test_a_live_window_has_labelled_rows_only(steps: Any, tmp_path: Path) -> None:
    frame = rows(300)
    frame.loc[frame["at"] >= datetime(2013, 2, 1, 1, 30, tzinfo=UTC), "late"] = None
    data = {**parquet(frame, tmp_path / "d.parquet"), "label_delay": "PT30M", "window": "PT1M"}
    result = scored(steps, data, purpose="live", start="2013-02-01T00:30:00+00:00")
    assert (result.facts["rows"], result.facts["first"][11:16], result.facts["last"][11:16]) == (60, "00:30", "01:29")
    with pytest.raises(DataError, match="'late', row 91 .*expected a target in every row"):
        scored(steps, {**data, "label_delay": "PT20M"}, purpose="live", start="2013-02-01T00:30:00+00:00")


def test_a_window_without_rows_says_what_there_is(steps: Any, tmp_path: Path) -> None:
    data = parquet(rows(30), tmp_path / "d.parquet")
    with pytest.raises(DataError, match="rows from 2013-02-01.*expected rows before as_of, from 2013-02-01T01:00"):
        scored(steps, data, start="2013-02-01T01:00:00+00:00")
