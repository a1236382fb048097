from __future__ import annotations

import re
import socket
import sqlite3
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, BaseOperator

from airflow_mlops_provider.exceptions import DataError, RegistryError, SpecError
from airflow_mlops_provider.hooks.mlflow import MlflowHook
from airflow_mlops_provider.hooks.object_storage import ObjectStorageHook
from airflow_mlops_provider.hooks.sql import read_sql
from airflow_mlops_provider.operators.data import IngestDataOperator
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


AS_OF = datetime(2013, 3, 1, tzinfo=UTC)


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# ------------------------------------------------------------------------------------------------ mlflow


def test_a_connection_gives_a_registry_of_its_database(mlflow_uri: str, connection: Callable[..., None]) -> None:
    connection("models", conn_type="mlflow", host=mlflow_uri)

    registry = MlflowHook("models").registry()

    assert registry.champion_to_beat("flights", as_of=AS_OF, lineage="", allow_older=False) is None
    assert mlflow_uri in registry.ping()


def test_the_test_button_says_true_on_a_real_store(mlflow_uri: str, connection: Callable[..., None]) -> None:
    connection("models", conn_type="mlflow", host=mlflow_uri)

    works, words = MlflowHook("models").test_connection()

    assert works, words
    assert mlflow_uri in words


def test_the_test_button_says_soon_and_in_words_that_nothing_answers(
    connection: Callable[..., None], closed_port: int
) -> None:
    connection("models", conn_type="mlflow", host=f"http://127.0.0.1:{closed_port}")
    started = time.monotonic()

    works, words = MlflowHook("models").test_connection()

    assert not works
    assert words.startswith(f"MLflow at http://127.0.0.1:{closed_port} did not answer")
    assert "Check that it is running and reachable" in words
    assert "Traceback" not in words
    assert time.monotonic() - started < 10


def test_airflow_finds_the_hook_by_the_connection_type(mlflow_uri: str, connection: Callable[..., None]) -> None:
    from airflow.sdk import Connection

    connection("models", conn_type="mlflow", host=mlflow_uri)

    hook = Connection.get("models").get_hook()

    assert isinstance(hook, MlflowHook)
    assert hook.test_connection()[0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "connection 'models' has no tracking URI: expected a host such as https://mlflow.example.org"),
        ({"host": "mlflow.example.org"}, "without a scheme for a folder"),
        ({"host": "ftp://mlflow"}, "the MLflow URI has an unknown scheme: got ftp://mlflow"),
        (
            {"host": "http://mlflow", "extra": {"regsitry_uri": "x", "ui_url": "y"}},
            "connection 'models' has an unknown extra: got ['regsitry_uri'], expected registry_uri, artifact_root",
        ),
        (
            {"host": "https://mlflow", "extra": {"ca_bundle": "/etc/absent.pem"}},
            "extra 'ca_bundle' of connection 'models' is wrong: got /etc/absent.pem, expected the path of a PEM file",
        ),
        (
            {"host": "https://mlflow", "extra": {"verify": "no"}},
            "extra 'verify' of connection 'models' is wrong: got no",
        ),
        (
            {"host": "https://mlflow", "extra": {"verify": False, "ca_bundle": __file__}},
            "connection 'models' sets a ca_bundle but turns verification off",
        ),
        (
            {"host": "https://mlflow", "extra": {"timeout": "soon"}},
            "extra 'timeout' of connection 'models' is wrong: got soon, expected a whole number of seconds",
        ),
    ],
    ids=["no host", "file store", "unknown scheme", "unknown extra", "no file", "not yes or no", "both", "no number"],
)
def test_a_wrong_connection_is_refused_in_words(
    connection: Callable[..., None], settings: dict[str, Any], words: str
) -> None:
    connection("models", conn_type="mlflow", **settings)

    with pytest.raises((SpecError, RegistryError)) as raised:
        MlflowHook("models").registry()

    assert words in str(raised.value)
    works, answer = MlflowHook("models").test_connection()
    assert not works
    assert words in answer


