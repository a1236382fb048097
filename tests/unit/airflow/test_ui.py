"""The pages in Airflow's UI: who may see them, and what they show."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from airflow_mlops_provider.registry import LedgerEntry
from airflow_mlops_provider.results import ArtifactRef

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fastapi.testclient import TestClient

#: What stands for each parameter of a route.
VALUES = {
    "pipeline": "churn",
    "dag_id": "churn_training",
    "run_id": "manual__2026-01-01T00:00:00+00:00",
    "task_id": "evaluate",
    "map_index": "-1",
    "role": "report",
    "window": "2026-01-01",
    "name": "mlops.css",
}
EVIL = "</script><script>alert(1)</script>"


@pytest.fixture(scope="module")
def _airflow() -> Iterator[None]:
    """Airflow's own tables and login, as its API server has them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
        patch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "s" * 64)
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "True")
        import airflow.models
        from airflow import settings
        from airflow.api_fastapi.app import init_auth_manager
        from airflow.models.base import Base

        airflow.models.import_all_models()
        Base.metadata.create_all(settings.engine)
        init_auth_manager()
        yield


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


def write_pipeline(folder: Path, name: str, **changes: Any) -> None:
    spec = {
        "name": name,
        "task": "binary",
        "data": {"source": {"uri": "rows.csv"}, "columns": {"target": "left", "numeric": ["age"]}},
        "preparation": {"split": {"by": "random"}},
        "training": {"candidates": {"plain": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
        "scoring": {},
        "monitoring": {},
        **changes,
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")


@pytest.fixture
def browser(_airflow: None, folder: Path) -> Callable[..., TestClient]:
    """Gives a browser of a user with a role of Airflow's simple login; of nobody without a name."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from airflow_mlops_provider.plugin import MLOpsPlugin

    server = FastAPI(openapi_url=None)
    for mounted in MLOpsPlugin.fastapi_apps:
        server.mount(mounted["url_prefix"], mounted["app"])

    def logged_in(name: str | None = None, role: str | None = None) -> TestClient:
        client = TestClient(server)
        if name is not None:
            user = SimpleAuthManagerUser(username=name, role=role)
            client.cookies.set("_token", get_auth_manager().generate_jwt(user, expiration_time_in_seconds=600))
        return client

    return logged_in


def routes() -> list[Any]:
    from airflow_mlops_provider.ui.app import pages

    return list(pages().routes)


def addresses() -> dict[str, str]:
    """Every route's path, and an address of it."""
    return {route.path: "/mlops" + route.path.format(**VALUES) for route in routes()}


def test_every_route_asks_for_a_login(browser: Callable[..., TestClient]) -> None:
    stranger = browser()
    assert {path: stranger.get(address).status_code for path, address in addresses().items()} == dict.fromkeys(
        addresses(), 401
    )


def test_every_route_of_a_pipeline_or_a_task_asks_for_permission_on_its_dag(browser: Callable[..., TestClient]) -> None:
    nobody = browser("nobody", role=None)
    answers = {path: nobody.get(address).status_code for path, address in addresses().items()}
    # Those that are left name no DAG: one is files of this package, the other is empty for whom may see nothing.
    assert {path for path, status in answers.items() if status != 403} == {"/models", "/static/{name}"}
    assert "churn" not in nobody.get("/mlops/models").text


def test_a_user_sees_the_pipelines_whose_dag_is_theirs(
    browser: Callable[..., TestClient], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.api_fastapi.app import get_auth_manager

    write_pipeline(folder, "secret")
    viewer = browser("viewer", role="VIEWER")
    assert all(name in viewer.get("/mlops/models").text for name in ("churn", "secret"))
    monkeypatch.setattr(
        get_auth_manager(), "is_authorized_dag", lambda *, details=None, **_: details.id == "churn_training"
    )
    shown = viewer.get("/mlops/models").text
    assert "churn" in shown
    assert "secret" not in shown
    assert viewer.get("/mlops/models/churn").status_code == 200
    assert viewer.get("/mlops/models/secret").status_code == 403


def test_nothing_can_be_changed_by_a_request_and_no_route_is_described() -> None:
    assert {method for route in routes() for method in route.methods} == {"GET"}
    assert not any("docs" in route.path or "openapi" in route.path for route in routes())


def test_a_page_loads_nothing_from_elsewhere_and_stands_in_no_foreign_frame(browser: Callable[..., TestClient]) -> None:
    page = browser("viewer", role="VIEWER").get("/mlops/models")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy
    assert "unsafe" not in policy
    assert "http://" not in page.text
    assert "https://" not in page.text


def test_only_files_of_the_package_are_served(browser: Callable[..., TestClient]) -> None:
    viewer = browser("viewer", role="VIEWER")
    assert viewer.get("/mlops/static/mlops.js").headers["content-type"].startswith("text/javascript")
    assert [viewer.get(f"/mlops/static/{name}").status_code for name in ("nothing.css", "..%2Fapp.py")] == [404, 404]


def test_what_people_write_is_text_in_the_pages(browser: Callable[..., TestClient], folder: Path) -> None:
    write_pipeline(folder, "evil", description=EVIL)
    viewer = browser("viewer", role="VIEWER")
    for page in ("/mlops/models", "/mlops/models/evil"):
        shown = viewer.get(page).text
        assert "alert(1)" in shown
        assert EVIL not in shown


def test_trouble_with_mlflow_is_said_in_the_page(
    browser: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "mlflow", "host": "sqlite:////no/way.db"})
    )
    viewer = browser("viewer", role="VIEWER")
    assert "the folder of MLflow&#39;s database is missing" in viewer.get("/mlops/models").text
    page = viewer.get("/mlops/models/churn")
    assert page.status_code == 500
    assert "the folder of MLflow&#39;s database is missing" in page.text


def test_twenty_pipelines_are_shown_with_as_many_queries_as_five(
    browser: Callable[..., TestClient], folder: Path, mlflow_uri: str
) -> None:
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    asked: list[str] = []
    viewer = browser("viewer", role="VIEWER")

    def count(*call: Any) -> None:
        asked.append(call[2])

    def queries(pipelines: range) -> int:
        """Return how many queries a page with these pipelines too takes, once it has been shown."""
        for number in pipelines:
            write_pipeline(folder, f"pipeline_{number:02d}")
            write_ledger(mlflow_uri, f"pipeline_{number:02d}", entries=3)
        assert viewer.get("/mlops/models").text.count("version 3") == pipelines.stop
        asked.clear()
        viewer.get("/mlops/models")
        return len(asked)

    event.listen(Engine, "before_cursor_execute", count)
    try:
        few, many = queries(range(5)), queries(range(5, 20))
    finally:
        event.remove(Engine, "before_cursor_execute", count)
    assert 0 < many == few


def write_ledger(mlflow_uri: str, model: str, entries: int) -> None:
    """Write a ledger at once, in the form in which it grows entry by entry."""
    from mlflow import MlflowClient
    from mlflow.entities import Param

    client = MlflowClient(mlflow_uri)
    shared = client.get_experiment_by_name("mlops-ledger")
    run = client.create_run(shared.experiment_id if shared else client.create_experiment("mlops-ledger"))
    client.create_experiment(f"ledger/{model}", tags={"run": run.info.run_id})
    written = [entry(number).model_copy(update={"nonce": str(number)}) for number in range(1, entries + 1)]
    client.log_batch(run.info.run_id, params=[Param(f"seq-{one.seq}", one.render()) for one in written])


def entry(number: int) -> LedgerEntry:
    moment, sha = datetime(2026, 1, number, tzinfo=UTC), "a" * 64
    return LedgerEntry(
        seq=number,
        idem=str(number),
        version=number,
        digest=f"digest-{number}",
        sha256=sha,
        artifact=ArtifactRef(uri=f"file:///store/{sha}.skops", sha256=sha, size=3),
        lineage=f"lineage-{number}",
        order_key=moment,
        at=moment,
        metrics={"roc_auc": 0.7, "log_loss": 0.5},
        gates=[["champion", True, "roc_auc 0.7", "better than 0.69"]] * 6,
        reason="all 6 gates passed",
    )


@pytest.mark.parametrize("scripts", [False, True])
def test_a_stored_report_has_no_origin_and_reaches_nothing(scripts: bool) -> None:
    from airflow_mlops_provider.ui.rendering import sandboxed

    policy = sandboxed(b"<p>drift</p>", scripts=scripts).headers["content-security-policy"].split("; ")
    assert policy[0] == ("sandbox allow-scripts" if scripts else "sandbox")
    assert "default-src 'none'" in policy
    assert [rule for rule in policy if rule.startswith("script-src")] == ["script-src 'unsafe-inline'"] * scripts
    assert not any("allow-same-origin" in rule or rule.startswith("connect-src") for rule in policy)
