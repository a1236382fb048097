from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, AssetAlias
from airflow.sdk.exceptions import AirflowFailException
from churn_by_hand import METRICS, made, run_all

from airflow_mlops_provider.operators.gates import QualityGateOperator
from airflow_mlops_provider.operators.promotion import PromoteModelOperator
from airflow_mlops_provider.operators.publishing import PublishModelOperator
from airflow_mlops_provider.operators.training import EvaluateModelOperator, TrainModelOperator
from airflow_mlops_provider.registry import Registry
from airflow_mlops_provider.results import MAX_XCOM_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_dag_written_by_hand_trains_and_promotes_a_champion(
    worker: Any, churn: Callable[..., DAG], mlflow: str, statsd: Any
) -> None:
    ended = run_all(worker, churn(), "ingest validate prepare train champion evaluate gate publish promote")

    assert {name: (task.state, task.message) for name, task in ended.items() if task.state != "success"} == {}
    assert ended["promote"].xcom["facts"]["champion"] == 1
    assert ended["promote"].xcom["facts"]["status"] == "promoted"
    sizes = {name: len(json.dumps(task.xcom).encode()) for name, task in ended.items()}
    assert {name: size for name, size in sizes.items() if size > MAX_XCOM_BYTES} == {}
    margin = ended["evaluate"].xcom["facts"]["metrics"]["roc_auc"] - 0.7
    assert {name: value for name, value in statsd.gauges().items() if ".churn" in name} == {
        "gate_margin.churn.absolute.roc_auc": pytest.approx(margin),
        "champion_version.churn": 1,
        "champion_age_seconds.churn": 0,
    }


def test_events_carry_as_of_and_the_champions_event_is_sent_once(
    worker: Any, churn: Callable[..., DAG], mlflow: str, supervisor: Any
) -> None:
    dag = churn()
    ended = run_all(worker, dag, "ingest validate prepare train champion evaluate gate publish promote")

    dataset = ended["ingest"].messages[-1].outlet_events
    assert dataset[0]["extra"]["as_of"] == "2013-03-01T00:00:00+00:00"
    assert dataset[0]["extra"]["rows"] == 400
    (champion,) = ended["promote"].messages[-1].outlet_events
    assert champion["dest_asset_key"] == {"name": "churn.champion", "uri": "mlops://churn/champion"}
    assert champion["extra"]["as_of"] == "2013-03-01T00:00:00+00:00"
    assert champion["extra"]["champion"] == 1

    supervisor.asset_events.append(
        {
            "id": 1,
            "timestamp": datetime(2026, 1, 1, tzinfo=UTC),
            "extra": champion["extra"],
            "asset": {"name": "churn.champion", "uri": "mlops://churn/champion", "group": "asset"},
            "created_dagruns": [],
        }
    )
    again = worker.run(dag.task_dict["promote"])
    assert again.state == "success"
    assert again.messages[-1].outlet_events == []


def test_a_cleared_run_publishes_and_promotes_nothing_again(
    worker: Any, churn: Callable[..., DAG], mlflow: str
) -> None:
    dag = churn()
    first = run_all(worker, dag, "ingest validate prepare train champion evaluate gate publish promote")
    second = run_all(worker, dag, "ingest validate prepare train champion evaluate gate publish promote")

    changed = {name for name in first if made(second[name]) != made(first[name])}
    assert changed == {"champion", "promote"}
    assert second["evaluate"].xcom["facts"].get("compared_with") is None, "not with itself"
    before, after = first["promote"].xcom["facts"], second["promote"].xcom["facts"]
    assert (before["status"], after["status"]) == ("promoted", "already")
    assert (before["seq"], before["version"]) == (after["seq"], after["version"])


