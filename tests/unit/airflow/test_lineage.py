from __future__ import annotations

import csv
import json
import random
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG
from events import Graph
from openlineage.client.serde import Serde

from airflow_mlops_provider.dag_templates import monitoring_dag, scoring_dag, training_dag
from airflow_mlops_provider.lineage.steps import edges_of
from airflow_mlops_provider.lineage.work import Work
from airflow_mlops_provider.operators.data import IngestDataOperator
from airflow_mlops_provider.pipelines import parse_pipeline
from airflow_mlops_provider.results import StepResult

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TRAINING = ["ingest", "validate", "prepare", "train", "champion", "evaluate", "gate", "publish", "promote"]
SECRET = "hush-hush"
YOUNG: dict[str, Any] = {
    "type": "expect_column_values_to_be_between",
    "kwargs": {"column": "age", "max_value": 79},
    "policy": "warn",
}
COLUMNS = {"target": "left", "timestamp": "seen_at", "numeric": ["age", "balance"], "keys": ["customer"]}


@pytest.fixture
def customers(tmp_path: Path) -> Path:
    """Customers of a month, an hour apart; the older and richer stay."""
    chance = random.Random(7)
    file = tmp_path / "customers.csv"
    with file.open("w", newline="") as text:
        rows = csv.writer(text)
        rows.writerow(["customer", "seen_at", "age", "balance", "left"])
        for customer in range(700):
            age, balance = chance.randint(18, 80), chance.randint(0, 1000)
            stays = age / 80 + balance / 1000 + chance.gauss(0, 0.3) > 1.1
            at = datetime(2013, 2, 1, tzinfo=UTC) + timedelta(hours=customer)
            rows.writerow([f"c{customer}", at.isoformat(), age, balance, int(not stays)])
    return file


