from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from airflow_mlops_provider.exceptions import RegistryError
from airflow_mlops_provider.registry import Registry, notices

if TYPE_CHECKING:
    from airflow_mlops_provider.registry.notices import Notices

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.fixture
def log(registry: Registry) -> Notices:
    return registry.notices("flights")


def test_one_of_several_takes_an_event_and_once_told_nobody_does(mlflow_uri: str, log: Notices) -> None:
    other = Registry.connect(mlflow_uri).notices("flights")
    assert log.unsent(log.read(), "mail", ["entry-1", "entry-2"]) == {"entry-1": 0, "entry-2": 0}
    assert [log.take("mail", "entry-1", by="a"), other.take("mail", "entry-1", by="b")] == [True, False]
    assert other.unsent(other.read(), "mail", ["entry-1"]) == {"entry-1": 1}, "it is not told yet"
    assert other.take("slack", "entry-1", by="b"), "another notifier is another matter"
    log.mark("mail", "entry-1", by="a")
    log.mark("mail", "entry-1", by="a")
    assert other.unsent(other.read(), "mail", ["entry-1", "entry-2"]) == {"entry-2": 0}
    assert not other.take("mail", "entry-1", by="b")
    assert not log.take("mail", "entry-1", by="a")


def test_of_many_at_once_one_takes_it(mlflow_uri: str, log: Notices) -> None:
    logs = [log, *(Registry.connect(mlflow_uri).notices("flights") for _ in range(5))]
    with ThreadPoolExecutor(len(logs)) as pool:
        taken = list(pool.map(lambda each: each[1].take("mail", "entry-1", by=str(each[0])), enumerate(logs)))
    assert sorted(taken) == [False] * 5 + [True]


def test_who_took_it_and_died_takes_it_again_at_once_and_others_later(
    log: Notices, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert log.take("mail", "entry-1", by="a")
    assert log.take("mail", "entry-1", by="a"), "the retry"
    assert not log.take("mail", "entry-1", by="b")
    monkeypatch.setattr(notices, "LEASE", timedelta(0))
    assert log.take("mail", "entry-1", by="b")
    monkeypatch.undo()
    assert not log.take("mail", "entry-1", by="a"), "it is another's now"
    assert log.unsent(log.read(), "mail", ["entry-1"]) == {"entry-1": 2}


def test_what_was_given_back_may_be_taken_at_once_by_one(log: Notices) -> None:
    assert log.take("mail", "entry-1", by="a")
    log.give_back("mail", "entry-1", by="b")
    assert not log.take("mail", "entry-1", by="b"), "it was not theirs to give back"
    log.give_back("mail", "entry-1", by="a")
    assert [log.take("mail", "entry-1", by=each) for each in ("b", "a", "b")] == [True, False, True]


def test_what_nobody_could_tell_for_a_week_is_given_up(log: Notices, monkeypatch: pytest.MonkeyPatch) -> None:
    assert log.take("mail", "entry-1", by="a")
    log.give_back("mail", "entry-1", by="a")
    assert log.unsent(log.read(), "mail", ["entry-1", "entry-2"]) == {"entry-1": 1, "entry-2": 0}
    monkeypatch.setattr(notices, "LASTING", timedelta(0))
    assert log.unsent(log.read(), "mail", ["entry-1", "entry-2"]) == {"entry-2": 0}


def test_what_is_news_begins_once_for_each_kind(log: Notices) -> None:
    later = NOON + timedelta(days=1)
    assert log.since(log.read(), "mail", ["promoted"], NOON) == {"promoted": NOON}
    assert log.since(log.read(), "mail", ["promoted", "drift"], later) == {"promoted": NOON, "drift": later}
    assert log.since(log.read(), "slack", ["promoted"], later) == {"promoted": later}


def test_a_damaged_log_is_named(log: Notices, client: object) -> None:
    from mlflow import MlflowClient

    assert isinstance(client, MlflowClient)
    log.since(log.read(), "mail", ["promoted"], NOON)
    run = client.get_experiment_by_name("notices/flights").tags["run"]
    client.log_param(run, "since-mail-drift", "yesterday")
    client.log_param(run, "try-1-mail-entry-1", "{}")
    with pytest.raises(RegistryError, match="a timestamp of notifier mail cannot be read"):
        log.since(log.read(), "mail", ["drift"], NOON)
    with pytest.raises(RegistryError, match="the log of messages .* try-1-mail-entry-1 cannot be read"):
        log.unsent(log.read(), "mail", ["entry-1"])
