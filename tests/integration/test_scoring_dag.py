from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from runs import Run, events

from airflow_mlops_provider.results import MAX_XCOM_BYTES
from airflow_mlops_provider.storage import local_path

if TYPE_CHECKING:
    from pathlib import Path

    from local_airflow import LocalAirflow

DAYS = ("2024-02-08", "2024-02-15")


@pytest.fixture(scope="module")
def scored(airflow: LocalAirflow) -> list[Run]:
    """The runs that the champions of two days have triggered by themselves."""
    runs = []
    for number, day in enumerate(DAYS, start=1):
        training = Run.of(airflow, "scored", day)
        assert (training.state, training.states["promote"]) == ("success", "success")
        runs.append(Run.triggered(airflow, "scored", "scoring", number))
    return runs


def partition(airflow: LocalAirflow, day: str, folder: str = "predictions") -> Path:
    return airflow.artifacts / folder / "scored" / f"as_of={day}" / "predictions.parquet"


def test_each_champion_scores_the_window_of_its_day_by_itself(airflow: LocalAirflow, scored: list[Run]) -> None:
    for number, (run, day) in enumerate(zip(scored, DAYS, strict=True), start=1):
        assert run.state == "success"
        assert run.states == dict.fromkeys(("ingest", "score", "score_shard[1 of 2]", "score_shard[2 of 2]"), "success")
        # A day is one row group, which the last shard takes; the other has none.
        assert [run.value("score_shard", index)["facts"]["rows"] for index in (0, 1)] == [0, 24]
        requested = [entry["event"] for entry in run.log("score") if "score" in entry["event"]]
        assert sum("step score is already done" in event for event in requested) == 2, requested
        result = run.value("score")
        assert result["as_of"][:10] == day
        assert (result["facts"]["rows"], result["facts"]["version"]) == (24, number)
        assert result["facts"]["shadow"]["why"] == "the challenger is the champion"
        table = pd.read_parquet(partition(airflow, day))
        assert (len(table), set(table["model_version"])) == (24, {number})
        assert table["at"].max() < pd.Timestamp(day, tz="UTC") <= table["at"].max() + pd.Timedelta(hours=1)
        assert len(json.dumps(result).encode()) <= MAX_XCOM_BYTES


def test_each_scoring_tells_its_window_its_version_and_where_it_lies(airflow: LocalAirflow, scored: list[Run]) -> None:
    reported = events(airflow, "scored.predictions")[: len(DAYS)]
    assert [(event["as_of"][:10], event["version"], event["rows"]) for event in reported] == [
        (DAYS[0], 1, 24),
        (DAYS[1], 2, 24),
    ]
    assert reported[1]["window_start"][:10] == "2024-02-14"
    assert reported[1]["predictions"] == scored[1].value("score")["artifacts"]["predictions"]
    assert local_path(reported[1]["partition"]) == partition(airflow, DAYS[1])


def test_a_cleared_run_computes_nothing_and_leaves_equal_bytes(airflow: LocalAirflow, scored: list[Run]) -> None:
    before = partition(airflow, DAYS[1]).read_bytes()
    run = scored[1].cleared()
    assert run.state == "success"
    for task in ("ingest", "score"):
        assert any("Nothing is computed" in entry["event"] for entry in run.log(task)), task
    assert partition(airflow, DAYS[1]).read_bytes() == before


def test_an_older_day_is_scored_again_by_the_new_champion_as_a_whole(airflow: LocalAirflow, scored: list[Run]) -> None:
    first = partition(airflow, DAYS[0]).read_bytes()
    run = Run(airflow, "scored", "again", "scoring")
    airflow.post(
        f"/api/v2/dags/{run.dag_id}/dagRuns",
        {"dag_run_id": "again", "logical_date": None, "conf": {"as_of": f"{DAYS[0]}T00:00:00Z"}},
    )
    assert run.ended().state == "success"
    table = pd.read_parquet(partition(airflow, DAYS[0]))
    assert (len(table), set(table["model_version"])) == (24, {2})
    assert [file.name for file in partition(airflow, DAYS[0]).parent.iterdir()] == ["predictions.parquet"]
    assert partition(airflow, DAYS[0]).read_bytes() != first
    whole = pd.read_parquet(airflow.artifacts / "predictions" / "scored")
    assert whole.groupby("as_of", observed=True).size().to_dict() == dict.fromkeys(DAYS, 24)


def test_a_recomputed_day_has_equal_bytes(airflow: LocalAirflow, scored: list[Run]) -> None:
    before = partition(airflow, DAYS[1]).read_bytes()
    run = Run(airflow, "scored", "anew", "scoring")
    airflow.post(
        f"/api/v2/dags/{run.dag_id}/dagRuns",
        {"dag_run_id": "anew", "logical_date": None, "conf": {"as_of": f"{DAYS[1]}T00:00:00Z", "recompute": True}},
    )
    assert run.ended().state == "success"
    logs = [run.log("score_shard", 0), run.log("score_shard", 1), run.log("score")]
    found = [sum("Nothing is computed" in entry["event"] for entry in log) for log in logs]
    assert found == [0, 0, 2], "the shards' tasks compute anew, once, and what they made is joined anew"
    assert partition(airflow, DAYS[1]).read_bytes() == before


def test_scoring_before_the_first_champion_is_skipped_and_green(airflow: LocalAirflow) -> None:
    scoring = Run(airflow, "scored_early", "early", "scoring")
    airflow.wait_for_dag(scoring.dag_id)
    airflow.post(
        f"/api/v2/dags/{scoring.dag_id}/dagRuns",
        {"dag_run_id": "early", "logical_date": None, "conf": {"as_of": f"{DAYS[0]}T00:00:00Z"}},
    )
    assert scoring.ended().state == "success"
    assert {name.split("[")[0]: state for name, state in scoring.states.items()} == {
        "ingest": "success",
        "score_shard": "success",
        "score": "skipped",
    }
    assert any("has no champion yet" in entry.get("reason", "") for entry in scoring.log("score"))


def test_a_window_that_cannot_be_read_is_one_red_task_whatever_the_shards(airflow: LocalAirflow) -> None:
    scoring = Run(airflow, "scored_early", "empty", "scoring")
    airflow.wait_for_dag(scoring.dag_id)
    airflow.post(
        f"/api/v2/dags/{scoring.dag_id}/dagRuns",
        {"dag_run_id": "empty", "logical_date": None, "conf": {"as_of": "2020-01-01T00:00:00Z"}},
    )
    assert scoring.ended().state == "failed"
    assert {name.split("[")[0]: state for name, state in scoring.states.items()} == {
        "ingest": "failed",
        "score_shard": "upstream_failed",
        "score": "upstream_failed",
    }
