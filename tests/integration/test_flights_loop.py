from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from runs import Run, mlflow_state, registry

from airflow_mlops_provider.effects.decisions import decisions

if TYPE_CHECKING:
    from airflow_mlops_provider.monitoring.governor import Decision
    from local_airflow import LocalAirflow

TRAINED = 12
#: Of September 2013: a week of summer, and the first cool days.
DAYS = (20, 21, 22, 23)


@pytest.fixture(scope="module")
def stored(airflow: LocalAirflow) -> dict[str, dict[int, Decision]]:
    """Both worlds: a first champion, and then days that are scored as they come. Nothing else is done by hand."""
    runs = {name: start(airflow, name, "training", TRAINED) for name in ("autumn", "dealt")}
    for run in runs.values():
        assert run.ended().state == "success", run.states
    for name in runs:
        decided(airflow, name, TRAINED)
    # A pipeline's runs of a kind follow each other in this order.
    for run in [start(airflow, name, "scoring", number) for number in DAYS for name in runs]:
        assert run.ended().state == "success", run.states
    for name in runs:
        decided(airflow, name, *DAYS)
    return {name: by_day(airflow, name) for name in runs}


def start(airflow: LocalAirflow, name: str, kind: str, number: int) -> Run:
    """Trigger a run for a day, and do not wait for it."""
    run = Run(airflow, name, f"{kind}-{number}", kind=kind)
    airflow.wait_for_dag(run.dag_id)
    body = {"dag_run_id": run.run_id, "logical_date": None, "conf": {"as_of": f"2013-09-{number}T00:00:00Z"}}
    airflow.post(f"/api/v2/dags/{run.dag_id}/dagRuns", body)
    return run


def by_day(airflow: LocalAirflow, name: str) -> dict[int, Decision]:
    return {one.as_of.day: one for one in decisions(registry(airflow), name)}


def decided(airflow: LocalAirflow, name: str, *numbers: int, seconds: float = 120) -> None:
    """Wait until days are decided."""
    deadline = time.monotonic() + seconds
    while not set(numbers) <= set(by_day(airflow, name)):
        assert time.monotonic() < deadline, f"{name}: {numbers} were not decided within {seconds:.0f} s"
        time.sleep(0.5)


def events(airflow: LocalAirflow, dag_id: str) -> list[dict[str, Any]]:
    """Return the runs of a DAG that assets have started."""
    runs: list[dict[str, Any]] = airflow.every(f"/api/v2/dags/{dag_id}/dagRuns?run_type=asset_triggered", "dag_runs")
    return runs


def test_the_days_of_an_autumn_lead_to_a_retraining_by_themselves(
    airflow: LocalAirflow, stored: dict[str, dict[int, Decision]]
) -> None:
    days = stored["autumn"]
    assert [(days[number].action, days[number].rule, days[number].why) for number in (TRAINED, *DAYS)] == [
        ("keep", "healthy", None),
        ("keep", "healthy", None),
        ("keep", "healthy", None),
        ("retrain", "drift", "1 bad window in a row, 2 are needed"),
        ("retrain", "drift", None),
    ]
    training = Run.triggered(airflow, "autumn", "training")
    assert training.state == "success", training.states
    promoted = registry(airflow).history("autumn")[-1]
    assert (promoted.action, promoted.version) == ("promote", 2)
    assert promoted.order_key == datetime(2013, 9, 23, tzinfo=UTC)
    assert f"Retrained for drift: {days[23].reasons[0]}" in promoted.reason


def test_the_champion_that_comes_of_it_scores_the_newest_week_by_itself(
    airflow: LocalAirflow, stored: dict[str, dict[int, Decision]]
) -> None:
    scoring = Run.triggered(airflow, "autumn", "scoring", number=2)
    assert scoring.state == "success"
    assert scoring.value("score")["as_of"] == "2013-09-23T00:00:00Z"
    assert scoring.value("score")["facts"]["version"] == 2


def test_the_same_flights_on_days_that_do_not_differ_lead_to_none(
    airflow: LocalAirflow, stored: dict[str, dict[int, Decision]]
) -> None:
    assert {(one.action, one.rule) for one in stored["dealt"].values()} == {("keep", "healthy")}
    assert all("roc_auc is" in stored["dealt"][number].reasons[1] for number in DAYS), "both were judged"
    assert events(airflow, "dealt_training") == []
    assert mlflow_state(airflow, "dealt")["ledger"] == [("promote", 1)]
