"""A data time that is still to come: refused, told where it is stored already, and healed by a rollback."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_mlops_provider.effects.decisions import decisions
from airflow_mlops_provider.exceptions import RegistryError
from airflow_mlops_provider.registry import Approval, LedgerEntry, PromotionRequest, Registry
from airflow_mlops_provider.registry.client import Connection
from airflow_mlops_provider.registry.ledger import Ledger

Request = Callable[..., PromotionRequest]
FAR = datetime(2126, 4, 1, tzinfo=UTC)


@pytest.fixture
def store(mlflow_uri: str, request_for: Request) -> Callable[..., None]:
    """Write an entry as an older release did, which looked at no clock."""

    def write(version: int, order_key: datetime, **changes: Any) -> None:
        ledger = Ledger(Connection(mlflow_uri), "flights")
        history = ledger.history()
        fields = request_for(version, day=1).model_dump(exclude={"model", "allow_older", "lift_quarantine"})
        fields |= {"seq": len(history) + 1, "at": datetime.now(UTC), "order_key": order_key, **changes}
        assert ledger.append(LedgerEntry(**fields))

    return write


def day(number: int) -> datetime:
    return datetime(2013, 3, number, tzinfo=UTC)


@pytest.mark.parametrize("later", [timedelta(minutes=6), timedelta(days=1), timedelta(days=36500)])
def test_a_version_of_the_future_is_not_promoted(registry: Registry, request_for: Request, later: timedelta) -> None:
    wanted = request_for(1, day=1, order_key=datetime.now(UTC) + later)
    for retried in (registry.promote, registry.refusal):
        with pytest.raises(RegistryError, match="version 1 of model 'flights' was trained with an as_of in the future"):
            retried(wanted)
    assert registry.history("flights") == []


def test_clocks_may_differ_by_minutes(registry: Registry, versions: Any, request_for: Request) -> None:
    versions("flights", 1)
    ahead = datetime.now(UTC) + timedelta(minutes=4)
    assert registry.promote(request_for(1, day=1, order_key=ahead)).status == "promoted"
    assert registry.remarks("flights") == []


def test_a_champion_of_the_future_is_told_and_a_rollback_heals(
    registry: Registry, versions: Any, store: Callable[..., None], request_for: Request
) -> None:
    versions("flights", 4)
    store(1, day(1))
    store(2, FAR)
    reported = (
        r"version 2 became champion \(entry 2\) with as_of 2126-04-01, later than the promotion itself, .* UTC: "
        r"its as_of is wrong, so no training counts as newer. Roll it back "
        r"\(airflow mlops rollback, .*\): later trainings"
    )
    with pytest.raises(RegistryError, match=f"version 3 of model 'flights' is not promoted: {reported}"):
        registry.promote(request_for(3, day=3, compared_with=1))
    found = registry.reconcile("flights")
    assert (found.champion, len(found.remarks)) == (2, 1)
    assert registry.states(["flights"])["flights"].remarks == found.remarks

    back = registry.rollback("flights", to="previous", reason="mistyped", idem="back").entry
    assert back is not None
    assert (back.version, back.order_key) == (1, day(1))
    assert registry.remarks("flights") == []
    assert registry.promote(request_for(4, day=4, compared_with=3)).status == "promoted"


def test_without_a_champion_before_it_the_way_out_is_another(
    registry: Registry, versions: Any, store: Callable[..., None], request_for: Request
) -> None:
    versions("flights", 2)
    store(1, FAR)
    assert "Train with the Param allow_older, which replaces it" in registry.remarks("flights")[0]
    assert registry.promote(request_for(2, day=2, compared_with=1, allow_older=True)).status == "promoted"
    assert registry.remarks("flights") == []


def test_a_rollback_that_an_older_release_let_carry_on_the_future_counts_with_what_was_seen(
    registry: Registry, versions: Any, store: Callable[..., None], request_for: Request
) -> None:
    versions("flights", 4)
    store(1, day(1))
    store(2, FAR)
    store(1, FAR, action="rollback", quarantined=2, idem="back")

    assert [entry.order_key for entry in registry.history("flights")] == [day(1), FAR, day(1)]
    assert registry.remarks("flights") == []
    assert registry.promote(request_for(4, day=2, compared_with=3)).status == "promoted"


@pytest.mark.parametrize(("target", "seen"), [("previous", 2), (2, 2), (1, 2)])
def test_a_rollback_among_several_of_the_future_keeps_what_was_seen(
    registry: Registry, versions: Any, store: Callable[..., None], target: Any, seen: int
) -> None:
    versions("flights", 3)
    store(1, day(seen))
    store(2, FAR)
    store(3, FAR + timedelta(days=1))
    back = registry.rollback("flights", to=target, reason="mistyped", idem="back").entry
    assert back is not None
    assert back.order_key == day(seen)


def test_of_the_future_alone_a_rollback_counts_with_the_moment_of_the_promotion(
    registry: Registry, versions: Any, store: Callable[..., None]
) -> None:
    versions("flights", 2)
    store(1, FAR)
    store(2, FAR)
    back = registry.rollback("flights", to="previous", reason="mistyped", idem="back").entry
    assert back is not None
    assert back.order_key == registry.history("flights")[0].at


def test_a_clock_and_an_as_of_of_one_future_are_told(registry: Registry, store: Callable[..., None]) -> None:
    store(1, day(1))
    store(2, FAR, at=FAR + timedelta(hours=1))
    future, clock = registry.remarks("flights")
    assert "with as_of 2126-04-01, later than the promotion itself" in future
    assert clock.startswith("entry 2 says that it was written at 2126-04-01 01:00 UTC, which is in the future")


def test_a_window_of_the_future_keeps_no_later_window_from_retraining(registry: Registry) -> None:
    fields = {"action": "keep", "rule": "healthy", "reasons": ["no drift"]}
    for window in (day(1), FAR):
        registry.write_decision("flights", window, {"as_of": window.isoformat(), **fields})
    assert [decision.as_of for decision in decisions(registry, "flights")] == [day(1)]


@pytest.mark.parametrize(
    "key",
    ["window-2013-3-1", "window-2013-03-01T00:00:00Z", "WINDOW-2013-03-01", "window-２013-03-01", "window-2013-03-02"],
)
def test_a_window_under_another_key_does_not_count_and_is_told(
    registry: Registry, mlflow_uri: str, client: Any, key: str
) -> None:
    entry, _ = registry.write_decision("flights", day(1), {"n": 1})
    run = client.get_experiment_by_name("decisions/flights").tags["run"]
    with closing(sqlite3.connect(mlflow_uri.removeprefix("sqlite:///"))) as database, database:
        copied = "SELECT run_uuid, ?, value FROM params WHERE run_uuid = ?"
        database.execute(f"INSERT INTO params (run_uuid, key, value) {copied}", (key, run))
    assert registry.decisions("flights") == [entry]
    [remark] = registry.states(["flights"])["flights"].remarks
    assert remark.startswith("the decisions of 'flights': values that this package did not write are ignored")


def test_an_answer_under_another_key_does_not_count(registry: Registry, client: Any) -> None:
    stored = registry.write_approval("flights", Approval(idem="a", version=1, order_key=day(1), answer="rejected"))
    run = client.get_experiment_by_name("ledger/flights").tags["run"]
    fields = json.loads(client.get_run(run).data.params["approval-a"])
    client.log_param(run, "approval-b", json.dumps({**fields, "answer": "approved"}))
    assert registry.approvals("flights") == [stored]
