from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from generated import write_csv
from killing import POINTS
from runs import Run, events, mlflow_state, registry
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from airflow_mlops_provider.results import MAX_XCOM_BYTES

if TYPE_CHECKING:
    from gauges import Gauges
    from killing import Points

    from local_airflow import LocalAirflow

DAYS = ("2024-02-01", "2024-02-08", "2024-02-15")
COMPUTE = (
    ("ingest", -1),
    ("validate", -1),
    ("prepare", -1),
    ("train", 0),
    ("train", 1),
    ("evaluate", -1),
    ("refit", -1),
)


@pytest.fixture(scope="module")
def three_days(airflow: LocalAirflow) -> list[Run]:
    return [Run.of(airflow, "three_days", day) for day in DAYS]


def test_three_days_in_order_give_three_champions(airflow: LocalAirflow, three_days: list[Run]) -> None:
    assert [run.state for run in three_days] == ["success"] * 3
    state = mlflow_state(airflow, "three_days")
    assert state["ledger"] == [("promote", 1), ("promote", 2), ("promote", 3)]
    assert state["aliases"] == {"champion": 3, "challenger": 3}
    assert len(state["runs"]) == 9, "one parent and two candidates a day"
    assert state["unfinished"] == []


def test_the_scheduler_has_imported_the_ml_libraries_for_its_tasks(airflow: LocalAirflow) -> None:
    assert "ML libraries are imported" in (airflow.home / "logs" / "scheduler.log").read_text(encoding="utf-8")


def test_gates_of_the_user_judge_each_day_and_stand_in_the_ledger(airflow: LocalAirflow, three_days: list[Run]) -> None:
    for run in three_days:
        verdicts = {name: passed for name, passed, *_ in run.value("gate")["facts"]["verdicts"]}
        assert verdicts.items() >= {("worth_it", True), ("nothing_lost", True)}
    history = registry(airflow).history("three_days")
    assert [entry.reason for entry in history] == ["all 5 gates passed"] * 3


def test_metrics_of_the_user_are_measured_each_day_and_stand_in_ledger_and_mlflow(
    airflow: LocalAirflow, three_days: list[Run]
) -> None:
    for run, entry in zip(three_days, registry(airflow).history("three_days"), strict=True):
        measured = run.value("evaluate")["facts"]["metrics"]
        assert measured.keys() == {"log_loss", "roc_auc", "expected_profit", "misses_cost"}
        assert 0 < measured["misses_cost"] < 0.4
        assert entry.metrics == measured
    from mlflow import MlflowClient

    client = MlflowClient(airflow.mlflow_uri)
    run = client.get_run(str(client.get_model_version("three_days", "3").run_id))
    assert run.data.metrics["expected_profit"] == pytest.approx(measured["expected_profit"])


def test_each_training_is_mirrored_to_the_users_trackers(airflow: LocalAirflow, three_days: list[Run]) -> None:
    folder = airflow.home / "pipelines"
    stored = sorted((folder / "tracked").glob("*.json"))
    ids = {run_id for run in three_days for run_id in run.value("mirror")["facts"]["runs"]}
    assert {file.stem for file in stored} == ids
    assert len(stored) == 6
    runs = [json.loads(file.read_text()) for file in stored]
    assert sorted(run["version"] for run in runs if run["winner"]) == [1, 2, 3]
    for run in runs:
        events = EventAccumulator(str(folder / "tensorboard" / "three_days" / run["id"]))
        events.Reload()
        [scalar] = events.Scalars("roc_auc")
        assert scalar.value == pytest.approx(run["metrics"]["roc_auc"], abs=1e-6)


def test_each_day_sees_only_its_past(three_days: list[Run]) -> None:
    rows = [run.value("ingest")["facts"]["rows"] for run in three_days]
    assert rows == [31 * 24, 38 * 24, 45 * 24]


