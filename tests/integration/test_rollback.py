from __future__ import annotations

import json
import urllib.error
from typing import TYPE_CHECKING, Any

import pytest
from runs import Run, events, mlflow_state

if TYPE_CHECKING:
    from local_airflow import LocalAirflow

MODEL = "rolled_back"
DAYS = ("2024-02-01", "2024-02-08")
REASON = "it misses the red ones"


def roll_back(airflow: LocalAirflow, run_id: str, **conf: Any) -> Run:
    """Roll back by the command line, and wait until the run has ended."""
    run = Run(airflow, MODEL, run_id, kind="rollback")
    airflow.cli("dags", "trigger", run.dag_id, "--run-id", run_id, "--conf", json.dumps(conf))
    return run.ended()


def champions(airflow: LocalAirflow) -> list[int]:
    """The versions that champion events named, oldest first."""
    return [extra["champion"] for extra in events(airflow, f"{MODEL}.champion")]


@pytest.fixture(scope="module")
def rolled_back(airflow: LocalAirflow) -> Run:
    """Two champions, of which the second was rolled back by the command line."""
    assert [Run.of(airflow, MODEL, day).state for day in DAYS] == ["success"] * 2
    assert mlflow_state(airflow, MODEL)["ledger"] == [("promote", 1), ("promote", 2)]
    airflow.wait_for_dag(f"{MODEL}_rollback")
    return roll_back(airflow, "by-hand", to="previous", reason=REASON)


def test_a_rollback_by_the_command_line_lets_the_former_champion_serve(airflow: LocalAirflow, rolled_back: Run) -> None:
    assert (rolled_back.state, rolled_back.states) == ("success", {"roll_back": "success"})
    state = mlflow_state(airflow, MODEL)
    assert state["ledger"] == [("promote", 1), ("promote", 2), ("rollback", 1)]
    assert state["aliases"] == {"champion": 1, "challenger": 2}
    facts = rolled_back.value("roll_back")["facts"]
    assert (facts["champion"], facts["quarantined"]) == (1, 2)
    assert REASON in facts["reason"]
    assert champions(airflow) == [1, 2, 1]


def test_cleared_it_rolls_back_nothing_and_sends_nothing(airflow: LocalAirflow, rolled_back: Run) -> None:
    before = mlflow_state(airflow, MODEL), champions(airflow)
    assert rolled_back.cleared().state == "success"
    assert rolled_back.value("roll_back")["facts"]["status"] == "already"
    assert (mlflow_state(airflow, MODEL), champions(airflow)) == before


def test_without_a_reason_no_run_starts(airflow: LocalAirflow, rolled_back: Run) -> None:
    path = f"/api/v2/dags/{rolled_back.dag_id}/dagRuns"
    for conf in ({}, {"reason": ""}, {"to": "previous", "reason": "  "}):
        with pytest.raises(urllib.error.HTTPError) as refused:
            airflow.post(path, {"dag_run_id": "refused", "logical_date": None, "conf": conf})
        assert refused.value.code == 400
        assert "reason" in refused.value.read().decode()
    with pytest.raises(RuntimeError, match="reason"):
        airflow.cli("dags", "trigger", rolled_back.dag_id, "--conf", '{"to": "previous"}')
    assert [run["dag_run_id"] for run in airflow.every(path, "dag_runs")] == ["by-hand"]


def test_back_to_what_is_not_there_is_red_and_says_what_is(airflow: LocalAirflow, rolled_back: Run) -> None:
    further = roll_back(airflow, "further", reason=REASON)
    assert further.state == "failed"
    assert "no champion is left before version 1" in further.error("roll_back")
    unknown = roll_back(airflow, "unknown", to=7, reason=REASON)
    assert unknown.state == "failed"
    assert "cannot be rolled back to version 7: that version was never champion" in unknown.error("roll_back")
    assert unknown.tasks["roll_back"]["try_number"] == 1, "it is not tried again"


def test_the_failed_version_does_not_come_back_until_its_quarantine_is_lifted(
    airflow: LocalAirflow, rolled_back: Run
) -> None:
    again = Run.of(airflow, MODEL, DAYS[1], run_id="again")
    assert (again.state, again.states["gate"], again.states["promote"]) == ("success", "success", "skipped")
    reason = "version 2 is in quarantine"
    assert any(reason in entry.get("reason", "") for entry in again.log("promote"))
    assert mlflow_state(airflow, MODEL)["aliases"]["champion"] == 1

    lifted = Run.of(airflow, MODEL, DAYS[1], run_id="lifted", lift_quarantine=True)
    assert (lifted.state, lifted.states["promote"]) == ("success", "success")
    state = mlflow_state(airflow, MODEL)
    assert state["ledger"] == [("promote", 1), ("promote", 2), ("rollback", 1), ("promote", 2)]
    assert (state["versions"], state["aliases"]["champion"]) == ([1, 2], 2)
    assert champions(airflow) == [1, 2, 1, 2]
