"""What happens while a run is under way, of which Airflow tells the next run the first event only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from runs import Run, asset_id, events, registry, runs, settled
from watched import DAY, START, day

if TYPE_CHECKING:
    from local_airflow import LocalAirflow

NAME = "impatient"
#: The days that are asked for one after another: neither the first nor the last is the latest.
ASKED = (14, 18, 16)


def meanwhile(airflow: LocalAirflow, kind: str, asset: str, extras: list[dict[str, Any]]) -> Run:
    """Send events while a run for the first day is under way, and wait until nothing is left to do."""
    run = Run(airflow, NAME, f"{kind}-by-hand", kind)
    airflow.wait_for_dag(run.dag_id)
    conf = {"as_of": f"{day(12)}T00:00:00Z"}
    airflow.post(f"/api/v2/dags/{run.dag_id}/dagRuns", {"dag_run_id": run.run_id, "logical_date": None, "conf": conf})
    target = asset_id(airflow, asset)
    for extra in extras:
        airflow.post("/api/v2/assets/events", {"asset_id": target, "extra": extra})
    state = airflow.get(f"/api/v2/dags/{run.dag_id}/dagRuns/{run.run_id}")["state"]
    assert state in ("queued", "running"), "the events came too late to wait"
    settled(airflow, NAME, "training", "scoring")
    return run


@pytest.fixture(scope="module")
def requested(airflow: LocalAirflow) -> Run:
    """The training that was asked for three times while another one was under way."""
    extras = [
        {"as_of": f"{day(number)}T00:00:00+00:00", "reason": f"drift: of day {number}", "columns": [f"column {number}"]}
        for number in ASKED
    ]
    meanwhile(airflow, "training", f"{NAME}.retrain", extras)
    first = min(runs(airflow, f"{NAME}_training", run_type="asset_triggered"), key=lambda run: str(run["run_after"]))
    return Run(airflow, NAME, first["dag_run_id"]).ended()


def test_one_training_answers_all_requests_with_the_latest_day(airflow: LocalAirflow, requested: Run) -> None:
    assert requested.state == "success", requested.states
    reported = airflow.get(f"/api/v2/dags/{requested.dag_id}/dagRuns/{requested.run_id}/upstreamAssetEvents")[
        "asset_events"
    ]
    assert [event["extra"]["as_of"][:10] for event in reported] == [day(ASKED[0])], "so much Airflow tells"
    assert {requested.value(task)["as_of"][:10] for task in ("ingest", "champion", "evaluate", "promote")} == {day(18)}
    entries = registry(airflow).history(NAME)
    assert [entry.order_key for entry in entries] == [START + 12 * DAY, START + 18 * DAY]
    assert entries[-1].reason.endswith("Retrained for drift: of day 18")


def test_its_reason_and_all_columns_end_in_mlflow(airflow: LocalAirflow, requested: Run) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(airflow.mlflow_uri)
    [parent] = client.search_runs(
        [client.get_experiment_by_name(NAME).experiment_id],
        f"tags.`mlops.role` = 'training' and tags.`airflow.run_id` = '{requested.run_id}'",
    )
    assert parent.data.tags["mlops.retrain_reason"] == "drift: of day 18"
    assert parent.data.tags["mlops.retrain_columns"] == "column 14, column 16, column 18"


def test_cleared_it_asks_for_no_later_day(airflow: LocalAirflow, requested: Run) -> None:
    later = {"as_of": f"{day(25)}T00:00:00+00:00", "reason": "drift: of day 25", "columns": []}
    airflow.post("/api/v2/assets/events", {"asset_id": asset_id(airflow, f"{NAME}.retrain"), "extra": later})
    settled(airflow, NAME, "training", "scoring")
    before = registry(airflow).history(NAME)
    assert before[-1].order_key == START + 25 * DAY
    assert requested.cleared().state == "success"
    assert requested.value("ingest")["as_of"][:10] == day(18)
    assert registry(airflow).history(NAME) == before


def test_the_newest_of_several_champions_is_scored_with(airflow: LocalAirflow, requested: Run) -> None:
    before = len(runs(airflow, f"{NAME}_scoring", run_type="asset_triggered"))
    extras = [{"as_of": f"{day(number)}T00:00:00+00:00"} for number in (20, 24, 22)]
    meanwhile(airflow, "scoring", f"{NAME}.champion", extras)
    triggered = runs(airflow, f"{NAME}_scoring", run_type="asset_triggered")
    [run, *_] = sorted(triggered, key=lambda run: str(run["run_after"]))[before:]
    scoring = Run(airflow, NAME, run["dag_run_id"], "scoring").ended()
    assert scoring.state == "success", scoring.states
    assert {scoring.value(task)["as_of"][:10] for task in ("ingest", "score")} == {day(24)}
    assert events(airflow, f"{NAME}.predictions")[-1]["as_of"][:10] == day(24)
    head = registry(airflow).history(NAME)[-1]
    partition = airflow.artifacts / "predictions" / NAME / f"as_of={day(24)}" / "predictions.parquet"
    assert set(pd.read_parquet(partition)["model_version"]) == {head.version}