def test_no_xcom_is_over_4_kb(airflow: LocalAirflow, three_days: list[Run]) -> None:
    run = three_days[-1]
    path = f"/api/v2/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/~/xcomEntries"
    sizes = {}
    for entry in airflow.every(path, "xcom_entries"):
        value = airflow.xcom(run.dag_id, run.run_id, entry["task_id"], entry["map_index"], entry["key"])
        sizes[entry["task_id"], entry["map_index"], entry["key"]] = len(json.dumps(value).encode())
    assert len(sizes) >= 8
    assert max(sizes.values()) <= MAX_XCOM_BYTES, sizes


def test_clearing_a_whole_run_computes_nothing_and_adds_nothing(airflow: LocalAirflow, three_days: list[Run]) -> None:
    before = mlflow_state(airflow, "three_days")
    run = three_days[-1].cleared()
    assert run.state == "success"
    assert mlflow_state(airflow, "three_days") == before
    for task_id, map_index in COMPUTE:
        events = [entry["event"] for entry in run.log(task_id, map_index)]
        assert any("Nothing is computed" in event for event in events), (task_id, events)
    assert any("step latency took" in entry["event"] for entry in run.log("gate")), "a model is timed anew"


def test_a_second_run_for_the_same_date_adds_nothing(airflow: LocalAirflow, three_days: list[Run]) -> None:
    before = mlflow_state(airflow, "three_days")
    run = Run.of(airflow, "three_days", DAYS[-1], run_id="again")
    assert run.state == "success"
    assert mlflow_state(airflow, "three_days") == before


def test_clearing_an_older_day_leaves_the_newer_champion(airflow: LocalAirflow, three_days: list[Run]) -> None:
    before = mlflow_state(airflow, "three_days")
    run = three_days[0].cleared()
    assert run.state == "success"
    assert run.value("promote")["facts"]["status"] == "already", "its own entry is in the ledger, behind newer ones"
    assert mlflow_state(airflow, "three_days")["ledger"] == before["ledger"]
    assert mlflow_state(airflow, "three_days")["aliases"]["champion"] == 3


def test_an_older_day_that_was_never_trained_is_not_promoted(airflow: LocalAirflow, three_days: list[Run]) -> None:
    run = Run.of(airflow, "three_days", "2024-01-25", candidates=["tree"])
    assert (run.state, run.states["promote"]) == ("success", "skipped")
    assert any("not requested" in entry["event"] for entry in run.log("train", 0))
    assert run.value("evaluate")["facts"]["winner"] == "tree"
    assert mlflow_state(airflow, "three_days")["aliases"]["champion"] == 3


def test_the_champion_event_is_sent_once_for_each_ledger_entry(airflow: LocalAirflow, three_days: list[Run]) -> None:
    sent = events(airflow, "three_days.champion")
    assert sorted(extra["seq"] for extra in sent) == [1, 2, 3]
    assert {extra["as_of"][:10] for extra in sent} == set(DAYS)


def test_clearing_after_the_source_was_repaired_trains_again(airflow: LocalAirflow) -> None:
    source = registry(airflow)
    run = Run.of(airflow, "repaired", "2024-02-01")
    assert [entry.version for entry in source.history("repaired")] == [1]
    write_csv(airflow.home / "pipelines" / "repaired.csv", seed=2)
    assert run.cleared().state == "success"
    history = registry(airflow).history("repaired")
    assert [entry.version for entry in history] == [1, 2]
    assert history[0].digest != history[1].digest


def test_a_challenger_that_is_not_better_is_a_green_run_with_the_reason(airflow: LocalAirflow, points: Points) -> None:
    first = Run.of(airflow, "never_better", DAYS[0])
    assert (first.state, first.states["promote"]) == ("success", "success")
    points.arm(POINTS["challenge"])
    second = Run.of(airflow, "never_better", DAYS[1])
    assert (second.state, second.states["gate"], second.states["promote"]) == ("success", "success", "skipped")
    reason = second.value("gate")["facts"]["reason"]
    assert "log_loss" in reason
    assert any(reason in entry.get("reason", "") for entry in second.log("promote"))
    assert mlflow_state(airflow, "never_better")["aliases"] == {"champion": 1, "challenger": 2}
    assert not points.left
    assert len(registry(airflow).looks("never_better").history()) == 1, "killed before it and after it, one look"


