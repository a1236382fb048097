from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG
from notified_model import API, MAIL, MARCH, NASTY, SHA, SMTP, WEBHOOK, World, evaluated, gate_result
from published_challenger import QuestionWorld

from airflow_mlops_provider import effects
from airflow_mlops_provider.operators.promotion import PromoteModelOperator
from airflow_mlops_provider.results import StepResult

if TYPE_CHECKING:
    from pathlib import Path

    from services.receivers import Mailbox, Slack


def test_a_promotion_and_a_rollback_are_each_one_mail_with_links(world: World, mails: Mailbox) -> None:
    world.promote()
    world.promote(NASTY)
    world.roll_back()
    ended = world.tell(MAIL)

    assert ended.state == "success", ended.error
    assert ended.xcom["facts"] == {"sent": 3, "left": 0}
    assert mails.subjects == [
        "churn: version 1 is the champion, the first",
        "churn: version 2 is the champion, after version 1",
        "churn: rolled back to version 1; version 2 is in quarantine",
    ]
    message = mails.text(mails.mails[1])
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in message
    assert "<script>" not in message
    for words in ("anna", "roc_auc 0.7123", "2013-03-03"):
        assert words in message
    for link in (
        "https://mlflow.example.org/#/models/churn/versions/2",
        "https://mlflow.example.org/#/experiments/0/runs/",
        "https://airflow.example.org/team/dags/churn_training/runs/on%2Bmonday",
        "https://airflow.example.org/team/mlops/models/churn",
    ):
        assert f'href="{link}' in message


def test_slack_s_api_and_webhook_are_told_in_its_own_markup(world: World, posts: Slack) -> None:
    world.promote(NASTY)
    api = {"notifier": API, "params": {"channel": "#models"}}
    assert world.tell(api, {"notifier": WEBHOOK}).state == "success"

    assert [path for path, _ in posts.posts] == ["/api/chat.postMessage", "/services/T0/B0/secret"]
    assert posts.posts[0][1]["channel"] == "#models"
    for text in posts.texts:
        assert text.startswith("*churn: version 1 is the champion, the first*\nWhy: &lt;!channel&gt; &lt;script&gt;")
        assert "<https://airflow.example.org/team/mlops/models/churn|Models page>" in text
        assert "<!channel>" not in text


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({}, "drift, retraining requested"),
        ({"rule": "decay", "drifted": False}, "retraining requested"),
        ({"suppressed": True, "why": "cooldown"}, "drift, retraining suppressed"),
        ({"action": "roll_back", "rule": "probation"}, "drift"),
        ({"drifted": False}, "drift, retraining requested"),  # as an older release wrote it
        ({"action": "keep", "rule": "healthy", "drifted": False}, None),
    ],
)
def test_a_window_is_one_message_whatever_it_led_to(
    changes: dict[str, Any], title: str | None, world: World, mails: Mailbox
) -> None:
    world.decide(4, **changes)
    assert world.tell(MAIL).state == "success"
    assert mails.subjects == ([] if title is None else [f"churn: {title} in the window up to 2013-03-05"])


@pytest.mark.parametrize(
    ("red", "title"), [(True, "the challenger failed its gates"), (False, "the challenger is not promoted")]
)
def test_gates_that_failed_are_told_with_the_version_that_did(
    red: bool, title: str, world: World, posts: Slack
) -> None:
    results = [gate_result(red=red), evaluated(7)]
    for _ in range(2):
        assert world.tell({"notifier": WEBHOOK}, results=results).state == "success"
    [text] = posts.texts
    assert text.startswith(f"*churn: {title}*\nWhy: roc_auc: 0.4, expected 0.7\n")
    assert "Challenger: version 7" in text
    assert "/dags/churn_training/runs/run|Airflow run>" in text


@pytest.mark.parametrize(
    ("on_fail", "state", "title"),
    [("fail", "failed", "the challenger failed its gates"), ("skip", "skipped", "the challenger is not promoted")],
)
def test_gates_that_refuse_anew_because_a_champion_came_meanwhile_are_told_once(
    on_fail: str, state: str, title: str, world: World, posts: Slack, tmp_path: Path
) -> None:
    poor = QuestionWorld.about(world, tmp_path, "dummy.DummyClassifier")
    gate = poor.gate({"kind": "champion", "on_fail": on_fail})
    good = QuestionWorld.about(world, tmp_path)
    effects.promote(
        world.registry, good.store, good.evaluation, good.gate(), model="churn", caller=("churn_training", "other")
    )
    for _ in range(2):  # a retry, or a run that was cleared
        with DAG("churn_training", schedule=None):
            task = PromoteModelOperator(
                task_id="promote", pipeline="churn", evaluation=poor.evaluation.xcom(), gate=gate.xcom()
            )
        ended = world.worker.run(task)
        assert ended.state == state
        results = [gate, poor.evaluation, StepResult.model_validate(ended.xcom)]
        reported = world.tell({"notifier": WEBHOOK, "events": ["gate_failed"]}, results=results)
        assert reported.state == "success"
    [text] = posts.texts
    assert text.startswith(f"*churn: {title}*\nWhy: not better than champion v2")
    assert "Challenger: version 1" in text


def test_an_alias_that_was_set_right_is_told_once(world: World, mails: Mailbox) -> None:
    alias = {"version": 2, "reason": "the alias named version 1, the ledger 2", "key": "one"}
    watched = StepResult(step="watch", pipeline="churn", key=SHA, as_of=MARCH, facts={"reconciled": alias})
    for _ in range(2):
        assert world.tell(MAIL, results=[watched]).state == "success"
    assert mails.subjects == ["churn: the alias champion was wrong and has been corrected"]


def test_words_of_people_and_data_fit_into_the_subject_of_a_mail(world: World, mails: Mailbox) -> None:
    world.promote("it is better\nBcc: all@example.org")
    world.tell({"notifier": SMTP, "params": {"to": "ml@example.org", "subject": "{{ event.details['Why'] }}"}})
    assert mails.subjects == ["it is better Bcc: all@example.org"]


def test_templates_know_the_event_and_the_run(world: World, mails: Mailbox) -> None:
    world.promote()
    params = {
        "to": "ml@example.org",
        "subject": "[{{ event.kind }}] {{ event.title }} ({{ dag_id }}, {{ run_id }})",
        "html_content": "{% for name, url in event.links.items() %}{{ name }};{% endfor %}{{ event.details['Why'] }}",
    }
    world.tell({"notifier": SMTP, "params": params})
    assert mails.subjects == ["[promoted] churn: version 1 is the champion, the first (churn_training, run)"]
    assert mails.text(mails.mails[0]).strip() == "MLflow run;MLflow model version;Airflow run;Models page;better"
