from __future__ import annotations

import socket
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from notified_model import MAIL, WEBHOOK, World
from published_challenger import QuestionWorld

from airflow_mlops_provider.operators import approval

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from services.receivers import Mailbox, Slack


@pytest.fixture
def requested(world: World, tmp_path: Path) -> QuestionWorld:
    return QuestionWorld.about(world, tmp_path)


def test_a_question_that_waits_is_told_once_with_where_and_until_when_to_answer(
    requested: QuestionWorld, mails: Mailbox
) -> None:
    requested.world.decide(4)  # no matter of this task
    soonest = datetime.now(UTC) + timedelta(hours=12)
    first = requested.ask(MAIL)
    for ended in (first, requested.ask(MAIL)):
        assert ended.state == "awaiting_input", ended.error
        assert sum(msg.type == "CreateHITLDetailPayload" for msg in ended.messages) == 1
    [mail] = mails.mails
    assert mail["Subject"] == "churn: version 1 waits for approval"
    message = mails.text(mail)
    until = {f"{moment:%Y-%m-%d %H:%M} UTC" for moment in (soonest, datetime.now(UTC) + timedelta(hours=12))}
    assert any(moment in message for moment in until)
    for words in ("all 1 gates passed", "log_loss 0.", "anna, ben", "2013-03-01"):
        assert words in message
    for link in (
        "https://airflow.example.org/team/dags/churn_training/runs/run/tasks/approve/required_actions",
        "https://mlflow.example.org/#/models/churn/versions/1",
    ):
        assert f'href="{link}"' in message


@pytest.mark.parametrize(
    ("away", "words"),
    [
        ("refuses", "SmtpNotifier did not accept the message"),
        ("hangs", "SmtpNotifier takes longer than 0.5 s: the approval task does not wait for it"),
        ("unknown", "SMTP connection is not found"),
        ("wrong", "do not fit"),
    ],
)
def test_a_question_waits_for_nobody_who_is_told_of_it(
    away: str,
    words: str,
    requested: QuestionWorld,
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
        ended = requested.ask(named, {"notifier": WEBHOOK})
    assert ended.state == "awaiting_input", ended.error
    assert words in caplog.text + capsys.readouterr().out
    for thread in threading.enumerate():
        if thread.name.startswith("told "):
            thread.join(30)
    assert [text.splitlines()[0] for text in posts.texts] == ["*churn: version 1 waits for approval*"]

    mails.refuse = 0
    connection("smtp_default", **mails.connection)
    requested.ask(MAIL, {"notifier": WEBHOOK})
    assert (len(mails.mails), len(posts.texts)) == (1, 1), "asked again, who had not heard of it is told"


def test_nobody_is_told_of_a_question_that_is_not_asked_or_that_they_do_not_want(
    requested: QuestionWorld, mails: Mailbox
) -> None:
    assert requested.ask({**MAIL, "events": ["promoted"]}).state == "awaiting_input"
    strict = {"kind": "absolute", "metric": "log_loss", "max": 0.001, "on_fail": "skip"}
    assert requested.ask(MAIL, gates=[strict]).state == "skipped"
    assert mails.mails == []
