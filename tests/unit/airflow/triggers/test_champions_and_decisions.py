from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from fired_events import again, champion, first_event, is_silent

from airflow_mlops_provider.triggers.decision import DecisionTrigger

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mlops_provider.registry import Registry


def test_it_fires_when_the_ledger_moves_on(registry: Registry, promote: Callable[[], None]) -> None:
    promote()

    async def scenario() -> dict[str, Any]:
        waiting = asyncio.create_task(first_event(champion(memory={"seq": 1})))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        await asyncio.to_thread(promote)
        return await waiting

    found = asyncio.run(scenario())["found"]

    assert (found["seq"], found["version"], found["as_of"]) == (2, 2, "2013-03-02T00:00:00+00:00")


def test_a_restart_sees_the_change_that_it_missed(registry: Registry, promote: Callable[[], None]) -> None:
    promote()
    waiting = champion(memory={"seq": 1})
    assert asyncio.run(is_silent(waiting, 0.5))
    promote()

    assert asyncio.run(first_event(again(waiting)))["found"]["seq"] == 2


def test_it_fires_when_the_window_is_decided(registry: Registry) -> None:
    window = datetime(2013, 3, 1, tzinfo=UTC)
    decision = {"action": "keep", "rule": "healthy", "bad": False, "suppressed": False, "reasons": ["no drift"]}
    trigger = DecisionTrigger(
        model="flights", window=window.isoformat(), mlflow_conn_id="mlflow_default", poke_interval=0.1
    )

    async def scenario() -> dict[str, Any]:
        waiting = asyncio.create_task(first_event(again(trigger)))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        await asyncio.to_thread(registry.write_decision, "flights", window, decision)
        return await waiting

    found = asyncio.run(scenario())["found"]

    assert (found["as_of"], found["action"], found["reason"]) == (window.isoformat(), "keep", "no drift")


def test_an_mlflow_that_is_away_is_waited_for(
    registry: Registry,
    promote: Callable[[], None],
    connection: Callable[..., None],
    mlflow_uri: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    connection("mlflow_default", conn_type="mlflow", host="http://127.0.0.1:9")
    promote()

    async def scenario() -> dict[str, Any]:
        waiting = asyncio.create_task(first_event(champion(min_version=1), 60))
        reported = ""
        while "Looking again in 0.1 s: MLflow at http://127.0.0.1:9 did not answer" not in reported:
            await asyncio.sleep(0.1)
            reported += capsys.readouterr().out
        connection("mlflow_default", conn_type="mlflow", host=mlflow_uri)
        return await waiting

    assert asyncio.run(scenario())["found"]["version"] == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"mlflow_conn_id": "nowhere"}, "connection 'nowhere' is not defined"), ({"model": "a/b"}, "cannot have this")],
)
def test_what_a_person_must_mend_is_told_at_once(registry: Registry, settings: dict[str, Any], message: str) -> None:
    assert message in asyncio.run(first_event(champion(**settings)))["failure"]
