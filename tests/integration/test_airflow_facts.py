"""What this package relies on in Airflow, seen on a real scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local_airflow import LocalAirflow


def run(airflow: LocalAirflow, dag_id: str, run_id: str = "run", conf: dict[str, Any] | None = None) -> str:
    airflow.wait_for_dag(dag_id)
    airflow.post(f"/api/v2/dags/{dag_id}/dagRuns", {"dag_run_id": run_id, "logical_date": None, "conf": conf or {}})
    return airflow.wait_for_run(dag_id, run_id)


def states(airflow: LocalAirflow, dag_id: str, run_id: str = "run") -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for task in sorted(airflow.tasks(dag_id, run_id), key=lambda task: task["map_index"]):
        found.setdefault(task["task_id"], []).append(task["state"])
    return found


def test_a_task_after_mapped_ones_gets_the_results_of_those_that_succeeded(airflow: LocalAirflow) -> None:
    dag_id = "fact_some_mapped_tasks_succeed"
    assert run(airflow, dag_id) == "success"
    assert states(airflow, dag_id)["one"] == ["failed", "success", "success"]
    assert airflow.xcom(dag_id, "run", "collect") == ["a", "b"]


def test_one_skipped_mapped_task_skips_what_collects_the_others(airflow: LocalAirflow) -> None:
    dag_id = "fact_a_mapped_task_is_skipped"
    assert run(airflow, dag_id) == "success"
    assert states(airflow, dag_id) == {"one": ["success", "skipped"], "collect": ["skipped"]}


def test_a_task_after_mapped_ones_does_not_start_when_none_succeeded(airflow: LocalAirflow) -> None:
    dag_id = "fact_no_mapped_task_succeeds"
    assert run(airflow, dag_id) == "failed"
    assert states(airflow, dag_id)["collect"] == ["upstream_failed"]


def test_a_task_after_mapped_ones_does_not_start_when_there_was_nothing_to_map(airflow: LocalAirflow) -> None:
    dag_id = "fact_nothing_to_map_over"
    assert run(airflow, dag_id) == "failed"
    assert states(airflow, dag_id)["collect"] == ["upstream_failed"]


def test_a_result_that_was_pushed_survives_the_failure_and_there_is_no_retry(airflow: LocalAirflow) -> None:
    dag_id = "fact_a_pushed_result_survives_a_failure"
    assert run(airflow, dag_id) == "failed"
    assert airflow.xcom(dag_id, "run", "push_then_fail") == {"kept": True}
    assert [task["try_number"] for task in airflow.tasks(dag_id, "run")] == [1]


def test_an_alias_emits_only_what_is_added_and_earlier_events_can_be_read(airflow: LocalAirflow) -> None:
    dag_id = "fact_an_alias_emits_only_what_is_added"
    by_asset = "fact_a_run_by_an_asset_has_no_dates"
    airflow.wait_for_dag(by_asset)
    assert run(airflow, dag_id, "silent") == "success"
    assert run(airflow, dag_id, "loud", {"emit": True}) == "success"
    assert run(airflow, dag_id, "after") == "success"
    assert airflow.xcom(dag_id, "loud", "emit") == 0
    assert airflow.xcom(dag_id, "after", "emit") == 1
    runs = airflow.get(f"/api/v2/dags/{by_asset}/dagRuns")["dag_runs"]
    assert len(runs) == 1
    airflow.wait_for_run(by_asset, runs[0]["dag_run_id"])
    assert airflow.xcom(by_asset, runs[0]["dag_run_id"], "dates") == {
        "run_type": "asset_triggered",
        "logical_date": "None",
        "data_interval_end": "None",
        "as_of": "2024-01-01",
    }
