from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from events import Graph
from openlineage.client.serde import Serde
from sqlalchemy import make_url

from airflow_mlops_provider.dag_templates import monitoring_dag, scoring_dag, training_dag
from airflow_mlops_provider.lineage.sources import sources_of
from airflow_mlops_provider.lineage.steps import edges_of
from airflow_mlops_provider.lineage.work import Work
from airflow_mlops_provider.pipelines import parse_pipeline
from airflow_mlops_provider.results import StepResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from airflow.sdk import DAG

TRAINING = ["ingest", "validate", "prepare", "train 0", "champion", "evaluate", "gate", "refit", "publish", "promote"]
SECRET = "hush-hush"
YOUNG: dict[str, Any] = {
    "type": "expect_column_values_to_be_between",
    "kwargs": {"column": "age", "max_value": 79},
    "policy": "warn",
}
OLDEST = {"type": "expect_column_max_to_be_between", "kwargs": {"column": "age", "max_value": 100}}
COLUMNS = {"target": "left", "timestamp": "seen_at", "numeric": ["age", "balance"], "keys": ["customer"]}


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


@dataclass
class Listened:
    """Tasks run with OpenLineage's own listener, whose events end in a file."""

    worker: Any
    file: Path

    def run(self, dag: DAG, *tasks: str) -> dict[str, Any]:
        """Run tasks, and return the event of the end of each."""
        for name in tasks:
            task, _, index = name.partition(" ")
            mapped = {"map_index": int(index)} if index else {}
            ended = self.worker.run(dag.task_dict[task], listened_to=True, **mapped)
            assert ended.state == "success", (name, ended.message)
        events = [json.loads(line) for line in self.file.read_text(encoding="utf-8").splitlines()]
        assert [event["eventType"] for event in events] == ["START", "COMPLETE"] * len(tasks)
        self.file.unlink()
        return dict(zip(tasks, events[1::2], strict=True))


@pytest.fixture
def listened(worker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listened]:
    from airflow.providers.openlineage.plugins.listener import OpenLineageListener
    from airflow.sdk.listener import get_listener_manager

    manager = get_listener_manager()  # before there is a transport: with one, it would find the plugin's own listener
    file = tmp_path / "lineage.ndjson"
    transport = {"type": "file", "log_file_path": str(file), "append": True}
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__TRANSPORT", json.dumps(transport))
    # The tests' process has threads, of which a fork may not come.
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD", "True")
    manager.add_listener(listener := OpenLineageListener())
    yield Listened(worker, file)
    manager.pm.unregister(listener)


def _registry(mlflow_uri: str) -> str:
    return f"mlflow://{mlflow_uri.removeprefix('sqlite:///')}"


def lineage(task: Any) -> dict[str, Any]:
    found = task.get_openlineage_facets_on_complete(None)
    return {side: [json.loads(Serde.to_json(one)) for one in getattr(found, side)] for side in ("inputs", "outputs")}


def test_from_the_predictions_one_walks_back_to_the_source_file(
    listened: Listened, churn: Callable[..., Any], customers: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("snapshot", "tables"):
        monkeypatch.setattr(f"airflow_mlops_provider.data.{module}.ROW_GROUP_ROWS", 10)
    pipeline = churn(scoring={"shards": 2}, validation={"expectations": [YOUNG, OLDEST]})
    reported = listened.run(training_dag(pipeline), *TRAINING)
    _standard_facets_say_what_they_are(reported)
    scored = listened.run(scoring_dag(pipeline), "ingest", "score_shard 0", "score_shard 1", "score")
    reported |= {f"scoring {name}": event for name, event in scored.items()}
    reported |= listened.run(monitoring_dag(pipeline), "watch")

    graph = Graph(reported.values())
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
    assert SECRET not in json.dumps(reported)


def _standard_facets_say_what_they_are(reported: dict[str, Any]) -> None:
    (snapshot,) = reported["ingest"]["outputs"]
    digest = snapshot["facets"]["version"]["datasetVersion"]
    (place,) = snapshot["outputFacets"]["subset"]["outputCondition"]["locations"]
    assert place.startswith("file:///")
    assert place.endswith(f"/objects/{digest[:2]}/{digest}.parquet")
    assert snapshot["outputFacets"]["outputStatistics"]["rowCount"] == 648
    fields = snapshot["facets"]["schema"]["fields"]
    assert [(field["name"], field.get("type"), field["description"]) for field in fields] == [
        ("customer", None, "key"),
        ("seen_at", "timestamp", "timestamp"),
        ("age", "numeric", "feature"),
        ("balance", "numeric", "feature"),
        ("left", "categorical", "target"),
    ]

    (checked,) = reported["validate"]["inputs"]
    checks = {one["assertion"]: one for one in checked["inputFacets"]["dataQualityAssertions"]["assertions"]}
    age = checks[YOUNG["type"]]
    assert (age["success"], age["column"], age["severity"]) == (False, "age", "warn")
    assert age["actual"].endswith(" unexpected values"), "no value of a row leaves the store"
    assert "actual" not in checks[OLDEST["type"]], "this is one"
    assert checks["rows_are_enough"]["actual"] == "648 rows"

    (candidate,) = [one for one in reported["gate"]["inputs"] if one["name"].endswith("/model/churn/logistic")]
    gates = candidate["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert [(one["name"], one["assertion"], one["success"], one["severity"]) for one in gates] == [
        ("floor", "absolute", True, "error"),
        ("latency", "latency", True, "error"),
    ]
    (version,) = reported["publish"]["outputs"]
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


def test_a_query_is_told_by_its_tables(connection: Callable[..., None]) -> None:
    from services.postgres import postgres

    with postgres() as server:
        address = make_url(server.database("sales"))
        login = {"login": "sales", "password": str(address.password), "schema": "sales"}
        connection("warehouse", conn_type="postgres", host="127.0.0.1", port=server.port, **login)
        found = sources_of(by_sql("select c.*, o.total from crm.customers c join orders o using (customer)"))
    place = f"postgres://127.0.0.1:{server.port}"
    assert {node.place for node in found} == {(place, "sales.crm.customers"), (place, "sales.public.orders")}


@pytest.mark.parametrize(
    "settings",
    [{"conn_type": "sqlite", "host": "/data/sales.db"}, {"conn_type": "postgres", "host": "127.0.0.1", "port": 9}],
    ids=["its hook knows nothing", "it is away"],
)
def test_a_query_is_told_by_its_connection_where_the_database_tells_nothing(
    connection: Callable[..., None], settings: dict[str, Any]
) -> None:
    connection("warehouse", **settings)
    (source,) = sources_of(by_sql("select * from customers"))
    assert source.place == (settings["conn_type"], "warehouse")


def by_sql(sql: str) -> dict[str, Any]:
    """Return the section of an ingest."""
    return {"task": "binary", "data": {"source": {"sql": sql, "conn_id": "warehouse"}, "columns": COLUMNS}}


def test_nothing_of_openlineage_is_imported_by_a_task_that_it_does_not_listen_to() -> None:
    code = (
        "import sys, airflow_mlops_provider.operators.promotion, airflow_mlops_provider.operators.watching as watching;"
        "watching.WatchPredictionsOperator(task_id='w', pipeline='p', task='binary', data={}, metrics=[]).work;"
        "print([name for name in sys.modules if name.startswith(('openlineage', 'airflow_mlops_provider.lineage.'))])"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['airflow_mlops_provider.lineage.work']"
