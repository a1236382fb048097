"""What is measured many times, on all processors."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Item, Found = TypeVar("Item"), TypeVar("Found")
#: Items that a process takes at a time, at most.
_CHUNK = 20
#: So few are done before other processes have started.
_FEW = 4


def each(function: Callable[[Item], Found], items: Sequence[Item]) -> list[Found]:
    """Return what a function gives for each item, in their order; one thread a process, so that none waits for others.

    :param function: of a module's top level, or a partial of one: it is sent to the processes.
    """
    workers = len(os.sched_getaffinity(0))
    if len(items) <= _FEW:
        return [function(item) for item in items]
    chunk = max(1, min(_CHUNK, len(items) // (4 * workers)))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_alone) as pool:
        return list(pool.map(function, items, chunksize=chunk))


def _alone() -> None:
    threadpool_limits(1)
