from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from fired_events import again, arrival, first_event, is_silent

from airflow_mlops_provider.triggers.arrival import look_for_data

if TYPE_CHECKING:
    from pathlib import Path


def test_it_fires_once_the_size_stays(folder: Path) -> None:
    async def scenario() -> tuple[dict[str, Any], float]:
        waiting = asyncio.create_task(first_event(arrival(folder)))
        grown = 0.0
        for number in range(4):
            await asyncio.sleep(0.2)
            with (folder / "part.csv").open("a") as file:
                file.write("12345")
            grown = time.monotonic()
            assert not waiting.done(), f"fired after {number} pieces"
        return await waiting, time.monotonic() - grown

    event, waited = asyncio.run(scenario())

    assert (event["found"]["size"], event["found"]["complete_by"]) == (20, "stability")
    assert waited >= 0.4


def test_it_fires_on_the_marker_whatever_the_time(folder: Path) -> None:
    async def scenario() -> dict[str, Any]:
        waiting = asyncio.create_task(first_event(arrival(folder, stable_for=None)))
        (folder / "part.csv").write_text("1")
        await asyncio.sleep(0.3)
        assert not waiting.done()
        (folder / "_SUCCESS").touch()
        return await waiting

    assert asyncio.run(scenario())["found"]["complete_by"] == "_SUCCESS"


def test_a_restart_loses_no_time_while_nothing_changes(folder: Path) -> None:
    (folder / "part.csv").write_text("1")
    first = look_for_data(str(folder), marker=None, stable_for=3600.0, memory={}).memory
    memory = {**first, "since": first["since"] - 3600}

    event = asyncio.run(first_event(again(arrival(folder, stable_for=3600.0, memory=memory)), 5))

    assert event["found"]["complete_by"] == "stability"


def test_a_restart_does_not_fire_early_on_what_changed_meanwhile(folder: Path) -> None:
    (folder / "part.csv").write_text("1")
    first = look_for_data(str(folder), marker=None, stable_for=3600.0, memory={}).memory
    memory = {**first, "since": first["since"] - 3600}
    (folder / "part.csv").write_text("12")

    restarted = again(arrival(folder, stable_for=0.6, memory=memory))

    assert asyncio.run(is_silent(restarted, 0.4))
    assert asyncio.run(first_event(restarted, 5))["found"]["size"] == 2


def test_a_clock_that_was_set_back_makes_no_wait_longer(folder: Path) -> None:
    (folder / "part.csv").write_text("1")
    first = look_for_data(str(folder), marker=None, stable_for=10.0, memory={}).memory

    look = look_for_data(str(folder), marker=None, stable_for=10.0, memory={**first, "since": time.time() + 86_400})

    assert look.again is not None
    assert look.again <= 10.0


def test_a_file_written_again_with_the_same_size_has_changed(folder: Path) -> None:
    import os

    (folder / "part.csv").write_text("1")
    os.utime(folder / "part.csv", ns=(0, 1))
    first = look_for_data(str(folder), marker=None, stable_for=10.0, memory={}).memory
    os.utime(folder / "part.csv", ns=(0, 2))

    assert look_for_data(str(folder), marker=None, stable_for=10.0, memory=first).memory["since"] > first["since"]
