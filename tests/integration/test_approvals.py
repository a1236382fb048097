"""A person's word before promotion, by Airflow's own human-in-the-loop tasks."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from killing import POINTS
from runs import Run, mlflow_state, registry, until
from services.browser import chromium
from services.receivers import mailbox
from visits import PICTURES, Visit, logged_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from killing import Points
    from services.receivers import Mailbox

    from local_airflow import LocalAirflow


def triggered(airflow: LocalAirflow, name: str, day: str) -> Run:
    run = Run(airflow, name, f"for-{day}")
    airflow.wait_for_dag(run.dag_id)
    airflow.post(
        f"/api/v2/dags/{run.dag_id}/dagRuns", {"dag_run_id": run.run_id, "logical_date": None, "conf": {"as_of": day}}
    )
    return run


def question(airflow: LocalAirflow, run: Run) -> dict[str, Any]:
    """Wait until a run asks, and return what."""

    def requested() -> dict[str, Any] | None:
        if run.states.get("approve") != "awaiting_input":
            return None
        [detail] = airflow.get(f"/api/v2/dags/{run.dag_id}/dagRuns/{run.run_id}/hitlDetails")["hitl_details"]
        return dict(detail)

    return dict(until(airflow, requested, f"{run.dag_id}: a question"))


def answer(airflow: LocalAirflow, run: Run, option: str, rationale: str) -> None:
    """Answer as the form on the task's page does."""
    # Airflow takes an answer within a second of the question, quicker than people are, for a lost task
    # (apache/airflow #72716), and asks again.
    time.sleep(3)
    airflow.patch(
        f"/api/v2/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/approve/-1/hitlDetails",
        {"chosen_options": [option], "params_input": {"rationale": rationale}},
    )


@pytest.fixture(scope="module")
def mails(airflow: LocalAirflow) -> Iterator[Mailbox]:
    with mailbox() as found:
        connection = found.connection
        settings = {**connection, "connection_id": "asked_mail", "extra": json.dumps(connection["extra"])}
        airflow.post("/api/v2/connections", settings)
        yield found


@pytest.fixture(scope="module")
def approved(airflow: LocalAirflow, points: Points, mails: Mailbox) -> tuple[dict[str, Any], Run]:
    """A run that was approved, whose task was killed before it had kept the answer, asked again, and killed after."""
    run = triggered(airflow, "asked", "2024-02-01")
    question(airflow, run)
    points.arm(POINTS["approval"])
    answer(airflow, run, "Approve", "better on red")
    until(airflow, lambda: len(points.left) < len(points.armed), "a kill")
    requested = question(airflow, run)
    answer(airflow, run, "Approve", "better on red")
    return requested, run.ended()


def test_an_approved_challenger_becomes_champion_and_the_ledger_says_by_whom(
    airflow: LocalAirflow, approved: tuple[dict[str, Any], Run], points: Points
) -> None:
    requested, run = approved
    assert not points.left, "each point was reached"
    assert requested["subject"] == "Promote version 1 of asked to champion?"
    assert "| metric | challenger | interval | champion | baseline | worst slice |" in requested["body"]
    assert requested["defaults"] == ["Reject"]
    assert (run.state, run.states["approve"], run.states["promote"]) == ("success", "success", "success")
    [entry] = registry(airflow).history("asked")
    [stored] = registry(airflow).approvals("asked")
    assert (stored.version, stored.answer, stored.by, stored.rationale) == (
        1,
        "approved",
        entry.approver,
        "better on red",
    )
    assert entry.approver
    assert entry.reason.endswith(f"version 1 was approved by {entry.approver}: better on red")


def test_whoever_is_to_answer_is_told_once_where_though_the_question_was_asked_again(
    airflow: LocalAirflow, approved: tuple[dict[str, Any], Run], mails: Mailbox
) -> None:
    _, run = approved
    [waits] = [mail for mail in mails.mails if mail["Subject"] == "asked: version 1 waits for approval"]
    message = mails.text(waits)
    answered = f"{airflow.url}/dags/{run.dag_id}/runs/{run.run_id}/tasks/approve/required_actions"
    assert f'href="{answered}"' in message
    assert mails.subjects[-1] == "asked: version 1 is the champion, the first"


def test_a_question_is_asked_once_whatever_is_cleared(
    airflow: LocalAirflow, approved: tuple[dict[str, Any], Run]
) -> None:
    before = mlflow_state(airflow, "asked"), registry(airflow).approvals("asked")
    _, run = approved
    assert run.cleared().state == "success"
    assert run.states["promote"] == "success"
    assert (mlflow_state(airflow, "asked"), registry(airflow).approvals("asked")) == before


def test_a_rejected_challenger_is_a_normal_day_and_can_be_asked_about_again(
    airflow: LocalAirflow, approved: tuple[dict[str, Any], Run]
) -> None:
    run = triggered(airflow, "asked", "2024-02-10")
    assert "Champion: version 1." in question(airflow, run)["body"]
    if PICTURES:
        with chromium() as browser:
            visit = Visit(browser, airflow, logged_in(browser, airflow, "anna"))
            visit.page.goto(f"{airflow.url}/dags/{run.dag_id}/runs/{run.run_id}/tasks/approve")
            visit.page.get_by_role("link", name="Required Action").click()
            visit.page.get_by_text("Recorded in the ledger.").wait_for()
            visit.picture("approval")
    answer(airflow, run, "Reject", "too few rows")
    run.ended()
    assert (run.state, run.states["approve"], run.states["promote"]) == ("success", "success", "skipped")
    assert mlflow_state(airflow, "asked")["ledger"] == [("promote", 1)]
    rejected = registry(airflow).approvals("asked")[-1]
    assert (rejected.version, rejected.answer, rejected.rationale) == (2, "rejected", "too few rows")


def test_no_answer_in_time_is_a_rejection_that_the_ledger_holds(airflow: LocalAirflow) -> None:
    run = triggered(airflow, "unanswered", "2024-02-01")
    [assigned] = question(airflow, run)["assigned_users"]
    assert assigned["id"] == "anna"
    run.ended()
    ends = {"approve": "success", "promote": "skipped", "notify": "success"}
    assert (run.state, {name: run.states[name] for name in ends}) == ("success", ends)
    assert mlflow_state(airflow, "unanswered")["ledger"] == []
    [late] = registry(airflow).approvals("unanswered")
    assert (late.answer, late.by) == ("timed_out", None)
