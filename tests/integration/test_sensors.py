"""Sensors wait in a real triggerer, which dies and comes back while they do."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mlops_provider.registry import PromotionRequest, Registry
from airflow_mlops_provider.results import MAX_XCOM_BYTES, ArtifactRef

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from local_airflow import LocalAirflow

MODEL, DAY = "waited_for", "2024-03-01"
WINDOW = datetime(2024, 3, 1, tzinfo=UTC)
DECISION = {
    "action": "retrain",
    "rule": "drift",
    "bad": True,
    "suppressed": False,
    "reasons": ["columns with 60% of the importance drifted"],
    "columns": ["warmth"],
    "champion": 2,
}


def promote(airflow: LocalAirflow, version: int) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(airflow.mlflow_uri)
    if version == 1:
        client.create_registered_model(MODEL)
    client.create_model_version(MODEL, str(airflow.home), await_creation_for=None)
    request = PromotionRequest(
        model=MODEL,
        idem=f"task-{version}",
        version=version,
        digest=f"digest-{version}",
        sha256="a" * 64,
        artifact=ArtifactRef(uri="file:///store/model.skops", sha256="a" * 64, size=3),
        lineage=f"lineage-{version}",
        order_key=datetime(2024, 3, version, tzinfo=UTC),
        compared_with=version - 1 or None,
        reason="the test says so",
    )
    assert Registry.connect(airflow.mlflow_uri).promote(request).entry is not None


def start(airflow: LocalAirflow, dag_id: str, **conf: Any) -> None:
    airflow.wait_for_dag(dag_id)
    airflow.post(f"/api/v2/dags/{dag_id}/dagRuns", {"dag_run_id": "run", "logical_date": None, "conf": conf})


def wait_until(what: str, condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not in {seconds:.0f} s: {what}")
        time.sleep(0.2)


def states(airflow: LocalAirflow, dag_id: str = "waiting") -> dict[str, str]:
    return {task["task_id"]: task["state"] for task in airflow.tasks(dag_id, "run")}


def triggerers(airflow: LocalAirflow) -> set[int | None]:
    return {(task["triggerer_job"] or {}).get("id") for task in airflow.tasks("waiting", "run")}


@pytest.fixture(scope="module")
def waited(airflow: LocalAirflow) -> LocalAirflow:
    """An Airflow whose sensors have waited through the death of their triggerer, until what they wait for came."""
    arrivals: Path = airflow.home / "arrivals"
    for kind in ("by_size", "by_marker"):
        (arrivals / kind / DAY).mkdir(parents=True)
    (arrivals / "by_size" / DAY / "part-0.csv").write_text("")
    (arrivals / "by_marker" / DAY / "part-0.csv").write_text("12345")
    promote(airflow, 1)
    start(airflow, "waiting_in_vain")
    start(airflow, "waiting", as_of=DAY)
    wait_until("all defer", lambda: set(states(airflow).values()) == {"deferred"})
    wait_until("all are in the triggerer", lambda: None not in triggerers(airflow))
    airflow.kill("triggerer")
    promote(airflow, 2)  # nobody sees it happen
    airflow.restart("triggerer")
    wait_until("the new triggerer sees what was missed", lambda: states(airflow)["champion"] == "success")
    others = {task: state for task, state in states(airflow).items() if task != "champion"}
    assert others == dict.fromkeys(["by_marker", "by_size", "calm", "drifted"], "deferred")
    (arrivals / "by_size" / DAY / "part-0.csv").write_text("12345")
    (arrivals / "by_marker" / DAY / "_SUCCESS").touch()
    Registry.connect(airflow.mlflow_uri).write_decision(MODEL, WINDOW, DECISION)
    airflow.wait_for_run("waiting", "run", 60)
    return airflow


def test_each_sensor_ends_with_what_it_waited_for(waited: LocalAirflow) -> None:
    assert states(waited) == {
        **dict.fromkeys(["by_marker", "by_size", "champion", "drifted"], "success"),
        "calm": "skipped",
    }
    assert [task["try_number"] for task in waited.tasks("waiting", "run")] == [1] * 5, "no worker tried again"


def test_what_was_found_is_the_result(waited: LocalAirflow) -> None:
    found = {task: waited.xcom("waiting", "run", task) for task in ("by_size", "by_marker", "champion", "drifted")}
    assert (found["by_size"]["size"], found["by_size"]["complete_by"]) == (5, "stability")
    assert (found["by_marker"]["size"], found["by_marker"]["complete_by"]) == (5, "_SUCCESS")
    assert (found["champion"]["seq"], found["champion"]["version"]) == (2, 2)
    assert (found["drifted"]["action"], found["drifted"]["columns"]) == ("retrain", ["warmth"])
    assert all(len(json.dumps(value)) <= MAX_XCOM_BYTES for value in found.values())


def test_a_wait_in_vain_ends_by_its_timeout_and_a_wrong_question_at_once(waited: LocalAirflow) -> None:
    assert waited.wait_for_run("waiting_in_vain", "run", 60) == "failed"
    tasks = {task["task_id"]: task for task in waited.tasks("waiting_in_vain", "run")}
    assert {name: (task["state"], task["try_number"]) for name, task in tasks.items()} == {
        "never": ("failed", 1),
        "wrong": ("failed", 1),
    }
    log = next((waited.home / "logs" / "dag_id=waiting_in_vain").rglob("task_id=never/attempt=1.log"))
    assert "AirflowSensorTimeout" in log.read_text(encoding="utf-8")
