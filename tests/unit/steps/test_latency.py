"""How fast a model answers is measured when it is judged, and a busy machine is no slow model."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from evaluated_world import LOGISTIC, METRICS, World, rows_of

from airflow_mlops_provider.effects.gating import gate_inputs
from airflow_mlops_provider.evaluation.latency import ROUNDS, measure_latency
from airflow_mlops_provider.evaluation.verdicts import Verdicts
from airflow_mlops_provider.exceptions import MLOpsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mlops_provider.evaluation.probe_report import Latency
    from airflow_mlops_provider.results import StepResult

FAST_ENOUGH = {"kind": "latency", "max_p95_ms": 5000}
FRAME = pd.DataFrame({"height": np.arange(20.0)})


class Busy:
    """A model that computes for some milliseconds, whatever its rows are."""

    def __init__(self, milliseconds: float) -> None:
        self.seconds = milliseconds / 1000

    def predict(self, frame: pd.DataFrame) -> Any:
        end = time.thread_time() + self.seconds
        while time.thread_time() < end:
            pass
        return np.zeros(len(frame))


class Waiting(Busy):
    """A model that waits for something else meanwhile."""

    def predict(self, frame: pd.DataFrame) -> Any:
        time.sleep(self.seconds)
        return np.zeros(len(frame))


class FirstSlow(Busy):
    """A model that is disturbed once, on every row."""

    calls = 0

    def predict(self, frame: pd.DataFrame) -> Any:
        self.calls += 1
        time.sleep(0.05 if self.calls <= 3 + len(FRAME) else 0)
        return np.zeros(len(frame))


@pytest.fixture
def crowd() -> Iterator[None]:
    """Four processes to each processor, that never rest."""
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"], stdin=subprocess.DEVNULL)
        for _ in range(4 * len(os.sched_getaffinity(0)))
    ]
    yield
    for process in busy:
        process.kill()
        process.wait()


def judged(world: World, evaluation: StepResult, gates: list[dict[str, Any]], calls: int = 10) -> StepResult:
    def run(step: str, section: dict[str, Any], inputs: dict[str, list[StepResult]]) -> StepResult:
        return world.run(step, section, **inputs)

    inputs = gate_inputs(run, world.store, evaluation, gates, calls=calls)
    return world.run("gate", {"gates": gates, "metrics": METRICS}, **inputs)


def latency_of(world: World, gate: StepResult) -> Latency | None:
    return world.store.read_document(gate.artifacts["verdicts"], Verdicts).latency


def test_a_model_is_no_slower_on_a_busy_machine(crowd: None) -> None:
    found = measure_latency(Busy(5), FRAME, "regression", 20)
    assert 5 <= found.p50_ms <= found.p95_ms < 10
    assert found.wall_p95_ms is not None


def test_what_a_model_waits_for_itself_counts() -> None:
    assert measure_latency(Waiting(20), FRAME, "regression", 10).p50_ms >= 19


def test_of_each_row_the_fastest_round_counts() -> None:
    found = measure_latency(FirstSlow(0), FRAME, "regression", len(FRAME))
    assert found.rounds == ROUNDS
    assert found.p95_ms < 25


def test_a_forest_is_timed_on_one_thread_whatever_n_jobs_it_has(world: World) -> None:
    forest = {"estimator": "sklearn.ensemble.RandomForestClassifier", "params": {"n_estimators": 20, "n_jobs": 4}}
    evaluation = world.evaluate(world.train(forest=forest), METRICS)
    started: list[str] = []
    threading.setprofile(lambda *_: started.append(threading.current_thread().name))
    try:
        found = latency_of(world, judged(world, evaluation, [FAST_ENOUGH]))
    finally:
        threading.setprofile(None)
    assert found is not None
    assert (found.calls, found.batch_rows) == (10, 400)
    assert 0 < found.p50_ms <= found.p95_ms < 5000
    assert found.rows_per_second > 100
    assert started == []


def test_the_gates_have_it_measured_anew_each_time(world: World) -> None:
    evaluation = world.evaluate(world.train(logistic=LOGISTIC), METRICS)
    first, second = (judged(world, evaluation, [FAST_ENOUGH]) for _ in range(2))
    assert not first.cached
    assert not second.cached
    assert latency_of(world, first) != latency_of(world, second)


def test_an_evaluation_holds_nothing_of_the_machine(world: World) -> None:
    models = world.train(logistic=LOGISTIC)
    one, other = (world.evaluate(models, METRICS, recompute=True) for _ in range(2))
    assert not other.cached
    assert one.artifacts["evaluation"] == other.artifacts["evaluation"]


def test_nothing_is_timed_where_no_gate_asks_for_it(world: World) -> None:
    evaluation = world.evaluate(world.train(logistic=LOGISTIC), METRICS)
    gate = judged(world, evaluation, [{"kind": "model_size"}])
    assert latency_of(world, gate) is None
    assert judged(world, evaluation, [{"kind": "model_size"}]).cached


def test_a_gate_that_is_given_no_measurement_does_not_pass(world: World) -> None:
    evaluation = world.evaluate(world.train(logistic=LOGISTIC), METRICS)
    gate = world.run("gate", {"gates": [FAST_ENOUGH], "metrics": METRICS}, evaluation=[evaluation])
    assert gate.failure is not None
    assert "not measured" in str(gate.failure.as_error())


def test_the_measurement_of_another_model_is_refused(world: World) -> None:
    one, other = (
        world.evaluate(world.train(**{name: LOGISTIC | {"params": {"C": strength}}}), METRICS)
        for name, strength in (("weak", 0.1), ("strong", 10.0))
    )
    section = {"calls": 5, "measured_at": "2026-01-01T00:00:00Z"}
    timed = world.run("latency", section, evaluation=[other], dataset=world.dataset)
    with pytest.raises(MLOpsError, match="was measured on another model"):
        world.run("gate", {"gates": [FAST_ENOUGH], "metrics": METRICS}, evaluation=[one], latency=[timed])


def test_rows_with_a_feature_that_bears_the_name_of_a_prediction_are_timed(world: World) -> None:
    frame = rows_of("binary").rename(columns={"height": "prediction"})
    named = World(world.store).load(frame, roles={"numeric": ["prediction", "noise"]})
    evaluation = named.evaluate(named.train(logistic=LOGISTIC), METRICS)
    assert latency_of(named, judged(named, evaluation, [FAST_ENOUGH])) is not None
