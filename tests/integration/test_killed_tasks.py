"""Every task is killed with SIGKILL at every named point, and Airflow's own retry goes on from there."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from killing import POINTS, every_point
from runs import Run, events, mlflow_state

from airflow_mlops_provider.storage import sha256_of

if TYPE_CHECKING:
    from killing import Points

    from local_airflow import LocalAirflow


def test_every_point_of_the_code_is_one_of_some_dag() -> None:
    assert set().union(*POINTS.values()) == every_point()


def test_killed_at_every_point_a_run_ends_as_if_it_had_run_once(airflow: LocalAirflow, points: Points) -> None:
    points.arm(POINTS["training"] | POINTS["mirror"] | POINTS["scoring"] | POINTS["sinks"])
    run = Run.of(airflow, "killed", "2024-02-01", seconds=420)
    assert run.state == "success", run.states
    scoring = Run.triggered(airflow, "killed", "scoring")
    assert scoring.state == "success", scoring.states
    assert not points.left, "each point was reached"
    tries = {(run.dag_id, name): task["try_number"] for run in (run, scoring) for name, task in run.tasks.items()}
    assert sum(tries.values()) - len(tries) == len(points.armed), tries
    assert mlflow_state(airflow, "killed") == {
        "runs": ["killed 2024-02-01", "logistic", "tree", *(f"tree {number}" for number in range(5))],
        "unfinished": [],
        "versions": [1],
        "aliases": {"champion": 1, "challenger": 1},
        "ledger": [("promote", 1)],
    }
    assert run.states.keys() >= {"search[tree 1 of 2]", "search[tree 2 of 2]"}
    searched = run.value("train", 1)["facts"]["search"]
    assert (searched["trials"], searched["stopped"], searched["failed"]) == (4, ["trials"], 0)
    objects = [file for file in (airflow.artifacts / "objects").rglob("*") if file.is_file()]
    assert objects
    assert all(sha256_of(file) == file.name.split(".")[0] for file in objects), "no object is half-written"
    assert [len(events(airflow, f"killed.{asset}")) for asset in ("champion", "predictions")] == [1, 1]
    with closing(sqlite3.connect(airflow.home / "warehouse.db")) as warehouse:
        written = warehouse.execute("select as_of, count(*), count(distinct id) from killed group by as_of").fetchall()
    assert written == [("2024-02-01", 24, 24)], "a killed sink is written again as a whole"
    tracked = {file.stem for file in (airflow.home / "pipelines" / "killed_tracked").iterdir()}
    assert tracked == set(run.value("mirror")["facts"]["runs"]), "a tracker that was killed gets the same runs again"
    predictions = airflow.artifacts / "predictions" / "killed" / "as_of=2024-02-01"
    assert [file.name for file in predictions.iterdir()] == ["predictions.parquet"]
    assert (
        sha256_of(predictions / "predictions.parquet") == scoring.value("score")["artifacts"]["predictions"]["sha256"]
    )
