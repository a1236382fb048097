"""How fast a model answers, whatever else the machine does meanwhile.

A measurement belongs to the machine and the moment, not to the model's evaluation: it is taken anew each time that it
is judged, and no receipt holds it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.evaluation.probe_report import Latency
from airflow_mlops_provider.modeling.predictions import one_thread, predict

if TYPE_CHECKING:
    import pandas as pd

#: Each row is timed so often, and its fastest time counts: a single one says as much of the neighbours.
ROUNDS = 5
_WARMUP_CALLS = 3
#: Linux tells here how long a thread was ready to run while others had the processor: its second number, nanoseconds.
_SCHEDULER = Path("/proc/thread-self/schedstat")


def measure_latency(pipeline: Any, frame: pd.DataFrame, task: str, calls: int) -> Latency:
    """Time one-row predictions, each of another row, and batches of the whole frame, on one thread.

    Of each row the fastest of `ROUNDS` counts, by the clock on the wall less the time that its thread waited for a
    processor: so a busy machine is not a slow model. Where the system does not tell the waiting, it counts.
    """
    import numpy as np

    rows = [frame.iloc[[index % len(frame)]] for index in range(calls)]
    with one_thread():
        for row in rows[:_WARMUP_CALLS]:
            _timed(pipeline, row, task)
        timed = np.array([[_timed(pipeline, row, task) for row in rows] for _ in range(ROUNDS)])
        batch, _ = min(_timed(pipeline, frame, task) for _ in range(ROUNDS))
    own, wall = timed.min(axis=0).T * 1000
    p50, p95 = np.quantile(own, [0.5, 0.95])
    return Latency(
        p50_ms=float(p50),
        p95_ms=float(p95),
        wall_p95_ms=float(np.quantile(wall, 0.95)),
        rows_per_second=len(frame) / max(batch, 1e-9),
        calls=calls,
        batch_rows=len(frame),
        rounds=ROUNDS,
    )


def _timed(pipeline: Any, frame: pd.DataFrame, task: str) -> tuple[float, float]:
    """Return how long a prediction took in seconds: without the waiting for a processor, and with it."""
    waited, started = _waited(), time.perf_counter()
    predict(pipeline, frame, task)
    wall = time.perf_counter() - started
    return max(wall - (_waited() - waited), 0.0), wall


def _waited() -> float:
    """Return how long this thread was kept from running so far, in seconds; 0 where the system does not tell."""
    try:
        return int(_SCHEDULER.read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