def test_wrong_wiring_is_one_clear_error(worker: Any, churn: Callable[..., DAG], mlflow: str) -> None:
    ended = run_all(worker, churn(), "ingest prepare train champion evaluate gate publish")
    given = {name: one.xcom for name, one in ended.items()}
    model, names = worker.supervisor.xcoms["train", 0], {"metrics": METRICS, "candidates": ["logistic"]}
    common = {"task_id": "tested", "pipeline": "churn"}
    wrong = {
        "'models' is the result of another step: got prepare, expected train": EvaluateModelOperator(
            **common, **names, models=given["prepare"]
        ),
        "candidates have the same name: got ['logistic']": EvaluateModelOperator(**common, **names, models=[model] * 2),
        "'evaluation' is the result of another step: got gate, expected evaluate": QualityGateOperator(
            **common, metrics=METRICS, gates=[], evaluation=given["gate"]
        ),
        "'evaluation' is the result of another step: got train": PublishModelOperator(**common, evaluation=model),
        "the evaluation was not published": PromoteModelOperator(
            **common, evaluation=given["evaluate"], gate=given["gate"]
        ),
        "a candidate has no name": TrainModelOperator(
            **common, dataset=given["ingest"], split=given["prepare"], candidate={"estimator": "sklearn.svm.SVC"}
        ),
    }
    for says, operator in wrong.items():
        with DAG("wrong", schedule=None) as dag:
            dag.add_task(operator)
        failed = worker.run(operator)
        assert (failed.state, type(failed.error).__name__) == ("failed", "AirflowFailException"), says
        assert says in failed.message


def test_why_a_retraining_was_asked_for_ends_in_mlflow_and_in_the_ledger(
    worker: Any, churn: Callable[..., DAG], mlflow: str
) -> None:
    def requested(as_of: str, reason: str, *columns: str) -> dict[str, Any]:
        return {
            "asset": {"name": "churn.retrain", "uri": "mlops://churn/retrain", "extra": {}},
            "extra": {"as_of": as_of, "reason": reason, "columns": list(columns)},
            "source_task_id": "retrain",
            "source_dag_id": "churn_monitoring",
            "source_run_id": "one",
            "source_map_index": -1,
            "source_aliases": [],
            "timestamp": datetime(2026, 1, 1, tzinfo=UTC),
        }

    events = [
        requested("2013-03-01", "drift: the age moved", "age", "plan"),
        requested("2013-02-25", "decay: old", "balance"),
    ]
    run_all(
        worker,
        churn(),
        "ingest validate prepare train champion evaluate gate publish promote",
        run_type="asset_triggered",
        consumed_asset_events=events,
    )

    from mlflow import MlflowClient

    client = MlflowClient(mlflow)
    [parent] = client.search_runs(
        [client.get_experiment_by_name("churn").experiment_id], "tags.`mlops.role` = 'training'"
    )
    assert parent.data.tags["mlops.retrain_reason"] == "drift: the age moved"
    assert parent.data.tags["mlops.retrain_columns"] == "balance, age, plan"
    [entry] = Registry.connect(mlflow).history("churn")
    assert entry.reason.endswith("passed. Retrained for drift: the age moved")


def test_the_links_lead_to_the_run_and_the_version(worker: Any, churn: Callable[..., DAG], mlflow: str) -> None:
    dag = churn()
    ended = run_all(worker, dag, "ingest prepare train champion evaluate gate publish promote")

    for name in ("publish", "promote"):
        facts, task = ended[name].xcom["facts"], ended[name].task
        found = {link.name: link.get_link(task, ti_key=None) for link in task.operator_extra_links}
        assert found == {
            "MLflow run": f"http://mlflow/#/experiments/{facts['experiment_id']}/runs/{facts['run_id']}",
            "MLflow model version": "http://mlflow/#/models/churn/versions/1",
        }


def test_a_challenger_that_is_not_better_is_a_normal_day(worker: Any, churn: Callable[..., DAG], mlflow: str) -> None:
    gates = [{"kind": "absolute", "metric": "roc_auc", "min": 0.999, "on_fail": "skip"}]
    ended = run_all(worker, churn(gates=gates), "ingest prepare train champion evaluate gate publish promote")

    assert ended["gate"].state == "success"
    assert ended["promote"].state == "skipped"
    assert ended["promote"].xcom is None
    assert ended["promote"].messages[-1].type == "TaskState"


def test_a_failed_gate_fails_its_task_with_the_numbers(worker: Any, churn: Callable[..., DAG], mlflow: str) -> None:
    gates = [{"kind": "absolute", "metric": "roc_auc", "min": 0.999}]
    ended = run_all(worker, churn(gates=gates), "ingest prepare train champion evaluate gate")["gate"]

    assert ended.state == "failed"
    assert isinstance(ended.error, AirflowFailException)
    assert "the challenger fails absolute: got absolute: " in ended.message
    assert ended.xcom["facts"]["decision"] == "fail"


def test_an_alias_among_the_outlets_is_no_plain_outlet(churn: Callable[..., DAG]) -> None:
    (outlet,) = churn().task_dict["promote"].outlets

    assert isinstance(outlet, AssetAlias)
