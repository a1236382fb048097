from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from notified_model import LEAST, MAIL, SMTP, World

from airflow_mlops_provider.dag_templates.folder import file_problems
from airflow_mlops_provider.dag_templates.kinds import KINDS
from airflow_mlops_provider.exceptions import NotAllowedError, SpecError
from airflow_mlops_provider.pipelines import parse_pipeline

if TYPE_CHECKING:
    from pathlib import Path

    from services.receivers import Mailbox


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"notifier": "airflow.sdk.DAG"}, "churn: notifications.on_event names 'airflow.sdk.DAG'"),
        ({"notifier": "airflow.nowhere.Notifier"}, "'airflow.nowhere.Notifier' cannot be imported"),
        ({"notifier": SMTP, "params": {"too": "a@b.c"}}, f"churn: the params of notifier '{SMTP}' do not fit"),
        (
            {**MAIL, "params": {"to": "a@b.c", "subject": "{{ event.nothing.there }}"}},
            "notifier SmtpNotifier is invalid",
        ),
    ],
)
def test_a_wrong_notifier_shows_at_the_first_run_and_is_not_tried_again(
    named: dict[str, Any], words: str, world: World, mails: Mailbox
) -> None:
    if "params" in named and "subject" in named["params"]:
        world.promote()
    ended = world.tell(named)
    assert ended.state == "failed"
    assert type(ended.error).__name__ == "AirflowFailException"
    assert words in ended.message
    assert mails.mails == []


@pytest.mark.parametrize(
    ("on_event", "words"),
    [
        ([{**MAIL, "events": ["promotion"]}], "on_event.0.events.0: Input should be 'gate_failed', 'approval_asked'"),
        ([{**MAIL, "events": ["promotion"]}], "got 'promotion'"),
        ([{**MAIL, "events": []}], "on_event.0.events: List should have at least 1 item"),
        ([{**MAIL, "event": ["promoted"]}], "unknown key 'event'; did you mean 'events'?"),
        ([MAIL, MAIL], "on_event has notifiers with the same name: ['SmtpNotifier']; give each a name of its own"),
        ([{**MAIL, "name": "a-b"}], "on_event.0.name: expected letters, digits and _"),
    ],
)
def test_a_wrong_setting_is_named(on_event: list[Any], words: str) -> None:
    with pytest.raises(SpecError) as raised:
        parse_pipeline({**LEAST, "notifications": {"on_event": on_event}}, where="churn.yaml")
    assert words in str(raised.value)


def dags(*events: str, notifier: str = SMTP, approval: str | None = None) -> dict[str, Any]:
    """The DAGs of a pipeline whose notifier wants certain events."""
    reported = {
        "on_event": [{"notifier": notifier, "params": {"to": "a@b.c"}, "events": list(events)}] if events else []
    }
    more = {"scoring": {}, "monitoring": {}, "notifications": reported, "promotion": {"approval": approval}}
    pipeline = parse_pipeline({**LEAST, **more}, where="churn.yaml")
    return {kind: each.build(pipeline) for kind, each in KINDS.items()}


@pytest.mark.parametrize(
    ("events", "kinds"),
    [
        ((), set()),
        (("promoted",), {"training"}),
        (("drift", "reconciled"), {"monitoring"}),
        (("rolled_back", "gate_failed"), {"training", "monitoring", "rollback"}),
        (("approval_asked",), set()),
    ],
)
def test_only_a_dag_that_has_one_of_the_events_has_the_task(events: tuple[str, ...], kinds: set[str]) -> None:
    assert {kind for kind, dag in dags(*events).items() if "notify" in dag.task_dict} == kinds


@pytest.mark.parametrize(("events", "reported"), [(("approval_asked", "drift"), 1), (("promoted",), 0), ((), 0)])
def test_the_task_that_asks_tells_those_who_want_to_hear_of_it(events: tuple[str, ...], reported: int) -> None:
    assert len(dags(*events, approval="human")["training"].task_dict["approve"].event_notifiers) == reported


def test_the_task_is_a_teardown_that_waits_for_what_tells_of_events() -> None:
    upstream = {
        kind: dag.task_dict["notify"].upstream_task_ids
        for kind, dag in dags("promoted", "rolled_back").items()
        if kind != "scoring"
    }
    assert upstream == {
        "training": {"gate", "publish", "promote"},
        "monitoring": {"watch", "retrain", "roll_back"},
        "rollback": {"roll_back"},
    }
    task = dags("promoted")["training"].task_dict["notify"]
    assert (task.is_teardown, task.on_failure_fail_dagrun, task.retries) == (True, False, 3)
    assert task.execution_timeout == timedelta(minutes=5)


def test_a_notifier_outside_the_allow_list_has_no_dag_and_one_that_cannot_be_is_found_by_the_check(
    pipelines: Path,
) -> None:
    with pytest.raises(NotAllowedError, match="'subprocess.Popen' is outside the allow-list"):
        dags("promoted", notifier="subprocess.Popen")
    with pytest.raises(NotAllowedError, match="'subprocess.Popen' is outside the allow-list"):
        dags("approval_asked", notifier="subprocess.Popen", approval="human")
    reported = {"on_event": [{"notifier": SMTP, "params": {"too": "a@b.c"}}]}
    file = pipelines / "churn.yaml"
    file.write_text(yaml.safe_dump({**LEAST, "notifications": reported}), encoding="utf-8")
    assert [f"the params of notifier '{SMTP}' do not fit" in problem for problem in file_problems(file)] == [True]
