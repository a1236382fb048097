from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mlops_provider.exceptions import RegistryError, TransientServiceError
from airflow_mlops_provider.registry import PromotionRequest, Publication, Registry
from airflow_mlops_provider.registry.client import Connection

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("uri", ["mlruns", "./mlruns", "/data/mlruns", "file:///data/mlruns", ""])
def test_the_file_store_is_refused(uri: str) -> None:
    with pytest.raises(RegistryError, match="file store cannot hold a ledger.*sqlite:////data/mlflow.db"):
        Registry.connect(uri)
    with pytest.raises(RegistryError, match="file store"):
        Registry.connect("http://mlflow", registry_uri=uri or "./x")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("ftp://host", "unknown scheme"),
        ("databricks", "file store"),
        ("sqlite://", "in-memory"),
        ("sqlite:///:memory:", "in-memory"),
    ],
)
def test_other_uris_are_refused(uri: str, message: str) -> None:
    with pytest.raises(RegistryError, match=message):
        Registry.connect(uri)


@pytest.mark.parametrize(
    "uri", ["http://h:1", "https://h", "sqlite:////d/x.db", "postgresql+psycopg2://u:p@h/db", "mysql://h/db"]
)
def test_servers_and_databases_are_taken_without_reaching_them(uri: str) -> None:
    Registry.connect(uri)


def test_connecting_imports_no_mlflow() -> None:
    code = (
        "import sys; from airflow_mlops_provider.registry import Registry; Registry.connect('http://h');"
        "print([m for m in ('mlflow', 'pandas', 'numpy', 'sqlalchemy', 'requests') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_publishing_again_imports_neither_sklearn_nor_pyfunc(
    registry: Registry, mlflow_uri: str, publication: Callable[..., Publication], tmp_path: Path
) -> None:
    wanted = publication()
    registry.publish(wanted)
    import pickle

    (tmp_path / "publication").write_bytes(pickle.dumps(wanted))
    code = (
        "import pickle, sys; from airflow_mlops_provider.registry import Registry;"
        f"Registry.connect({mlflow_uri!r}).publish(pickle.load(open({str(tmp_path / 'publication')!r}, 'rb')));"
        "print([m for m in ('sklearn', 'mlflow.pyfunc.model', 'mlflow.sklearn.utils') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_mlflow_down_is_transient_and_names_the_address(
    closed_port: int,
    publication: Callable[..., Publication],
    request_for: Callable[..., PromotionRequest],
) -> None:
    registry = Registry.connect(f"http://ann:hush@127.0.0.1:{closed_port}")
    calls: list[Callable[[], Any]] = [
        registry.ping,
        lambda: registry.publish(publication()),
        lambda: registry.history("flights"),
        lambda: registry.promote(request_for(1, day=1)),
        lambda: registry.reconcile("flights"),
    ]
    started = time.monotonic()
    for call in calls:
        with pytest.raises(TransientServiceError, match=rf"http://ann:\*\*\*@127.0.0.1:{closed_port} ") as caught:
            call()
        assert "hush" not in "".join(traceback.format_exception(caught.value))
    assert time.monotonic() - started < 10


def test_a_locked_database_is_transient(mlflow_uri: str) -> None:
    import sqlite3

    import sqlalchemy.exc
    from mlflow.exceptions import MlflowException

    def locked(_: Any) -> None:
        try:
            raise sqlalchemy.exc.OperationalError("INSERT", {}, sqlite3.OperationalError("database is locked"))
        except sqlalchemy.exc.OperationalError as error:
            raise MlflowException(str(error), error_code=500) from error

    with pytest.raises(TransientServiceError, match="was busy while testing: got .*database is locked"):
        Connection(mlflow_uri).once("testing", locked)


@pytest.mark.parametrize(
    "message",
    [
        'FATAL:  password authentication failed for user "mlflow"',
        'FATAL:  database "mlflow" does not exist',
        "(1045, \"Access denied for user 'mlflow'@'db'\")",
        "(1049, \"Unknown database 'mlflow'\")",
    ],
)
def test_a_database_that_refuses_the_connection_is_not_asked_again(mlflow_uri: str, message: str) -> None:
    import sqlalchemy.exc

    def refused(_: Any) -> None:
        raise sqlalchemy.exc.OperationalError(None, None, Exception(message))

    with pytest.raises(RegistryError, match="refused while testing"):
        Connection(mlflow_uri).once("testing", refused)


