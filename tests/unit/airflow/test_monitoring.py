from __future__ import annotations

import csv
import os
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG
from training_tasks import run_training

from airflow_mlops_provider.dag_templates import training_dag
from airflow_mlops_provider.monitoring.drift_report import DriftReport
from airflow_mlops_provider.operators.data import IngestDataOperator
from airflow_mlops_provider.operators.decisions import DecideOperator
from airflow_mlops_provider.operators.monitoring import DetectDriftOperator
from airflow_mlops_provider.operators.scoring import ScoreBatchOperator
from airflow_mlops_provider.pipelines import parse_pipeline
from airflow_mlops_provider.results import ArtifactRef
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START = datetime(2013, 2, 1, tzinfo=UTC)
COLUMNS = {"target": "left", "timestamp": "seen_at", "keys": ["customer"], "numeric": ["age", "balance"]}
POLICY = {"drift": {"min_rows": 50, "numeric_threshold": 0.3}, "retraining": {"after": 1, "min_rows": 0}}


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Any]:
    """Customers, an hour apart: the older stay. From the tenth of March on they are all old."""
    chance = random.Random(7)
    file = tmp_path / "customers.csv"
    with file.open("w", newline="") as text:
        rows = csv.writer(text)
        rows.writerow(["customer", "seen_at", "age", "balance", "left"])
        for customer in range(45 * 24):
            at = START + timedelta(hours=customer)
            age = chance.gauss(80 if at >= START + timedelta(days=37) else 45, 8)
            rows.writerow([customer, at.isoformat(), age, chance.gauss(0, 1), int(age + chance.gauss(0, 8) < 45)])
    return {"source": {"uri": str(file)}, "columns": COLUMNS}


@pytest.fixture
def dag(worker: Any, data: dict[str, Any], mlflow_uri: str, connection: Callable[..., None]) -> DAG:
    """A DAG written by hand, beside a champion that was trained on February."""
    connection("mlflow_default", conn_type="mlflow", host=mlflow_uri)
    common = {"pipeline": "churn"}
    with DAG("churn_by_hand", schedule=None) as dag:
        new_rows = IngestDataOperator(
            task_id="new_rows", **common, task="binary", data=data, purpose="scoring", window="P7D"
        )
        score = ScoreBatchOperator(task_id="score", **common, dataset=new_rows.output)
        drift = DetectDriftOperator(
            task_id="drift", **common, dataset=new_rows.output, predictions=score.output, monitoring=POLICY
        )
        DecideOperator(task_id="decide", **common, drift=drift.output, monitoring=POLICY)
    return dag


@pytest.fixture
def champion(worker: Any, dag: DAG, data: dict[str, Any]) -> None:
    # A forest knows its training rows by heart: predictions on those are no reference for new ones.
    candidates = {"forest": {"estimator": "sklearn.ensemble.RandomForestClassifier", "params": {"n_estimators": 30}}}
    settings = {"name": "churn", "task": "binary", "data": data, "training": {"candidates": candidates}}
    training = training_dag(parse_pipeline(settings, where="churn.yaml"))
    run_training(worker, training, run_after=START + timedelta(days=28))


def run(worker: Any, dag: DAG, day: int) -> dict[str, Any]:
    run_after = START + timedelta(days=day)
    return {name: worker.run(dag.task_dict[name], run_after=run_after) for name in dag.task_dict}


def report(ended: Any) -> DriftReport:
    store = ArtifactStore(os.environ["AIRFLOW__MLOPS__ARTIFACTS_URI"])
    return DriftReport.model_validate(store.read_json(ArtifactRef(**ended.xcom["artifacts"]["drift"])))


@pytest.mark.usefixtures("champion")
@pytest.mark.parametrize(
    ("day", "drifted", "action"), [(36, False, "keep"), (44, True, "retrain")], ids=["like February", "all old"]
)
def test_a_scored_window_is_compared_with_what_its_champion_was_trained_on(
    worker: Any, dag: DAG, day: int, drifted: bool, action: str
) -> None:
    ended = run(worker, dag, day)
    assert {name: (task.state, task.message) for name, task in ended.items()} == dict.fromkeys(
        ended, ("success", "None")
    )
    facts = ended["drift"].xcom["facts"]
    assert (facts["judged"], facts["drifted"], facts["columns"]) == (True, drifted, ["age"] if drifted else [])
    found = report(ended["drift"])
    assert (found.version, found.weights, found.metric) == (1, "importance", "roc_auc")
    assert {column.column: column.drifted for column in found.columns if column.role == "feature"} == {
        "age": drifted,
        "balance": False,
    }
    assert ended["decide"].xcom["facts"]["summary"].endswith(action)


def test_without_a_champion_there_is_nothing_to_compare_with(worker: Any, dag: DAG, supervisor: Any) -> None:
    worker.run(dag.task_dict["new_rows"], run_after=START + timedelta(days=28))
    supervisor.xcoms["score", -1] = supervisor.xcoms["new_rows", -1]
    ended = worker.run(dag.task_dict["drift"], run_after=START + timedelta(days=28))
    assert ended.state == "failed"
    assert "model 'churn' has no champion" in ended.message


@pytest.mark.usefixtures("champion")
def test_an_input_that_is_no_result_is_named(worker: Any, dag: DAG) -> None:
    ended = worker.run(dag.task_dict["drift"], run_after=START + timedelta(days=28))
    assert ended.state == "failed"
    assert "input 'dataset' is not the result of an operator of this package" in ended.message
