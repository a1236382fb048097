"""Triggers as Airflow keeps and runs them."""

from __future__ import annotations

import asyncio
import json
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.triggers.arrival import DataArrivalTrigger
from airflow_mlops_provider.triggers.champion import ChampionTrigger

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mlops_provider.triggers.polling import PollingTrigger


async def first_event(trigger: PollingTrigger, seconds: float = 20) -> dict[str, Any]:
    async def fired() -> dict[str, Any]:
        async for event in trigger.run():
            return dict(event.payload)
        raise AssertionError("the trigger ended without an event")

    return await asyncio.wait_for(fired(), seconds)


async def is_silent(trigger: PollingTrigger, seconds: float) -> bool:
    try:
        await first_event(trigger, seconds)
    except TimeoutError:
        return True
    return False


def again(trigger: PollingTrigger) -> Any:
    """Make a trigger anew from what Airflow keeps of it, as a restarted triggerer does."""
    place, arguments = trigger.serialize()
    module, _, name = place.rpartition(".")
    return getattr(import_module(module), name)(**json.loads(json.dumps(arguments)))


def arrival(uri: Path, **settings: Any) -> DataArrivalTrigger:
    given = {"uri": str(uri), "marker": "_SUCCESS", "stable_for": 0.4, "poke_interval": 0.1, **settings}
    return DataArrivalTrigger(**given)


def champion(**settings: Any) -> ChampionTrigger:
    conditions = {"changed_since": None, "min_version": None, "newer_than": None}
    given = {"model": "flights", "mlflow_conn_id": "mlflow_default", "poke_interval": 0.1, **conditions, **settings}
    return ChampionTrigger(**given)