def test_a_missing_folder_of_the_database_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=f"folder of MLflow's database is missing: {tmp_path}/no"):
        Registry.connect(f"sqlite:///{tmp_path}/no/mlflow.db").ping()


#: What root may not do either, once it gives up to pass over permissions.
_AS_ANYBODY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]


def test_a_database_that_cannot_be_opened_is_said_at_once(tmp_path: Path, mlflow_uri: str) -> None:
    database = Path(mlflow_uri.removeprefix("sqlite:///"))
    places = {}
    for name, file_mode, folder_mode in (
        ("file", 0o000, 0o755),
        ("read-only file", 0o444, 0o755),
        ("read-only folder", 0o644, 0o555),
        ("folder", 0o644, 0o000),
    ):
        folder = tmp_path / name.replace(" ", "-")
        folder.mkdir()
        shutil.copy(database, folder / "mlflow.db").chmod(file_mode)
        folder.chmod(folder_mode)
        places[name] = folder / "mlflow.db"
    places["new file"] = places["read-only folder"].with_name("new.db")
    (tmp_path / "text.db").write_text("no database, and long enough to be read as the head of one. " * 20)
    (tmp_path / "folder.db").mkdir()
    places |= {"text": tmp_path / "text.db", "a folder": tmp_path / "folder.db"}
    code = """
import json, sys, time
from airflow_mlops_provider.exceptions import RegistryError
from airflow_mlops_provider.registry import Registry
import mlflow
errors = {}
for name, file in json.loads(sys.argv[1]).items():
    started = time.monotonic()
    try:
        Registry.connect(f"sqlite:///{file}").ping()
    except RegistryError as error:
        errors[name] = [str(error), time.monotonic() - started]
print(json.dumps(errors))
"""
    command = [*(_AS_ANYBODY if os.geteuid() == 0 else []), sys.executable, "-c", code]
    given = json.dumps({name: str(file) for name, file in places.items()})
    done = subprocess.run([*command, given], capture_output=True, text=True, check=True)
    for folder in tmp_path.iterdir():
        folder.chmod(0o755)

    message = json.loads(done.stdout.splitlines()[-1])
    assert message.keys() == places.keys()
    assert all(seconds < 10 for _, seconds in message.values()), message
    for name in ("file", "read-only file", "read-only folder", "folder", "new file"):
        assert "MLflow's database cannot be used: this process (user id " in message[name][0]
        assert "cannot read and write" in message[name][0]
        assert "Let this user read and write it (chown, chmod)" in message[name][0]
    assert "file is not a database" in message["text"][0]
    assert f"MLflow's database is not a file: {tmp_path}/folder.db" in message["a folder"][0]


def test_ping_says_that_mlflow_answers(registry: Registry, mlflow_uri: str) -> None:
    assert registry.ping() == f"MLflow at {mlflow_uri} answers."


def test_an_mlflow_error_is_told_in_its_words(mlflow_uri: str) -> None:
    with pytest.raises(RegistryError, match=r"refused while reading: got Run with id=0+ not found"):
        Connection(mlflow_uri).retried("reading", lambda client: client.get_run("0" * 32))


def test_settings_hold_only_during_a_call(mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "before")
    connection = Connection(
        mlflow_uri, environment={"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": "hush"}
    )
    names = ["MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_HTTP_REQUEST_MAX_RETRIES"]

    def look(_: Any) -> list[str | None]:
        return [os.environ.get(name) for name in names]

    assert connection.retried("looking", look) == ["ann", "hush", "1"]
    assert connection.once("looking", look) == ["ann", "hush", "0"]
    assert look(None) == ["before", None, None]


def test_a_deleted_experiment_of_the_same_name_is_a_clear_error(
    registry: Registry, client: Any, publication: Callable[..., Publication]
) -> None:
    experiment = client.create_experiment("flights")
    client.delete_experiment(experiment)
    with pytest.raises(RegistryError, match=f"'flights' .* was deleted. .*--experiment-id {experiment}"):
        registry.publish(publication())


def test_a_bare_database_needs_a_folder_for_files() -> None:
    connection = Connection("postgresql://u:hush@h/db")
    with pytest.raises(RegistryError, match=r"u:\*\*\*@h/db is a bare database.*artifact_root"):
        connection.artifact_location("flights")
    assert Connection("postgresql://h/db", artifact_root="s3://b/x/").artifact_location("a/b") == "s3://b/x/a%2Fb"
    assert Connection("http://h").artifact_location("flights") is None
