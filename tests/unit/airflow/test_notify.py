from __future__ import annotations

import json
import socket
import threading
from argparse import Namespace
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from airflow.sdk import DAG
from services.receivers import mailbox, slack

from airflow_mlops_provider import effects
from airflow_mlops_provider.dag_templates.folder import file_problems
from airflow_mlops_provider.dag_templates.kinds import KINDS
from airflow_mlops_provider.effects.events import Places, Teller, events_of
from airflow_mlops_provider.effects.notices import tell
from airflow_mlops_provider.exceptions import NotAllowedError, SpecError, TransientServiceError
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.monitoring.governor import Decision
from airflow_mlops_provider.operators import approval
from airflow_mlops_provider.operators.approval import ApproveModelOperator
from airflow_mlops_provider.operators.notify import NotifyOperator
from airflow_mlops_provider.operators.promotion import PromoteModelOperator
from airflow_mlops_provider.pipelines import parse_pipeline
from airflow_mlops_provider.registry import PromotionRequest, Registry
from airflow_mlops_provider.results import ArtifactRef, Failure, StepResult
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.spec import EventNotifier
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from services.receivers import Mailbox, Slack

    from airflow_mlops_provider.effects.events import Event

SHA, DAY = "a" * 64, timedelta(days=1)
MARCH = datetime(2013, 3, 1, tzinfo=UTC)
SMTP = "airflow.providers.smtp.notifications.smtp.SmtpNotifier"
API = "airflow.providers.slack.notifications.slack.SlackNotifier"
WEBHOOK = "airflow.providers.slack.notifications.slack_webhook.SlackWebhookNotifier"
MAIL = {"notifier": SMTP, "params": {"to": "ml@example.org"}}
LEAST: dict[str, Any] = {
    "name": "churn",
    "task": "binary",
    "data": {"source": {"uri": "/data/customers.csv"}, "columns": {"target": "left", "numeric": ["age"]}},
    "preparation": {"split": {"by": "random"}},
    "training": {"candidates": {"logistic": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
}
#: What came from data, and would be markup, or call everybody.
NASTY = "<!channel> <script>alert(1)</script> & more"


@pytest.fixture
def mails(connection: Callable[..., None]) -> Iterator[Mailbox]:
    with mailbox() as found:
        connection("smtp_default", **found.connection)
        yield found


@pytest.fixture
def posts(connection: Callable[..., None]) -> Iterator[Slack]:
    with slack() as found:
        api = {"base_url": f"{found.url}/api/"}
        connection("slack_api_default", conn_type="slack", password="xoxb-secret", extra=api)
        connection("slack_default", conn_type="slackwebhook", host=f"{found.url}/services", password="T0/B0/secret")
        yield found


class World:
    """A model, what happens to it, and the task that tells of it."""

    def __init__(self, registry: Registry, worker: Any, folder: Path) -> None:
        from mlflow import MlflowClient

        self.registry, self.worker, self._folder = registry, worker, folder
        self._client = MlflowClient(registry.address)
        self._client.create_registered_model("churn")

    def promote(self, reason: str = "better") -> None:
        """Promote a new version."""
        run = self._client.create_run("0", tags={"airflow.dag_id": "churn_training", "airflow.run_id": "on+monday"})
        made = self._client.create_model_version("churn", str(self._folder), run.info.run_id, await_creation_for=None)
        version, history = int(made.version), self.registry.history("churn")
        asked = PromotionRequest(
            model="churn",
            idem=f"task-{version}",
            version=version,
            digest=f"digest-{version}",
            sha256=SHA,
            artifact=ArtifactRef(uri="file:///model.skops", sha256=SHA, size=3),
            lineage=f"lineage-{version}",
            order_key=MARCH + version * DAY,
            compared_with=history[-1].seq if history else None,
            metrics={"roc_auc": 0.71234},
            reason=reason,
            approver="anna",
        )
        assert self.registry.promote(asked).status == "promoted"

    def move_alias(self, version: int) -> None:
        """Set the alias by hand, past the ledger."""
        self._client.set_registered_model_alias("churn", "champion", str(version))

    def roll_back(self) -> None:
        self.registry.rollback("churn", to="previous", reason="it misses plan B", idem="by-hand")

    def decide(self, day: int, **changes: Any) -> None:
        """Keep the decision of a window."""
        fields = {"action": "retrain", "rule": "drift", "reasons": ["age drifted"], "champion": 1, "drifted": True}
        decision = Decision(as_of=MARCH + day * DAY, **{**fields, **changes})
        self.registry.write_decision("churn", decision.as_of, decision.model_dump(mode="json"))

    def tell(
        self,
        *notifiers: dict[str, Any],
        results: Any = (),
        task_id: str = "notify",
        pipeline: str = "churn",
        **run: Any,
    ) -> Any:
        """Run the task, as if the run had begun long before."""
        with DAG(f"{pipeline}_training", schedule=None):
            task = NotifyOperator(
                task_id=task_id,
                pipeline=pipeline,
                model="churn",
                notifiers=list(notifiers),
                results=[result.xcom() for result in results],
            )
        return self.worker.run(task, **run)

    def tries(self) -> int:
        """Return how many tries to send something are kept for good."""
        run = self._client.get_experiment_by_name("notices/churn").tags["run"]
        return sum(name.startswith("try-") for name in self._client.get_run(run).data.params)


@pytest.fixture
def world(
    worker: Any, mlflow_uri: str, connection: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> World:
    connection("mlflow_default", conn_type="mlflow", host=mlflow_uri, extra={"ui_url": "https://mlflow.example.org"})
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.org/team/")
    return World(Registry.connect(mlflow_uri), worker, tmp_path)


def gate_result(*, red: bool) -> StepResult:
    return StepResult(
        step="gate",
        pipeline="churn",
        key=SHA,
        as_of=MARCH,
        facts={"passed": False, "decision": "fail" if red else "skip", "reason": "roc_auc: 0.4, expected 0.7"},
        failure=Failure(what="the challenger fails roc_auc") if red else None,
    )


def evaluated(version: int) -> StepResult:
    return StepResult(step="evaluate", pipeline="churn", key=SHA, as_of=MARCH, facts={"version": version})


# ------------------------------------------------------------------------------------------------ what is said


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
    body = mails.mails[1].get_body()
    assert body is not None
    said = str(body.get_content())
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in said
    assert "<script>" not in said
    for words in ("anna", "roc_auc 0.7123", "2013-03-03"):
        assert words in said
    for link in (
        "https://mlflow.example.org/#/models/churn/versions/2",
        "https://mlflow.example.org/#/experiments/0/runs/",
        "https://airflow.example.org/team/dags/churn_training/runs/on%2Bmonday",
        "https://airflow.example.org/team/mlops/models/churn",
    ):
        assert f'href="{link}' in said


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
        ({}, "drift, retraining asked for"),
        ({"rule": "decay", "drifted": False}, "retraining asked for"),
        ({"suppressed": True, "why": "cooldown"}, "drift, retraining suppressed"),
        ({"action": "roll_back", "rule": "probation"}, "drift"),
        ({"drifted": False}, "drift, retraining asked for"),  # as an older release wrote it
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
    poor = Asked.about(world, tmp_path, "dummy.DummyClassifier")
    gate = poor.gate({"kind": "champion", "on_fail": on_fail})
    good = Asked.about(world, tmp_path)
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
        told = world.tell({"notifier": WEBHOOK, "events": ["gate_failed"]}, results=results)
        assert told.state == "success"
    [text] = posts.texts
    assert text.startswith(f"*churn: {title}*\nWhy: not better than champion v2")
    assert "Challenger: version 1" in text


def test_an_alias_that_was_set_right_is_told_once(world: World, mails: Mailbox) -> None:
    alias = {"version": 2, "reason": "the alias named version 1, the ledger 2", "key": "one"}
    watched = StepResult(step="watch", pipeline="churn", key=SHA, as_of=MARCH, facts={"reconciled": alias})
    for _ in range(2):
        assert world.tell(MAIL, results=[watched]).state == "success"
    assert mails.subjects == ["churn: the alias champion was wrong, and is set right"]


def test_words_of_people_and_data_fit_into_the_subject_of_a_mail(world: World, mails: Mailbox) -> None:
    world.promote("it is better\nBcc: all@example.org")
    world.tell({"notifier": SMTP, "params": {"to": "ml@example.org", "subject": "{{ event.details['Why'] }}"}})
    assert mails.subjects == ["it is better Bcc: all@example.org"]


def test_templates_know_the_event_and_airflow_s_own_variables(world: World, mails: Mailbox) -> None:
    world.promote()
    params = {
        "to": "ml@example.org",
        "subject": "[{{ event.kind }}] {{ event.title }} ({{ dag.dag_id }}, {{ run_id }})",
        "html_content": "{% for name, url in event.links.items() %}{{ name }};{% endfor %}{{ event.details['Why'] }}",
    }
    world.tell({"notifier": SMTP, "params": params})
    assert mails.subjects == ["[promoted] churn: version 1 is the champion, the first (churn_training, run)"]
    body = mails.mails[0].get_body()
    assert body is not None
    assert str(body.get_content()).strip() == "MLflow run;MLflow model version;Airflow run;Models page;better"


# ------------------------------------------------------------------------------------------------ a question


@dataclass
class Asked:
    """A challenger that was evaluated and published, and the task that asks about it."""

    world: World
    store: ArtifactStore
    evaluation: StepResult

    @classmethod
    def about(cls, world: World, folder: Path, estimator: str = "linear_model.LogisticRegression") -> Asked:
        """Train, evaluate and publish one."""
        file, store = folder / "customers.csv", ArtifactStore((folder / "artifacts").as_uri())
        rows = "\n".join(f"{18 + number % 60},{int(number % 60 + number % 7 > 30)}" for number in range(400))
        file.write_text(f"age,left\n{rows}\n")
        columns = {"target": "left", "numeric": ["age"]}
        own = cls(world, store, None)  # type: ignore[arg-type]
        data = own._step("ingest", {"task": "binary", "data": {"source": {"uri": str(file)}, "columns": columns}})
        made = {"dataset": [data]}
        made["split"] = [own._step("prepare", {"split": {"by": "random"}}, **made)]
        model = own._step("train", {"name": "one", "candidate": {"estimator": f"sklearn.{estimator}"}}, **made)
        evaluated = own._step(
            "evaluate",
            {"metrics": ["log_loss"], "candidates": ["one"], "evaluation": {}},
            **effects.evaluation_inputs(store, [model]),
        )
        own.evaluation = effects.publish(
            world.registry, store, effects.compared(evaluated, None), model="churn", tags={}
        )
        return own

    def _step(self, name: str, section: dict[str, Any], **inputs: list[StepResult]) -> StepResult:
        return run_step(
            StepRequest(step=name, pipeline="churn", as_of=MARCH, section=section, inputs=inputs), self.store
        )

    def gate(self, *gates: dict[str, Any]) -> StepResult:
        return self._step("gate", {"gates": list(gates), "metrics": ["log_loss"]}, evaluation=[self.evaluation])

    def ask(self, *notifiers: dict[str, Any], gates: Sequence[dict[str, Any]] = ({"kind": "champion"},)) -> Any:
        """Run the task."""
        with DAG("churn_training", schedule=None):
            task = ApproveModelOperator(
                task_id="approve",
                pipeline="churn",
                evaluation=self.evaluation.xcom(),
                gate=self.gate(*gates).xcom(),
                response_timeout=timedelta(hours=12),
                approvers=["anna", "ben"],
                event_notifiers=list(notifiers),
            )
        return self.world.worker.run(task)


@pytest.fixture
def asked(world: World, tmp_path: Path) -> Asked:
    return Asked.about(world, tmp_path)


def test_a_question_that_waits_is_told_once_with_where_and_until_when_to_answer(asked: Asked, mails: Mailbox) -> None:
    asked.world.decide(4)  # no matter of this task
    soonest = datetime.now(UTC) + timedelta(hours=12)
    first = asked.ask(MAIL)
    for ended in (first, asked.ask(MAIL)):
        assert ended.state == "awaiting_input", ended.error
        assert sum(msg.type == "CreateHITLDetailPayload" for msg in ended.told) == 1
    [mail] = mails.mails
    assert mail["Subject"] == "churn: version 1 waits for approval"
    said = str(mail.get_body().get_content())  # type: ignore[union-attr]
    until = {f"{moment:%Y-%m-%d %H:%M} UTC" for moment in (soonest, datetime.now(UTC) + timedelta(hours=12))}
    assert any(moment in said for moment in until)
    for words in ("all 1 gates passed", "log_loss 0.", "anna, ben", "2013-03-01"):
        assert words in said
    for link in (
        "https://airflow.example.org/team/dags/churn_training/runs/run/tasks/approve/required_actions",
        "https://mlflow.example.org/#/models/churn/versions/1",
    ):
        assert f'href="{link}"' in said


@pytest.mark.parametrize(
    ("away", "words"),
    [
        ("refuses", "SmtpNotifier did not take the message"),
        ("hangs", "SmtpNotifier takes longer than 0.5 s: the question does not wait for it"),
        ("unknown", "SMTP connection is not found"),
        ("wrong", "do not fit"),
    ],
)
def test_a_question_waits_for_nobody_who_is_told_of_it(
    away: str,
    words: str,
    asked: Asked,
    mails: Mailbox,
    posts: Slack,
    connection: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if away == "hangs":
        monkeypatch.setattr(approval, "_PATIENCE", 0.5)
    named: dict[str, Any] = {**MAIL, "params": {"to": "a@b.c"}}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        match away:
            case "refuses":
                mails.refuse = 99
            case "hangs":
                connection("smtp_default", **{**mails.connection, "port": silent.getsockname()[1]})
            case "unknown":
                named["params"]["smtp_conn_id"] = "nowhere"
            case "wrong":
                named["params"] = {"too": "a@b.c"}
        ended = asked.ask(named, {"notifier": WEBHOOK})
    assert ended.state == "awaiting_input", ended.error
    assert words in caplog.text + capsys.readouterr().out
    for thread in threading.enumerate():
        if thread.name.startswith("told "):
            thread.join(30)
    assert [text.splitlines()[0] for text in posts.texts] == ["*churn: version 1 waits for approval*"]

    mails.refuse = 0
    connection("smtp_default", **mails.connection)
    asked.ask(MAIL, {"notifier": WEBHOOK})
    assert (len(mails.mails), len(posts.texts)) == (1, 1), "asked again, who had not heard of it is told"


def test_nobody_is_told_of_a_question_that_is_not_asked_or_that_they_do_not_want(asked: Asked, mails: Mailbox) -> None:
    assert asked.ask({**MAIL, "events": ["promoted"]}).state == "awaiting_input"
    strict = {"kind": "absolute", "metric": "log_loss", "max": 0.001, "on_fail": "skip"}
    assert asked.ask(MAIL, gates=[strict]).state == "skipped"
    assert mails.mails == []


# ------------------------------------------------------------------------------------------------ once


def test_a_retry_a_clear_and_another_run_send_nothing_again(world: World, mails: Mailbox) -> None:
    world.promote()
    world.decide(4)
    for task_id in ("notify", "notify", "another"):
        assert world.tell(MAIL, task_id=task_id).state == "success"
    assert len(mails.mails) == 2
    world.promote()
    world.tell(MAIL)
    assert mails.subjects[2:] == ["churn: version 2 is the champion, after version 1"]


def test_each_notifier_is_told_of_its_own_events_from_when_it_was_first_asked_for(
    world: World, mails: Mailbox, posts: Slack
) -> None:
    now = datetime.now(UTC)
    only = {**MAIL, "events": ["rolled_back"]}
    world.promote()
    world.decide(4)
    world.tell(only, start_date=now - DAY)
    assert mails.mails == []
    world.promote()
    # A notifier that is new, and an event that is new to one that is known: the past is no news to either.
    later: dict[str, Any] = {"start_date": now + DAY}
    world.tell({**MAIL, "events": ["rolled_back", "drift"]}, {"notifier": WEBHOOK}, **later)
    assert (mails.mails, posts.posts) == ([], [])
    world.roll_back()
    world.tell(only, **later)
    assert mails.subjects == ["churn: rolled back to version 1; version 2 is in quarantine"]


def test_a_notifier_that_fails_is_tried_again_and_holds_up_no_other(world: World, mails: Mailbox, posts: Slack) -> None:
    world.promote()
    mails.refuse = 9  # the hook itself tries six times
    ended = world.tell(MAIL, {"notifier": WEBHOOK})
    assert ended.state == "up_for_retry"
    assert isinstance(ended.error, TransientServiceError)
    assert "1 of 2 messages were not taken: got SmtpNotifier did not take the message" in ended.message
    assert "451" in ended.message
    assert len(posts.texts) == 1
    mails.refuse = 0
    world.promote()
    assert world.tell(MAIL, {"notifier": WEBHOOK}).state == "success"
    assert len(posts.texts) == 2
    assert [subject[:27] for subject in mails.subjects] == [
        "churn: version 1 is the cha",
        "churn: version 2 is the cha",
    ], "in the order in which it happened"


def test_a_notifier_that_is_away_is_asked_thrice_a_try_however_much_there_is_to_tell(
    world: World, mails: Mailbox
) -> None:
    for day in range(5):
        world.decide(day)
    mails.refuse = 99
    for _ in range(2):
        assert world.tell(MAIL).state == "up_for_retry"
    assert world.tries() == 6
    mails.refuse = 0
    assert world.tell(MAIL).xcom["facts"] == {"sent": 5, "left": 0}
    assert mails.subjects == sorted(mails.subjects), "in the order in which it happened"


def test_a_notifier_that_hangs_holds_up_no_other_however_much_it_has_to_tell(world: World) -> None:
    said: list[str] = []

    def hang(named: EventNotifier, event: Event) -> None:
        if named.label == "hangs":
            raise KeyboardInterrupt  # as Airflow ends a task, which no handler of errors catches
        said.append(event.title)

    for day in range(2):
        world.decide(day)
    notifiers = [EventNotifier(notifier=SMTP, name=name) for name in ("hangs", "works")]
    for _ in range(2):
        with suppress(KeyboardInterrupt):
            tell(
                world.registry,
                "churn",
                "churn",
                notifiers,
                events_of(world.registry, "churn", "churn", [], Teller()),
                by="task",
                started=datetime.now(UTC) - DAY,
                places=Places(None, None),
                send=hang,
            )
    assert len(said) == 2


def test_pipelines_that_share_a_model_each_tell_their_own(world: World, mails: Mailbox) -> None:
    world.promote()
    for pipeline in ("churn", "churn_by_post", "churn"):
        assert world.tell(MAIL, pipeline=pipeline).state == "success"
    assert [subject.split(":")[0] for subject in mails.subjects] == ["churn", "churn_by_post"]


def test_what_slack_refuses_is_named_without_its_secrets(world: World, posts: Slack) -> None:
    world.promote()
    posts.answer = (200, "channel_not_found")
    ended = world.tell({"notifier": API, "params": {"channel": "#nowhere"}})
    assert "channel_not_found" in ended.message
    assert "xoxb-secret" not in ended.message
    assert world.registry.history("churn")[-1].version == 1, "the promotion stays"


# ------------------------------------------------------------------------------------------------ what is wrong


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"notifier": "airflow.sdk.DAG"}, "churn: notifications.on_event names 'airflow.sdk.DAG'"),
        ({"notifier": "airflow.nowhere.Notifier"}, "'airflow.nowhere.Notifier' cannot be imported"),
        ({"notifier": SMTP, "params": {"too": "a@b.c"}}, f"churn: the params of notifier '{SMTP}' do not fit"),
        ({**MAIL, "params": {"to": "a@b.c", "subject": "{{ event.nothing.there }}"}}, "notifier SmtpNotifier is wrong"),
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


# ------------------------------------------------------------------------------------------------ the DAGs


def dags(*events: str, notifier: str = SMTP, approval: str | None = None) -> dict[str, Any]:
    """The DAGs of a pipeline whose notifier wants certain events."""
    told = {"on_event": [{"notifier": notifier, "params": {"to": "a@b.c"}, "events": list(events)}] if events else []}
    more = {"scoring": {}, "monitoring": {}, "notifications": told, "promotion": {"approval": approval}}
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


@pytest.mark.parametrize(("events", "told"), [(("approval_asked", "drift"), 1), (("promoted",), 0), ((), 0)])
def test_the_task_that_asks_tells_those_who_want_to_hear_of_it(events: tuple[str, ...], told: int) -> None:
    assert len(dags(*events, approval="human")["training"].task_dict["approve"].event_notifiers) == told


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
    told = {"on_event": [{"notifier": SMTP, "params": {"too": "a@b.c"}}]}
    file = pipelines / "churn.yaml"
    file.write_text(yaml.safe_dump({**LEAST, "notifications": told}), encoding="utf-8")
    assert [f"the params of notifier '{SMTP}' do not fit" in problem for problem in file_problems(file)] == [True]


# ------------------------------------------------------------------------------------------------ by hand


def test_what_is_done_by_a_command_is_told_by_it(
    world: World, mails: Mailbox, pipelines: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from airflow_mlops_provider.commands.reconcile import reconcile
    from airflow_mlops_provider.commands.rollback import rollback

    told = {**LEAST, "notifications": {"on_event": [MAIL]}}
    (pipelines / "churn.yaml").write_text(yaml.safe_dump(told), encoding="utf-8")
    world.promote()
    world.promote()
    mails.refuse = 99
    # There is no Airflow here that could be told of the new champion.
    rollback(Namespace(pipeline="churn", to="previous", reason="bad", direct=True, output="json", verbose=False))
    [done] = json.loads(capsys.readouterr().out)
    assert done["outcome"] == "rolled back"
    assert done["why"].endswith("Not taken by SmtpNotifier: the next run tries again")

    mails.refuse = 0
    world.move_alias(2)
    reconcile(Namespace(pipelines=["churn"], dry_run=False, output="json", verbose=False))
    [found] = json.loads(capsys.readouterr().out)
    assert found["reason"] == "the alias named version 2, the ledger 1. 4 messages sent"
    assert mails.subjects == [
        "churn: version 1 is the champion, the first",
        "churn: version 2 is the champion, after version 1",
        "churn: rolled back to version 1; version 2 is in quarantine",
        "churn: the alias champion was wrong, and is set right",
    ]
