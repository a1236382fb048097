"""Scoring, monitoring and rollback, whose tasks are killed with SIGKILL at every point that they pass through."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from killing import POINTS
from runs import Run, asset_id, events, mlflow_state, registry, runs, settled
from watched import DAY, START, day, decided, scored, start

if TYPE_CHECKING:
    from killing import Points

    from local_airflow import LocalAirflow

NAME = "mended"


def tell(airflow: LocalAirflow, number: int) -> None:
    """Tell monitoring of a day that was scored."""
    asset = asset_id(airflow, f"{NAME}.predictions")
    airflow.post("/api/v2/assets/events", {"asset_id": asset, "extra": scored(airflow, NAME, number)})


def ledger(airflow: LocalAirflow) -> list[tuple[str, int]]:
    return [(entry.action, entry.version) for entry in registry(airflow).history(NAME)]


def champions(airflow: LocalAirflow) -> list[int]:
    return [extra["champion"] for extra in events(airflow, f"{NAME}.champion")]


@pytest.fixture(scope="module")
def mended(airflow: LocalAirflow, points: Points) -> LocalAirflow:
    """An Airflow with a good champion and, after it, one that is not."""
    first = start(airflow, NAME, "training", 12, candidates=["good"])
    second = start(airflow, NAME, "training", 14, candidates=["poor"])
    assert [run.ended().state for run in (first, second)] == ["success"] * 2
    settled(airflow, NAME)
    assert champions(airflow) == [1, 2]
    return airflow


def test_killed_at_every_point_monitoring_decides_and_rolls_back_once(mended: LocalAirflow, points: Points) -> None:
    points.arm({point for point in POINTS["monitoring"] if not point.startswith("retrain.")})
    tell(mended, 15)
    stored = decided(mended, NAME, 15)
    settled(mended, NAME)
    assert not points.left, "each point was reached"
    assert (stored[15].action, stored[15].rule) == ("roll_back", "probation")
    assert ledger(mended) == [("promote", 1), ("promote", 2), ("rollback", 1)]
    assert registry(mended).history(NAME)[-1].quarantined == 2
    assert champions(mended) == [1, 2, 1]
    assert events(mended, f"{NAME}.predictions")[-1]["version"] == 1, "scored again, once"


def test_killed_while_it_asks_monitoring_asks_for_one_retraining(mended: LocalAirflow, points: Points) -> None:
    points.arm({point for point in POINTS["monitoring"] if point.startswith("retrain.")})
    tell(mended, 18)
    stored = decided(mended, NAME, 18)
    settled(mended, NAME)
    assert not points.left
    assert stored[18].requests_retraining
    [requested] = events(mended, f"{NAME}.retrain")
    assert requested["as_of"][:10] == day(18)
    assert len(runs(mended, f"{NAME}_training", run_type="asset_triggered")) == 1
    assert ledger(mended)[3:] == [("promote", 3)]
    assert registry(mended).history(NAME)[-1].order_key == START + 18 * DAY


def test_killed_at_every_point_scoring_publishes_one_partition(mended: LocalAirflow, points: Points) -> None:
    reported = len(events(mended, f"{NAME}.predictions"))
    points.arm(POINTS["scoring"])
    run = start(mended, NAME, "scoring", 16).ended()
    assert run.state == "success", run.states
    assert not points.left
    folder = mended.artifacts / "predictions" / NAME / f"as_of={day(16)}"
    assert [file.name for file in folder.iterdir()] == ["predictions.parquet"]
    assert set(pd.read_parquet(folder / "predictions.parquet")["model_version"]) == {3}
    assert len(events(mended, f"{NAME}.predictions")) == reported + 1
    settled(mended, NAME)


def test_killed_at_every_point_a_rollback_goes_one_step_back(mended: LocalAirflow, points: Points) -> None:
    points.arm(POINTS["rollback"])
    run = Run(mended, NAME, "by-hand", "rollback")
    mended.cli("dags", "trigger", run.dag_id, "--run-id", run.run_id, "--conf", json.dumps({"reason": "by hand"}))
    assert run.ended().state == "success", run.states
    settled(mended, NAME)
    assert not points.left
    assert ledger(mended)[3:] == [("promote", 3), ("rollback", 1)]
    assert champions(mended) == [1, 2, 1, 3, 1]
    assert mlflow_state(mended, NAME)["aliases"]["champion"] == 1


def test_clearing_what_is_long_over_changes_nothing(mended: LocalAirflow, points: Points) -> None:
    def state() -> Any:
        sent = {name: events(mended, f"{NAME}.{name}") for name in ("champion", "retrain")}
        return registry(mended).history(NAME), registry(mended).decisions(NAME), mlflow_state(mended, NAME), sent

    before = state()
    points.arm(set())
    every = [Run(mended, NAME, run["dag_run_id"], "monitoring") for run in runs(mended, f"{NAME}_monitoring")]
    old = [run for run in every if {run.states["retrain"], run.states["roll_back"]} != {"skipped"}]
    assert len(old) == 2, "one asked for a retraining, one rolled back"
    # At once: Airflow cannot return the events of a run that waits for its turn.
    for run in [*old, Run(mended, NAME, "by-hand", "rollback")]:
        run.clear()
    settled(mended, NAME, "monitoring", "rollback", "scoring", "training")
    assert {run["state"] for run in runs(mended, f"{NAME}_monitoring")} == {"success"}
    assert state() == before
