from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from made_up import write_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastapi import FastAPI
    from fastapi.testclient import TestClient

PROJECT = Path(__file__).resolve().parents[4]
KINDS = ("training", "scoring", "monitoring", "rollback")
RESULTS = [("can_read", "XComs"), ("can_read", "DAG Runs")]
#: Users by name, and what they may: Airflow's own roles by name, others by their permissions.
USERS: dict[str, str | list[tuple[str, str]]] = {
    "nobody": [],
    "viewer": "Viewer",
    "reader of churn": [*RESULTS, *(("can_read", f"DAG:churn_{kind}") for kind in KINDS)],
    "trainer of churn": [
        *RESULTS,
        *((may, f"DAG:churn_{kind}") for kind in KINDS for may in ("can_read", "can_edit")),
        ("can_create", "DAG Runs"),
    ],
    "reader of churn without results": [("can_read", f"DAG:churn_{kind}") for kind in KINDS],
    "reader of churn's training": [*RESULTS, ("can_read", "DAG:churn_training")],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    """Airflow's API server with the users and permissions of FAB, and the DAGs of two pipelines."""
    home = tmp_path_factory.mktemp("server")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        # FAB 3.10 starts on parts of Flask-AppBuilder and Airflow that are deprecated.
        warnings.simplefilter("ignore")
        for name, value in {
            "_AIRFLOW_PROCESS_CONTEXT": "server",
            "AIRFLOW__API__SECRET_KEY": "s" * 64,
            "AIRFLOW__API_AUTH__JWT_SECRET": "s" * 64,
            "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
            "AIRFLOW__MLOPS__PIPELINES_FOLDER": str(home),
        }.items():
            patch.setenv(name, value)
        from airflow.api_fastapi.app import create_app, get_auth_manager, purge_cached_app
        from airflow.utils.db import initdb

        initdb()
        app = create_app(apps="core")
        write_users(get_auth_manager())
        write_dags(home)
        yield app
        purge_cached_app()
        forget_database()


def forget_database() -> None:
    """Take Airflow's database away again: the tests of other files know a process without one."""
    from airflow import settings
    from airflow.configuration import conf

    settings.dispose_orm(do_log=False)
    Path(conf.get("database", "sql_alchemy_conn").removeprefix("sqlite:///")).unlink()
    settings.configure_orm()


def write_users(manager: Any) -> None:
    with manager.flask_app.app_context():
        security = manager.security_manager
        for name, may in USERS.items():
            role = may if isinstance(may, str) else name
            if not isinstance(may, str):
                security.bulk_sync_roles([{"role": name, "perms": may}])
            security.add_user(name, name, name, f"{name}@example.org", security.find_role(role), password="secret")


def write_dags(home: Path) -> None:
    """Write the DAGs of `churn` and of `secret` into Airflow's tables, as its DAG processor does."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    for pipeline in ("churn", "secret"):
        write_pipeline(home, pipeline)
    bag = DagBag(PROJECT / "dags" / "pipelines.py")
    assert len(bag.dags) == 8
    DagBundlesManager().sync_bundles_to_db()
    sync_bag_to_db(bag, "dags-folder", None)


@pytest.fixture
def folder(tmp_path: Path, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of pipelines, with one of them, beside an MLflow."""
    place = tmp_path / "pipelines"
    place.mkdir()
    monkeypatch.setenv("AIRFLOW__MLOPS__PIPELINES_FOLDER", str(place))
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_URI", str(tmp_path / "artifacts"))
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "mlflow", "host": mlflow_uri}))
    write_pipeline(place, "churn")
    return place


@pytest.fixture
def browser(server: FastAPI, folder: Path) -> Callable[..., TestClient]:
    """Gives a user's browser; that of a stranger without a name."""
    from airflow.api_fastapi.app import get_auth_manager
    from fastapi.testclient import TestClient

    def logged_in(name: str | None = None) -> TestClient:
        client = TestClient(server, follow_redirects=False)
        if name is not None:
            manager: Any = get_auth_manager()
            with manager.flask_app.app_context():
                user = manager.security_manager.find_user(name)
            client.cookies.set("_token", manager.generate_jwt(user, expiration_time_in_seconds=600))
        return client

    return logged_in