@pytest.fixture
def churn(customers: Path, mlflow_uri: str, connection: Callable[..., None]) -> Callable[..., Any]:
    """A pipeline over the customers, and a connection to MLflow that knows a secret."""
    extra = {"ui_url": f"https://me:{SECRET}@mlflow.example.org"}
    connection("mlflow_default", conn_type="mlflow", host=mlflow_uri, login="me", password=SECRET, extra=extra)

    def build(**settings: Any) -> Any:
        raw = {
            "name": "churn",
            "task": "binary",
            "data": {"source": {"uri": str(customers)}, "columns": COLUMNS, "label_delay": "1 day"},
            "training": {"candidates": {"logistic": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
            "gates": [
                {"kind": "absolute", "metric": "roc_auc", "min": 0.6, "name": "floor"},
                {"kind": "latency", "max_p95_ms": 1000},
            ],
            "scoring": {},
            "monitoring": {},
            **settings,
        }
        return parse_pipeline(raw, where="churn.yaml")

    return build


def events_of(worker: Any, dag: DAG, tasks: list[str], **settings: Any) -> dict[str, Any]:
    """Run tasks, and return what each tells OpenLineage, as it is sent."""
    told = {}
    for name in tasks:
        task, _, index = name.partition(" ")
        mapped = {"map_index": int(index)} if index else {}
        ended = worker.run(dag.task_dict[task], **mapped, **settings)
        assert ended.state == "success", (name, ended.message)
        told[name] = lineage(ended.task)
    return told


def _registry(mlflow_uri: str) -> str:
    return f"mlflow://{mlflow_uri.removeprefix('sqlite:///')}"


def lineage(task: Any) -> dict[str, Any]:
    found = task.get_openlineage_facets_on_complete(None)
    return {side: [json.loads(Serde.to_json(one)) for one in getattr(found, side)] for side in ("inputs", "outputs")}


def trained(worker: Any, pipeline: Any, **settings: Any) -> dict[str, Any]:
    tasks = [f"{name} 0" if name == "train" else name for name in TRAINING]
    return events_of(worker, training_dag(pipeline), tasks, **settings)


def test_from_the_predictions_one_walks_back_to_the_source_file(
    worker: Any, churn: Callable[..., Any], customers: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("snapshot", "tables"):
        monkeypatch.setattr(f"airflow_mlops_provider.data.{module}.ROW_GROUP_ROWS", 10)
    pipeline = churn(scoring={"shards": 2}, validation={"expectations": [YOUNG]})
    told = trained(worker, pipeline)
    _standard_facets_say_what_they_are(told)
    scoring = ["ingest", "score_shard 0", "score_shard 1", "score"]
    told |= {f"scoring {name}": event for name, event in events_of(worker, scoring_dag(pipeline), scoring).items()}
    told |= events_of(worker, monitoring_dag(pipeline), ["watch"])

    graph = Graph(told.values())
    version, source = (_registry(mlflow_uri), "churn", "1"), ("file", str(customers), None)
    (predictions,) = [node for node in graph.made if node[1].endswith("/predictions/churn")]
    (drift,) = [node for node in graph.made if node[1].endswith("/drift/churn")]
    (alias,) = [node for node in graph.made if node[1] == "churn@champion"]
    names = {name.rpartition("/artifacts/")[2] for _, name, _ in graph.behind(version)}
    assert names == {"model/churn/logistic", "split/churn", "dataset/churn", "evaluation/churn", str(customers)}
    assert source in graph.behind(version)
    assert {version, source} <= graph.behind(predictions)
    assert {version, predictions, source} <= graph.behind(drift)
    assert version in graph.behind(alias)
    assert SECRET not in json.dumps(told)


def _standard_facets_say_what_they_are(told: dict[str, Any]) -> None:
    (snapshot,) = told["ingest"]["outputs"]
    digest = snapshot["facets"]["version"]["datasetVersion"]
    (place,) = snapshot["facets"]["symlinks"]["identifiers"]
    assert (place["namespace"], place["name"].rpartition("/objects/")[2]) == ("file", f"{digest[:2]}/{digest}.parquet")
    assert snapshot["outputFacets"]["outputStatistics"]["rowCount"] == 648
    fields = snapshot["facets"]["schema"]["fields"]
    assert [(field["name"], field.get("type"), field["description"]) for field in fields] == [
        ("customer", None, "key"),
        ("seen_at", "timestamp", "timestamp"),
        ("age", "numeric", "feature"),
        ("balance", "numeric", "feature"),
        ("left", "categorical", "target"),
    ]

    (checked,) = told["validate"]["inputs"]
    checks = {one["assertion"]: one for one in checked["inputFacets"]["dataQualityAssertions"]["assertions"]}
    age = checks[YOUNG["type"]]
    assert (age["success"], age["column"], age["severity"]) == (False, "age", "warn")
    assert age["actual"].endswith(" unexpected values"), "no value of a row leaves the store"

    (candidate,) = [one for one in told["gate"]["inputs"] if one["name"].endswith("/model/churn/logistic")]
    gates = candidate["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert [(one["name"], one["assertion"], one["success"], one["severity"]) for one in gates] == [
        ("floor", "absolute", True, "error"),
        ("latency", "latency", True, "error"),
    ]
    (version,) = told["publish"]["outputs"]
    assert version["facets"]["datasetType"]["datasetType"] == "MODEL"


def test_a_task_that_fails_tells_what_it_was_given(worker: Any, churn: Callable[..., Any], customers: Path) -> None:
    customers.write_text(customers.read_text().replace(",18,", ",young,", 1))
    ended = worker.run(training_dag(churn()).task_dict["ingest"])
    assert ended.state == "failed"
    assert [one["name"] for one in lineage(ended.task)["inputs"]] == [str(customers)]
    assert lineage(ended.task)["outputs"] == []


def test_a_rollback_tells_which_version_the_alias_names() -> None:
    done = {"step": "rollback", "pipeline": "churn", "key": "0" * 64, "as_of": "2013-03-01T00:00:00Z"}
    names = {"version": 1, "champion": 1}
    work = Work("rollback", "churn", registry="https://me:hush@mlflow:5000", result=StepResult(**done, facts=names))
    assert _ends(work) == ({("mlflow://mlflow:5000", "churn", "1")}, {("mlflow://mlflow:5000", "churn@champion", "1")})
    work.result = StepResult(**done, facts={"version": 1, "champion": 2})
    assert _ends(work) == ({("mlflow://mlflow:5000", "churn", "1")}, set()), "another one has become champion since"


def _ends(work: Work) -> tuple[set[Any], set[Any]]:
    edges = edges_of(work, lambda: pytest.fail("nothing is to be read"))
    read, made = ({(*node.place, node.version) for node in side.values()} for side in (edges.inputs, edges.outputs))
    return read, made


def test_a_query_is_told_by_its_connection_when_its_hook_tells_no_tables(
    worker: Any, connection: Callable[..., None], tmp_path: Path
) -> None:
    file = tmp_path / "customers.db"
    with sqlite3.connect(file) as database:
        database.execute("create table customers (customer text, age integer, left integer)")
        database.executemany("insert into customers values (?, ?, ?)", [(f"c{n}", 20 + n, n % 2) for n in range(20)])
    connection("warehouse", conn_type="sqlite", host=str(file))
    data = {
        "source": {"sql": "select * from customers", "conn_id": "warehouse"},
        "columns": {"target": "left", "numeric": ["age"], "keys": ["customer"]},
    }
    with DAG("by_hand", schedule=None) as dag:
        IngestDataOperator(task_id="ingest", pipeline="churn", task="binary", data=data)
    (source,) = events_of(worker, dag, ["ingest"])["ingest"]["inputs"]
    assert (source["namespace"], source["name"]) == ("sqlite", "warehouse")


def test_nothing_of_openlineage_is_imported_by_a_task_that_it_does_not_listen_to() -> None:
    code = (
        "import sys, airflow_mlops_provider.operators.promotion, airflow_mlops_provider.operators.watching as watching;"
        "watching.WatchPredictionsOperator(task_id='w', pipeline='p', task='binary', data={}, metrics=[]).work;"
        "print([name for name in sys.modules if name.startswith(('openlineage', 'airflow_mlops_provider.lineage.'))])"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['airflow_mlops_provider.lineage.work']"