def test_a_challenger_that_fails_a_gate_is_red_and_not_promoted(airflow: LocalAirflow) -> None:
    run = Run.of(airflow, "too_weak", DAYS[0])
    assert (run.state, run.states["gate"], run.states["promote"]) == ("failed", "failed", "upstream_failed")
    assert run.tasks["gate"]["try_number"] == 1, "a failed verdict is not tried again"
    assert "0.999" in run.error("gate")
    assert run.value("gate")["failure"], "the verdict is in XCom although the task failed"
    assert mlflow_state(airflow, "too_weak")["ledger"] == []


def test_a_lost_candidate_does_not_fail_the_others_and_is_reported(airflow: LocalAirflow) -> None:
    run = Run.of(airflow, "lost_candidate", DAYS[0])
    assert run.state == "success"
    assert run.states["train[broken]"] == "failed"
    assert "broken" in run.error("train", 2)
    assert run.value("evaluate")["facts"]["lost"] == ["broken"]
    assert any("broken" in entry["event"] for entry in run.log("evaluate") if entry["level"] == "warning")


def test_tasks_set_gauges(three_days: list[Run], statsd: Gauges) -> None:
    sent = statsd.latest
    assert sent["airflow.mlops.champion_version.three_days"] == "3|g"
    assert float(sent["airflow.mlops.gate_margin.three_days.latency"].removesuffix("|g")) > 0


def test_bad_data_is_one_red_task_and_nothing_stored(airflow: LocalAirflow) -> None:
    source = airflow.home / "pipelines" / "bad_data.csv"
    source.write_text(
        source.read_text(encoding="utf-8").replace("T05:00:00+00:00,", "T05:00:00+00:00,warm", 1), encoding="utf-8"
    )
    run = Run.of(airflow, "bad_data", DAYS[0])
    assert run.state == "failed"
    assert {name: state for name, state in run.states.items() if state == "failed"} == {"ingest": "failed"}
    assert run.tasks["ingest"]["try_number"] == 1
    assert "warmth" in run.error("ingest")
    assert "bad_data.csv" in run.error("ingest")
    assert not (airflow.artifacts / "receipts" / "bad_data").exists()


@pytest.mark.parametrize("pipeline", ["diabetes_progression", "wine_cultivar"])
def test_the_bundled_pipelines_train_once_while_their_data_stays(airflow: LocalAirflow, pipeline: str) -> None:
    run = Run.of(airflow, pipeline, "2024-01-01")
    assert (run.state, run.states["promote"]) == ("success", "success")
    after_one = mlflow_state(airflow, pipeline)
    assert after_one["aliases"]["champion"] == 1
    next_day = Run.of(airflow, pipeline, "2024-01-02")
    assert next_day.state == "success"
    assert next_day.value("promote")["facts"]["status"] == "already"
    assert mlflow_state(airflow, pipeline) == after_one


def test_a_logical_date_on_the_command_line_is_the_run_s_as_of(airflow: LocalAirflow) -> None:
    run = Run(airflow, "flight_delays", "cli")
    airflow.wait_for_dag(run.dag_id)
    airflow.cli("dags", "trigger", run.dag_id, "--logical-date", "2013-03-01", "--run-id", "cli")
    run.ended(300)
    assert run.state == "success"
    assert run.value("ingest")["as_of"] == "2013-03-01T00:00:00Z"
    assert mlflow_state(airflow, "flight_delays")["aliases"] == {"champion": 1, "challenger": 1}
