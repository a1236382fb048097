"""Messages about events, from a real scheduler to a real mail server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from killing import POINTS
from runs import Run, registry, until
from services.receivers import mailbox

from airflow_mlops_provider.registry import PromotionRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from killing import Points
    from services.receivers import Mailbox

    from local_airflow import LocalAirflow

NAME = "told"
FIRST, SECOND = "told: version 1 is the champion, the first", "told: version 2 is the champion, after version 1"
BACK = "told: rolled back to version 1; version 2 is in quarantine"


@pytest.fixture(scope="module")
def mails(airflow: LocalAirflow) -> Iterator[Mailbox]:
    with mailbox() as found:
        connection = found.connection
        settings = {**connection, "connection_id": "told_mail", "extra": json.dumps(connection["extra"])}
        airflow.post("/api/v2/connections", settings)
        yield found


def test_killed_before_and_after_it_sent_it_sends_again_and_a_cleared_run_does_not(
    airflow: LocalAirflow, points: Points, mails: Mailbox
) -> None:
    points.arm(POINTS["notification"])
    run = Run.of(airflow, NAME, "2024-02-01", candidates=["logistic"])
    assert (run.state, run.states["notify"], run.tasks["notify"]["try_number"]) == ("success", "success", 3)
    assert not points.left
    # Once by the try that was killed before it could say so, once by the next.
    assert mails.subjects == [FIRST, FIRST]
    assert f'href="{airflow.url}/dags/{NAME}_training/runs/{run.run_id}"' in mails.text(mails.mails[0])

    airflow.post(
        f"/api/v2/dags/{run.dag_id}/clearTaskInstances",
        {"dry_run": False, "dag_run_id": run.run_id, "task_ids": ["notify"], "only_failed": False},
    )
    assert run.ended().state == "success"
    assert (run.tasks["notify"]["try_number"], run.value("notify")["facts"]["sent"]) == (4, 0)
    assert len(mails.mails) == 2


def test_a_run_whose_gates_fail_is_red_although_the_message_is_sent(airflow: LocalAirflow, mails: Mailbox) -> None:
    run = Run.of(airflow, NAME, "2024-02-02", candidates=["dull"])
    assert run.state == "failed"
    states = {name: run.states[name] for name in ("gate", "promote", "notify")}
    assert states == {"gate": "failed", "promote": "upstream_failed", "notify": "success"}
    # The one from the task, the other by Airflow's callback of the run.
    until(airflow, lambda: len(mails.mails) == 4, "a second mail")
    assert sorted(mails.subjects[2:]) == ["told: the challenger failed its gates", "told_training failed"]


def test_a_mail_server_that_is_down_leaves_the_rollback_and_the_next_run_tells_of_all(
    airflow: LocalAirflow, mails: Mailbox
) -> None:
    # Past every DAG, the version whose gates had failed.
    ledger = registry(airflow)
    made = ledger.version(NAME, 2)
    by_hand = PromotionRequest(
        model=NAME,
        idem="by-hand",
        sha256=made.artifact.sha256,
        lineage="by-hand",
        compared_with=1,
        **made.model_dump(),
    )
    assert ledger.promote(by_hand).status == "promoted"

    mails.refuse = 1000
    run = Run(airflow, NAME, "by-hand", "rollback")
    order = {"dag_run_id": run.run_id, "logical_date": None, "conf": {"reason": "bad"}}
    airflow.post(f"/api/v2/dags/{run.dag_id}/dagRuns", order)
    assert run.ended().state == "success"
    assert run.states == {"roll_back": "success", "notify": "failed"}
    assert run.tasks["notify"]["try_number"] == 3
    assert "SMTPDataError: (451, b'not now')" in run.error("notify")
    assert ledger.history(NAME)[-1].action == "rollback"

    mails.refuse = 0
    again = Run.of(airflow, NAME, "2024-02-01", run_id="again", candidates=["logistic"])
    assert again.state == "success"
    # What was tried less often comes first.
    assert sorted(mails.subjects[4:]) == sorted([SECOND, BACK])
