"""Processes for the fault tests, forked from one that has imported MLflow, which takes seconds each time."""

from __future__ import annotations

import multiprocessing
import os
from typing import Any

_WARM = multiprocessing.get_context("forkserver")
_WARM.set_forkserver_preload(
    [
        "airflow_mlops_provider.registry",
        "mlflow",
        "mlflow.store.tracking.sqlalchemy_store",
        "mlflow.store.model_registry.sqlalchemy_store",
    ]
)
#: How many do the same at once.
PROCESSES = 4


def at_once(work: Any, *arguments: Any, answers: int = 1) -> list[Any]:
    """Return what processes say that do the same at the same moment.

    :param work: called with the arguments, the process's number, a barrier and a queue; it puts what it has to say.
    :param answers: how many things each has to say.
    """
    barrier, results = _WARM.Barrier(PROCESSES), _WARM.Queue()
    workers = [_worker(work, *arguments, rank, barrier, results) for rank in range(PROCESSES)]
    for worker in workers:
        worker.start()
    message = []
    while len(message) < PROCESSES * answers:
        message.append(results.get(timeout=120))
        assert message[-1][0] != "failed", message[-1]
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * PROCESSES
    return message


def exit_code(work: Any, *arguments: Any, environment: dict[str, str]) -> int | None:
    """Return how a process ends that does some work with these settings; negative is the signal that ended it."""
    worker = _worker(_with, environment, work, *arguments)
    worker.start()
    worker.join(120)
    return worker.exitcode


def _worker(work: Any, *arguments: Any) -> Any:
    """Return a process that ends with the tests: one that hangs in a failed test shall not keep them waiting."""
    return _WARM.Process(target=work, args=arguments, daemon=True)


def _with(environment: dict[str, str], work: Any, *arguments: Any) -> None:
    os.environ.update(environment)
    work(*arguments)