def test_a_connection_that_is_not_defined_is_named() -> None:
    with pytest.raises(SpecError, match="connection 'nowhere' is not defined. Add it .* AIRFLOW_CONN_NOWHERE"):
        MlflowHook("nowhere").registry()


SAFE = {"MLFLOW_TRACKING_INSECURE_TLS": "false"}


@pytest.mark.parametrize(
    ("settings", "environment"),
    [
        ({}, SAFE),
        (
            {"password": "s3cret"},
            {
                "MLFLOW_TRACKING_USERNAME": "",
                "MLFLOW_TRACKING_PASSWORD": "",
                "MLFLOW_TRACKING_TOKEN": "s3cret",
                **SAFE,
            },
        ),
        (
            {"login": "ada", "password": "s3cret"},
            {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "s3cret", **SAFE},
        ),
        ({"extra": {"verify": False}}, {"MLFLOW_TRACKING_INSECURE_TLS": "true"}),
        ({"extra": {"ca_bundle": __file__}}, {"MLFLOW_TRACKING_SERVER_CERT_PATH": __file__, **SAFE}),
        ({"extra": {"client_cert": __file__}}, {"MLFLOW_TRACKING_CLIENT_CERT_PATH": __file__, **SAFE}),
    ],
    ids=["open", "token", "basic", "unverified", "own authority", "client certificate"],
)
def test_secrets_and_tls_reach_mlflow_by_its_own_variables(
    connection: Callable[..., None], settings: dict[str, Any], environment: dict[str, str]
) -> None:
    connection("models", conn_type="mlflow", host="https://mlflow.example.org", **settings)

    assert MlflowHook("models")._environment() == environment


class Asking(BaseOperator):
    """Gives the timeout that a request to MLflow has in a task."""

    def execute(self, context: Any) -> int:
        return MlflowHook("models")._timeout()


@pytest.mark.parametrize(
    ("extra", "limit", "timeout"),
    [({}, None, 30), ({"timeout": "90"}, None, 90), ({}, 60, 15), ({"timeout": 5}, 60, 5), ({}, 2, 1)],
    ids=["default", "said", "task's", "said and shorter than the task's", "a second at least"],
)
def test_a_request_is_given_up_on_before_its_task_is_ended(
    worker: Any, connection: Callable[..., None], extra: dict[str, Any], limit: int | None, timeout: int
) -> None:
    connection("models", conn_type="mlflow", host="http://mlflow", extra=extra)
    with DAG("tested", schedule=None):
        task = Asking(task_id="ask", execution_timeout=limit and timedelta(seconds=limit))

    assert worker.run(task).xcom == timeout


def test_a_password_is_not_in_what_a_failed_test_says(connection: Callable[..., None], closed_port: int) -> None:
    connection(
        "models", conn_type="mlflow", host=f"http://ada:s3cret@127.0.0.1:{closed_port}", login="ada", password="s3cret"
    )

    works, words = MlflowHook("models").test_connection()

    assert not works
    assert "s3cret" not in words


@pytest.mark.parametrize(
    ("host", "extra", "url"),
    [
        ("https://mlflow.example.org/", {}, "https://mlflow.example.org"),
        ("https://mlflow.example.org", {"ui_url": "https://see.example.org/"}, "https://see.example.org"),
        ("https://ada:s3cret@mlflow.example.org:8443/x", {}, "https://mlflow.example.org:8443/x"),
        ("sqlite:////data/mlflow.db", {}, None),
        ("sqlite:////data/mlflow.db", {"ui_url": "http://127.0.0.1:5000"}, "http://127.0.0.1:5000"),
    ],
)
def test_links_lead_to_the_server_unless_another_address_is_named(
    connection: Callable[..., None], host: str, extra: dict[str, str], url: str | None
) -> None:
    connection("models", conn_type="mlflow", host=host, extra=extra)

    assert MlflowHook("models").ui_url == url


# ------------------------------------------------------------------------------------------------ artifacts


