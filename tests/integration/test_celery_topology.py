from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import yaml
from conftest import PROJECT
from runs import Run, mlflow_state
from services.celery_airflow import WORKERS, celery_airflow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from services.celery_airflow import CeleryAirflow

NAME, DAY = "flight_delays", "2013-03-01"
#: Airflow's own settings of some tasks, each of another kind.
TASKS = {
    "validate": {"pool": "narrow"},
    "prepare": {"queue": "second"},
    "evaluate": {"executor": "LocalExecutor"},
    "gate": {"executor_config": {"note": "for the executor"}},
}


def write_pipeline(folder: Path) -> None:
    """Write the shipped pipeline of the flights: run by hand, watched, and with settings of its tasks."""
    spec = yaml.safe_load((PROJECT / "config" / "pipelines" / f"{NAME}.yaml").read_text(encoding="utf-8"))
    del spec["schedule"]
    folder.mkdir()
    changed = {**spec, "monitoring": {}, "tasks": TASKS}
    (folder / f"{NAME}.yaml").write_text(yaml.safe_dump(changed, sort_keys=False), encoding="utf-8")


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CeleryAirflow]:
    home = tmp_path_factory.mktemp("celery")
    write_pipeline(home / "pipelines")
    settings = {
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor,LocalExecutor",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
    }
    with ExitStack() as stack:
        airflow, _ = stack.enter_context(celery_airflow(home, pipelines=home / "pipelines", environment=settings))
        airflow.post("/api/v2/pools", {"name": "narrow", "slots": 1})
        yield airflow


@pytest.fixture(scope="module")
def trained(airflow: CeleryAirflow) -> Run:
    return Run.of(airflow, NAME, DAY)


@pytest.fixture(scope="module")
def scored(airflow: CeleryAirflow, trained: Run) -> Run:
    """The scoring that the champion triggers by itself."""
    return Run.triggered(airflow, NAME, "scoring")


@pytest.fixture(scope="module")
def watched(airflow: CeleryAirflow, scored: Run) -> Run:
    """The monitoring that the predictions trigger by itself."""
    return Run.triggered(airflow, NAME, "monitoring")


def hosts(run: Run, prefix: str = "") -> dict[str, str]:
    """Return the part of Airflow that ran each task."""
    return {name: task["hostname"] for name, task in run.tasks.items() if name.startswith(prefix)}


def test_the_training_ends_with_a_champion(airflow: CeleryAirflow, trained: Run) -> None:
    assert trained.state == "success", trained.states
    assert set(trained.states.values()) == {"success"}
    state = mlflow_state(airflow, NAME)
    assert state["ledger"] == [("promote", 1)]
    assert state["aliases"] == {"champion": 1, "challenger": 1}
    assert state["unfinished"] == []


def test_the_candidates_ran_on_both_workers(trained: Run) -> None:
    ran = hosts(trained, "train[")
    assert len(ran) == 3
    assert set(ran.values()) == set(WORKERS), ran


def test_scoring_and_monitoring_follow_on_the_workers(trained: Run, scored: Run, watched: Run) -> None:
    for run in (scored, watched):
        assert run.state == "success", run.states
        assert set(hosts(run).values()) <= set(WORKERS)
    assert scored.value("score")["facts"]["rows"] > 500


def test_a_task_s_own_settings_reach_airflow_and_hold(trained: Run) -> None:
    tasks = trained.tasks
    assert tasks["validate"]["pool"] == "narrow"
    assert (tasks["prepare"]["queue"], tasks["prepare"]["hostname"]) == ("second", "worker-2")
    assert (tasks["evaluate"]["executor"], tasks["evaluate"]["hostname"]) == ("LocalExecutor", "scheduler")
    assert "for the executor" in tasks["gate"]["executor_config"]
