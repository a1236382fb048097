from __future__ import annotations

import json
from argparse import Namespace
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import yaml
from notified_model import API, DAY, LEAST, MAIL, SMTP, WEBHOOK, World

from airflow_mlops_provider.effects.events import Teller, WebAddresses, events_of
from airflow_mlops_provider.effects.notices import notify
from airflow_mlops_provider.exceptions import TransientServiceError
from airflow_mlops_provider.spec import EventNotifier

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from services.receivers import Mailbox, Slack

    from airflow_mlops_provider.effects.events import Event


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
    assert "1 of 2 messages could not be sent: got SmtpNotifier did not accept the message" in ended.message
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
    words: list[str] = []

    def hang(named: EventNotifier, event: Event) -> None:
        if named.label == "hangs":
            raise KeyboardInterrupt  # as Airflow ends a task, which no handler of errors catches
        words.append(event.title)

    for day in range(2):
        world.decide(day)
    notifiers = [EventNotifier(notifier=SMTP, name=name) for name in ("hangs", "works")]
    for _ in range(2):
        with suppress(KeyboardInterrupt):
            notify(
                world.registry,
                "churn",
                "churn",
                notifiers,
                events_of(world.registry, "churn", "churn", [], Teller()),
                by="task",
                started=datetime.now(UTC) - DAY,
                places=WebAddresses(None, None),
                send=hang,
            )
    assert len(words) == 2


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


def test_what_is_done_by_a_command_is_told_by_it(
    world: World, mails: Mailbox, pipelines: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from airflow_mlops_provider.commands.reconcile import reconcile
    from airflow_mlops_provider.commands.rollback import rollback

    reported = {**LEAST, "notifications": {"on_event": [MAIL]}}
    (pipelines / "churn.yaml").write_text(yaml.safe_dump(reported), encoding="utf-8")
    world.promote()
    world.promote()
    mails.refuse = 99
    # There is no Airflow here that could be told of the new champion.
    rollback(Namespace(pipeline="churn", to="previous", reason="bad", direct=True, output="json", verbose=False))
    [done] = json.loads(capsys.readouterr().out)
    assert done["outcome"] == "rolled back"
    assert done["why"].endswith("Not sent by SmtpNotifier: the next run tries again")

    mails.refuse = 0
    world.move_alias(2)
    reconcile(Namespace(pipelines=["churn"], dry_run=False, output="json", verbose=False))
    [found] = json.loads(capsys.readouterr().out)
    assert found["reason"] == "the alias named version 2, the ledger 1. 4 messages sent"
    assert mails.subjects == [
        "churn: version 1 is the champion, the first",
        "churn: version 2 is the champion, after version 1",
        "churn: rolled back to version 1; version 2 is in quarantine",
        "churn: the alias champion was wrong and has been corrected",
    ]
