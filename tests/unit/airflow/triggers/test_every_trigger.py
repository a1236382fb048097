from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from fired_events import again, arrival, champion, first_event, is_silent

from airflow_mlops_provider.exceptions import RegistryError, TransientServiceError
from airflow_mlops_provider.triggers.polling import PollingTrigger, PollResult, in_thread

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mlops_provider.registry import Registry


# ---------------------------------------------------------------- what Airflow keeps of them


@pytest.mark.parametrize("trigger", [arrival, lambda path: champion(model=str(path.name), min_version=3)])
def test_what_airflow_keeps_is_plain_json_and_makes_the_same_trigger(trigger: Any, folder: Path) -> None:
    made = trigger(folder)
    made.memory = {"fingerprint": "ab", "since": 1.5}

    assert again(made).serialize() == made.serialize()


def test_no_secret_is_kept(registry: Registry) -> None:
    made = champion(memory={"seq": 0})
    assert asyncio.run(is_silent(made, 0.5))

    assert "s3cret" not in json.dumps(made.serialize())
    assert "mlflow.db" not in json.dumps(made.serialize())


# ---------------------------------------------------------------- the event loop


class Hanging(PollingTrigger):
    """Looks for as long as it is let."""

    def __init__(self, release: threading.Event, pool: Any) -> None:
        super().__init__(poke_interval=1)
        self.release, self.pool = release, pool

    async def look(self, memory: dict[str, Any]) -> PollResult:
        await in_thread(self.pool, self.release.wait)
        return PollResult(found={})


def test_a_service_that_hangs_holds_no_thread_of_others() -> None:
    from airflow_mlops_provider.triggers.registry import _THREAD

    release = threading.Event()

    async def scenario() -> float:
        hanging = [asyncio.create_task(first_event(Hanging(release, _THREAD))) for _ in range(100)]
        await asyncio.sleep(0.1)
        started = time.monotonic()
        await asyncio.gather(*(asyncio.to_thread(time.sleep, 0.01) for _ in range(20)))
        took = time.monotonic() - started
        release.set()
        await asyncio.gather(*hanging)
        return took

    try:
        assert asyncio.run(scenario()) < 5
    finally:
        release.set()


def test_a_failing_look_warns_or_ends_the_wait(capsys: pytest.CaptureFixture[str]) -> None:
    errors = [TransientServiceError("MLflow is away"), RegistryError("the ledger is damaged")]

    class Failing(PollingTrigger):
        async def look(self, memory: dict[str, Any]) -> PollResult:
            raise errors.pop(0)

    assert asyncio.run(first_event(Failing(poke_interval=0.1))) == {"failure": "the ledger is damaged"}
    assert "Looking again in 0.1 s: MLflow is away" in capsys.readouterr().out


WATCHED = """
import asyncio, json, logging, pathlib, sys, time
from airflow_mlops_provider.triggers.arrival import DataArrivalTrigger
from airflow_mlops_provider.triggers.champion import ChampionTrigger

slow, longest = [], 0.0

class Slow(logging.Handler):
    def emit(self, record):
        slow.append(record.getMessage())

def waited():
    # How long this thread was kept from a processor: that is no fault of a trigger.
    return int(pathlib.Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9

async def watch():
    global longest
    while True:
        before, already = time.perf_counter(), waited()
        await asyncio.sleep(0.005)
        longest = max(longest, time.perf_counter() - before - 0.005 - (waited() - already))

async def drain(trigger):
    return [event async for event in trigger.run()]

async def main():
    asyncio.get_running_loop().slow_callback_duration = 0.1
    watching = asyncio.create_task(watch())
    waiting = [
        asyncio.create_task(drain(trigger))
        for number in range(3)
        for trigger in (
            ChampionTrigger(model="flights", changed_since=None, min_version=None, newer_than=None,
                            mlflow_conn_id="mlflow_default", poke_interval=0.2, memory={"seq": 0}),
            DataArrivalTrigger(uri=sys.argv[1], marker="_SUCCESS", stable_for=3600.0, poke_interval=0.2),
        )
    ]
    await asyncio.sleep(4)
    ended = [task.result() for task in waiting if task.done()]
    for task in (watching, *waiting):
        task.cancel()
    return ended

logging.getLogger("asyncio").addHandler(Slow(logging.WARNING))
ended = asyncio.run(main(), debug=True)
print(json.dumps({"longest": longest, "slow": slow, "ended": repr(ended), "mlflow": "mlflow" in sys.modules}))
"""


def test_the_event_loop_is_never_held_for_100_ms_even_while_mlflow_is_imported(
    registry: Registry, folder: Path
) -> None:
    for number in range(500):
        (folder / f"part-{number}.csv").write_text("1")
    seen: list[dict[str, Any]] = []
    # A busy machine can take the processor away for as long; a trigger that blocks does so every time.
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", WATCHED, str(folder)], capture_output=True, text=True, check=True, timeout=120
        )
        seen.append(json.loads(done.stdout.splitlines()[-1]))
        assert seen[-1]["mlflow"], "MLflow was imported while the loop was watched"
        assert seen[-1]["ended"] == "[]"
        if seen[-1]["longest"] < 0.1 and not seen[-1]["slow"]:
            return
    pytest.fail(f"the event loop was held: {seen}")
