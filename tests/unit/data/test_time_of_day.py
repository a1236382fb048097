"""A day and a time of day in two columns become one timestamp."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from airflow_mlops_provider.data.tables import read_table
from airflow_mlops_provider.drafting import draft_pipeline
from airflow_mlops_provider.exceptions import DataError, SpecError
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.pipelines import parse_pipeline
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = {"target": "y", "timestamp": "day", "numeric": ["x"]}


def ingested(folder: Path, days: list[Any], times: list[Any], suffix: str = ".csv", **data: Any) -> list[datetime]:
    frame = pd.DataFrame({"day": days, "clock": times, "x": range(len(days)), "y": [0, 1] * (len(days) // 2)})
    file = folder / f"log{suffix}"
    if suffix == ".csv":
        frame.to_csv(file, index=False)
    elif suffix == ".parquet":
        frame.to_parquet(file, index=False)
    else:
        frame.to_json(file, orient="records", lines=True)
    csv = {"dates": data.pop("dates", None)}
    section = {
        "task": "binary",
        "data": {
            "source": {"uri": str(file), "csv": csv},
            "columns": COLUMNS,
            "timezone": "UTC",
            "time_of_day": "clock",
            **data,
        },
    }
    store = ArtifactStore(str(folder / "artifacts"))
    request = StepRequest(step="ingest", pipeline="logs", as_of=datetime(2026, 1, 1, tzinfo=UTC), section=section)
    table = read_table(store, run_step(request, store).artifacts["dataset"])
    assert list(table.columns) == ["day", "x", "y"], "the time of day is part of the timestamp and nothing else"
    return [moment.to_pydatetime() for moment in table["day"]]


EVENING = datetime(2024, 3, 10, 18, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("day", "clock", "suffix", "dates"),
    [
        ("2024-03-10", "18:05", ".csv", None),
        ("2024-03-10", "18:05:00", ".csv", None),
        ("10/03/2024", "18.05.00", ".csv", "%d/%m/%Y"),
        ("10.3.24", " 18.05", ".csv", "%d.%m.%y"),
        ("2024-03-10", "18:05:00", ".jsonl", None),
        ("03/10/2024", "18:05:00.250", ".jsonl", "%m/%d/%Y"),
        (date(2024, 3, 10), time(18, 5), ".parquet", None),
        (datetime(2024, 3, 10), time(18, 5), ".parquet", None),
        (date(2024, 3, 10), "18:05", ".parquet", None),
    ],
)
def test_both_together_are_the_moment(day: Any, clock: Any, suffix: str, dates: str | None, tmp_path: Path) -> None:
    found = ingested(tmp_path, [day, day], [clock, clock], suffix, dates=dates)
    assert found == [EVENING, EVENING]


def test_hours_of_one_digit_and_rows_out_of_order(tmp_path: Path) -> None:
    found = ingested(tmp_path, ["2024-03-10"] * 4, ["23:00", "6:30", "0:00", "12.15"])
    assert [f"{one:%H:%M}" for one in found] == ["00:00", "06:30", "12:15", "23:00"]


def test_a_zone_of_its_own_holds_for_both(tmp_path: Path) -> None:
    [first, _] = ingested(tmp_path, ["2024-07-01"] * 2, ["00:30", "12:00"], timezone="Europe/Berlin")
    assert first == datetime(2024, 6, 30, 22, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("days", "times", "shown"),
    [
        (["2024-03-10", "2024-03-10"], ["18:05", "soon"], "2024-03-10 soon"),
        (["2024-03-10", "2024-03-10"], ["18:05", "25:00"], "2024-03-10 25:00"),
        (["2024-03-10", "2024-03-10"], ["18:05", None], "no value"),
        (["2024-03-10", "2024-02-30"], ["18:05", "18:05"], "2024-02-30 18:05:00"),
    ],
)
def test_what_is_no_moment_is_named_by_its_row(days: list[Any], times: list[Any], shown: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column 'day', row 2 of file") as raised:
        ingested(tmp_path, days, times)
    assert f"got {shown}" in str(raised.value)


def test_a_source_without_the_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'time'"):
        ingested(tmp_path, ["2024-03-10"] * 2, ["18:05"] * 2, time_of_day="time")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"columns": {"target": "y", "numeric": ["x"]}}, "needs columns.timestamp"),
        ({"time_of_day": "x"}, "a column without another role"),
        ({"source": {"uri": "x.csv", "csv": {"dates": "epoch_seconds"}}}, "needs a day"),
    ],
)
def test_what_does_not_fit_is_refused(data: dict[str, Any], message: str) -> None:
    spec = {
        "name": "logs",
        "task": "binary",
        "data": {"source": {"uri": "x.csv"}, "columns": COLUMNS, "time_of_day": "clock", **data},
        "training": {"candidates": {"one": {"estimator": "sklearn.dummy.DummyClassifier"}}},
    }
    with pytest.raises(SpecError, match=message):
        parse_pipeline(spec, where="the test")


@pytest.mark.parametrize(
    ("other", "drafted"),
    [
        ({}, "clock"),
        ({"until": ["19:00"] * 100}, None),
        ({"clock": ["evening", "morning"] * 50}, None),
        ({"day": [f"2024-{1 + n // 28:02}-{1 + n % 28:02}T06:00:00" for n in range(100)]}, None),
    ],
)
def test_init_joins_a_day_with_the_one_time_of_day(
    other: dict[str, list[Any]], drafted: str | None, tmp_path: Path
) -> None:
    rows = {
        "day": [f"{1 + n % 28}.{1 + n // 28}.2024" for n in range(100)],
        "clock": [f"{n % 24:02}:30" for n in range(100)],
        "x": [n * 7 % 13 for n in range(100)],
        "y": [n * 5 % 17 for n in range(100)],
    }
    file = tmp_path / "log.csv"
    pd.DataFrame({**rows, **other}).to_csv(file, index=False)
    draft = draft_pipeline(file, target="y")
    assert (draft.pipeline.data.columns.timestamp, draft.pipeline.data.time_of_day) == ("day", drafted)