def test_artifacts_lie_where_the_operator_or_the_setting_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def root(hook: ObjectStorageHook) -> str:
        store = hook.store()
        assert isinstance(store, ArtifactStore)
        return store.add_json({}).uri

    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    assert root(ObjectStorageHook()).startswith((tmp_path / "home" / "mlops").as_uri())
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_URI", (tmp_path / "set").as_uri())
    assert root(ObjectStorageHook()).startswith((tmp_path / "set").as_uri())
    assert root(ObjectStorageHook((tmp_path / "own").as_uri())).startswith((tmp_path / "own").as_uri())


# ------------------------------------------------------------------------------------------------ sql


@pytest.fixture
def warehouse(tmp_path: Path, connection: Callable[..., None]) -> Path:
    """A real SQLite database of 300 customers, behind an Airflow connection."""
    file = tmp_path / "warehouse.db"
    with sqlite3.connect(file) as database:
        database.execute("create table customers (id text, seen text, age integer, plan text, left integer)")
        database.executemany(
            "insert into customers values (?, ?, ?, ?, ?)",
            [
                (
                    f"c{number}",
                    f"2013-{1 + number % 4:02}-15 00:00:00",
                    18 + number % 60,
                    "ab"[number % 2],
                    number % 3 == 0,
                )
                for number in range(300)
            ],
        )
    database.close()
    connection("warehouse", conn_type="sqlite", host=str(file))
    return file


def sql_task(query: str, conn_id: str = "warehouse") -> IngestDataOperator:
    with DAG("tested", schedule=None):
        return IngestDataOperator(
            task_id="ingest",
            pipeline="churn",
            task="binary",
            data={
                "source": {"sql": query, "conn_id": conn_id},
                "columns": {
                    "target": "left",
                    "numeric": ["age"],
                    "categorical": ["plan"],
                    "keys": ["id"],
                    "timestamp": "seen",
                },
                "timezone": "UTC",
            },
        )


def test_a_query_is_read_through_the_connection_in_frames(warehouse: Path) -> None:
    (frame,) = read_sql("warehouse", "select age, plan from customers order by id limit 3")

    assert list(frame.columns) == ["age", "plan"]
    assert len(frame) == 3


def test_a_query_becomes_a_typed_snapshot(worker: Any, warehouse: Path) -> None:
    import pyarrow.parquet as pq

    ended = worker.run(sql_task("select * from customers where seen < '{{ as_of }}'"))

    assert ended.state == "success", ended.message
    assert ended.xcom["facts"]["rows"] == 150
    table = pq.read_table(ended.xcom["artifacts"]["dataset"]["uri"].removeprefix("file://"))
    assert {field.name: str(field.type) for field in table.schema if field.name in ("seen", "age")} == {
        "seen": "timestamp[us, tz=UTC]",
        "age": "double",
    }


def test_a_changed_table_is_read_again_and_an_equal_one_gives_the_same(worker: Any, warehouse: Path) -> None:
    task = sql_task("select * from customers")
    first, second = worker.run(task), worker.run(task)
    with sqlite3.connect(warehouse) as database:
        database.execute("delete from customers where id = 'c0'")
    database.close()
    third = worker.run(task)

    digests = [ended.xcom["artifacts"]["dataset"]["sha256"] for ended in (first, second, third)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("select * from absent", "the query on 'warehouse' failed: got .*no such table: absent"),
        ("selct", "the query on 'warehouse' failed: got .*syntax error"),
    ],
)
def test_a_wrong_query_is_one_error(warehouse: Path, query: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        list(read_sql("warehouse", query))


@pytest.mark.parametrize(
    ("conn_id", "words"),
    [
        ("nowhere", "connection 'nowhere' is not defined"),
        ("models", "connection 'models' is not a database connection: got mlflow"),
        (
            "strange",
            "connection 'strange' cannot be used: got .*Install the Airflow provider of connection type 'oddb'",
        ),
    ],
)
def test_a_connection_that_is_no_database_fails_the_task_in_words(
    worker: Any, connection: Callable[..., None], conn_id: str, words: str
) -> None:
    connection("models", conn_type="mlflow", host="http://mlflow")
    connection("strange", conn_type="oddb", host="there")

    ended = worker.run(sql_task("select 1", conn_id))

    assert ended.state == "failed"
    assert re.match(words, ended.message)
