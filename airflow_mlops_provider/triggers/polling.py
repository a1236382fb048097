"""What every trigger shares: look, sleep, look again, until there is something to tell."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

# Airflow's task SDK has no triggers yet; this is where every provider has them from.
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_mlops_provider.exceptions import MLOpsError, TransientServiceError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from concurrent.futures import ThreadPoolExecutor

Answer = TypeVar("Answer")
Given = ParamSpec("Given")

#: Nothing is looked at more often than this, in seconds.
_SHORTEST_PAUSE = 0.1


@dataclass(frozen=True)
class PollResult:
    """What one look has shown.

    :param found: what ends the wait, as JSON; None when the wait goes on.
    :param memory: what the next look has to know, as JSON.
    :param missing: what is waited for, in words.
    :param again: seconds after which another look can find something; None when nobody knows.
    """

    found: dict[str, Any] | None = None
    memory: dict[str, Any] = field(default_factory=dict)
    missing: str = ""
    again: float | None = None


class PollingTrigger(BaseTrigger):
    """Look every `poke_interval` seconds, and fire one event: `{"found": …}` or `{"failure": "…"}`.

    A service that is away is waited for, with a warning in the log. Whatever must outlive a restart of the triggerer
    comes in by the arguments, which Airflow keeps: after one, the trigger begins again from them.

    :param poke_interval: seconds between two looks.
    :param memory: what earlier looks, in the worker, have left to know.
    :param question: what is looked for, as JSON.
    """

    def __init__(self, *, poke_interval: float, memory: dict[str, Any] | None = None, **question: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's own carries no types
        self.poke_interval = poke_interval
        self.memory = memory or {}
        self.question = question

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the arguments that make this trigger again."""
        place = f"{type(self).__module__}.{type(self).__qualname__}"
        return place, {"poke_interval": self.poke_interval, "memory": self.memory, **self.question}

    @abstractmethod
    async def look(self, memory: dict[str, Any]) -> PollResult:
        """Look once, without blocking the event loop."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is something to tell."""
        memory, logged = self.memory, ""
        while True:
            pause = self.poke_interval
            try:
                look = await self.look(memory)
            except TransientServiceError as error:
                self.log.warning("Looking again in %.1f s: %s", pause, error)
            except MLOpsError as error:
                yield _event({"failure": str(error)})
                return
            else:
                if look.found is not None:
                    yield _event({"found": look.found})
                    return
                if look.missing != logged:
                    logged = look.missing
                    self.log.info("%s", logged)
                memory = look.memory
                pause = pause if look.again is None else min(pause, look.again)
            await asyncio.sleep(max(pause, _SHORTEST_PAUSE))


def _event(payload: dict[str, Any]) -> TriggerEvent:
    return TriggerEvent(payload)


async def in_thread(
    pool: ThreadPoolExecutor, call: Callable[Given, Answer], /, *args: Given.args, **kwargs: Given.kwargs
) -> Answer:
    """Await a blocking call in one of the pool's threads, with the caller's context, which names the task's log.

    As `asyncio.to_thread`, whose threads all triggers of a triggerer share: a service that hangs here must not stop
    those of others.
    """
    context = copy_context()
    return await asyncio.get_running_loop().run_in_executor(pool, lambda: context.run(call, *args, **kwargs))
