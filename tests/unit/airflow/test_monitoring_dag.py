from __future__ import annotations

from typing import Any

from airflow_mlops_provider.assets import champion_asset, predictions_asset, retrain_asset
from airflow_mlops_provider.dag_templates import monitoring_dag
from airflow_mlops_provider.pipelines import parse_pipeline


def pipeline(**changes: Any) -> Any:
    raw = {
        "name": "churn",
        "task": "binary",
        "data": {
            "source": {"uri": "customers.csv"},
            "columns": {"target": "left", "timestamp": "at", "numeric": ["age"]},
        },
        "training": {"candidates": {"logistic": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
        "scoring": {},
        "monitoring": {"max_age": "90 days", "retraining": {"after": 3}},
        **changes,
    }
    return parse_pipeline(raw, where="churn.yaml")


def test_it_runs_on_predictions_one_run_at_a_time() -> None:
    dag = monitoring_dag(pipeline())
    assert dag.dag_id == "churn_monitoring"
    assert list(dag.timetable.asset_condition.objects) == [predictions_asset("churn")]
    assert dag.max_active_runs == 1
    assert {name: sorted(task.upstream_task_ids) for name, task in dag.task_dict.items()} == {
        "watch": [],
        "retrain": ["watch"],
        "roll_back": ["watch"],
    }


def test_its_tasks_see_the_events_that_they_must_not_miss_or_repeat() -> None:
    dag = monitoring_dag(pipeline(promotion={"model": "leavers", "conn_id": "elsewhere"}))
    assert dag.task_dict["watch"].inlets == [predictions_asset("churn")]
    assert dag.task_dict["retrain"].inlets == [retrain_asset("churn")]
    assert dag.task_dict["roll_back"].inlets == [champion_asset("leavers")]
    outlets = {name: [outlet.name for outlet in task.outlets] for name, task in dag.task_dict.items()}
    assert outlets == {"watch": [], "retrain": ["churn.retrain"], "roll_back": ["leavers.champion"]}
    for task in dag.tasks:
        values: Any = task
        assert (values.model, values.mlflow_conn_id) == ("leavers", "elsewhere")


def test_a_task_gets_airflow_s_own_settings_from_the_file() -> None:
    dag = monitoring_dag(pipeline(tasks={"watch": {"pool": "heavy", "retries": 7}}))
    assert (dag.task_dict["watch"].pool, dag.task_dict["watch"].retries) == ("heavy", 7)


def test_its_page_tells_the_rules_with_the_numbers_of_the_file() -> None:
    page = monitoring_dag(pipeline()).doc_md or ""
    assert "after 3 bad windows in a row" in page
    assert "its last row is older than 90 days" in page
    assert "`roc_auc`" in page
    assert "stale" not in (monitoring_dag(pipeline(monitoring={})).doc_md or "")
