from __future__ import annotations

import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from made_up import write_ledger, write_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fastapi.testclient import TestClient
    from httpx2 import Response

EVIL = "</script><script>alert(1)</script>"
REPORTS = {f"/reports/{{dag_id}}/{{run_id}}/{{task_id}}/{{map_index}}{role}" for role in ("", "/{role}")}
VERSION = "/models/{pipeline}/versions/{version}/{page}"


def routes() -> list[Any]:
    from airflow_mlops_provider.ui.app import pages

    return list(pages().routes)


def addresses(pipeline: str, /, **others: str) -> dict[str, str]:
    """Every route's path, and an address of it.

    :param others: values of the path's parts.
    """
    values = {
        "pipeline": pipeline,
        "dag_id": f"{pipeline}_training",
        "run_id": "manual__2026-01-01T00:00:00+00:00",
        "task_id": "evaluate",
        "map_index": "-1",
        "role": "report",
        "window": "2026-01-01",
        "version": "1",
        "page": "card",
        "name": "mlops.css",
        **others,
    }
    return {route.path: "/mlops" + route.path.format(**values) for route in routes()}


def answers(client: TestClient, pipeline: str) -> dict[str, int]:
    return {path: client.get(address).status_code for path, address in addresses(pipeline).items()}


#: Routes that name no DAG: files of this package, a list of what one may see, and what leads there.
OF_NO_DAG = {"/", "/models", "/static/{name}"}


def test_every_route_asks_for_a_login(browser: Callable[..., TestClient]) -> None:
    assert answers(browser(), "churn") == dict.fromkeys(addresses("churn"), 401)


@pytest.mark.parametrize(
    ("user", "open_to_them"),
    [
        ("nobody", set()),
        ("reader of churn without results", set()),
        ("reader of churn's training", {"/models/{pipeline}", VERSION, *REPORTS}),
        ("reader of churn", {"/models/{pipeline}", "/models/{pipeline}/windows/{window}", VERSION, *REPORTS}),
    ],
)
def test_every_route_of_a_dag_is_closed_to_whom_the_dag_is(
    browser: Callable[..., TestClient], folder: Path, user: str, open_to_them: set[str]
) -> None:
    write_pipeline(folder, "secret")
    client = browser(user)
    own, others = answers(client, "churn"), answers(client, "secret")
    assert {path for path, status in others.items() if status != 403} == OF_NO_DAG
    assert {path for path, status in own.items() if status != 403} == OF_NO_DAG | open_to_them
    assert 401 not in own.values()


def test_a_user_sees_the_pipelines_whose_dag_is_theirs(browser: Callable[..., TestClient], folder: Path) -> None:
    write_pipeline(folder, "secret")
    shown = {user: browser(user).get("/mlops/models").text for user in ("viewer", "reader of churn", "nobody")}
    assert {user: [name for name in ("churn", "secret") if name in page] for user, page in shown.items()} == {
        "viewer": ["churn", "secret"],
        "reader of churn": ["churn"],
        "nobody": [],
    }


def trigger(client: TestClient, dag: str, **request: Any) -> Response:
    """Ask for a run as the page does it."""
    body = {"logical_date": None, "conf": {"reason": "Prices rose."}, "note": "Prices rose."}
    return client.post(f"/api/v2/dags/{dag}/dagRuns", **{"json": body, **request})


def test_only_who_may_start_a_dag_sees_its_button_and_can_use_it(
    browser: Callable[..., TestClient], folder: Path, mlflow_uri: str
) -> None:
    write_ledger(mlflow_uri, "churn", entries=2)
    reader, trainer = browser("reader of churn"), browser("trainer of churn")
    buttons = [re.findall('data-dialog="([a-z]+)"', one.get("/mlops/models/churn").text) for one in (reader, trainer)]
    assert buttons == [[], ["retrain", "rollback"]]
    for dag in ("churn_training", "churn_rollback"):
        assert trigger(reader, dag).status_code == 403
        started = trigger(trainer, dag)
        assert (started.status_code, started.json()["triggering_user_name"]) == (200, "trainer of churn")
        assert (started.json()["note"], started.json()["conf"]) == ("Prices rose.", {"reason": "Prices rose."})
    assert trigger(trainer, "secret_training").status_code == 403


def test_a_foreign_page_can_start_nothing_in_the_name_of_whom_it_shows_itself_to(
    browser: Callable[..., TestClient],
) -> None:
    # The session's cookie does not come along with what another site asks...
    client = browser()
    form = re.search('name="csrf_token"[^>]* value="([^"]+)"', client.get("/auth/login/").text)
    assert form is not None
    login = {"username": "trainer of churn", "password": "secret", "csrf_token": form[1]}
    cookies = client.post("/auth/login/", data=login).headers.get_list("set-cookie")
    [token] = [cookie for cookie in cookies if cookie.startswith("_token=")]
    assert {"HttpOnly", "SameSite=Lax"} <= set(token.split("; "))
    # ... and what another port or name of this site may send without being asked back is no JSON.
    origin = {"Origin": "http://elsewhere.testserver", "Sec-Fetch-Site": "same-site"}
    trainer = browser("trainer of churn")
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        reported = trigger(trainer, "churn_training", json=None, content="{}", headers={**origin, "Content-Type": kind})
        assert reported.status_code == 422, kind
    requested = {**origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    preflight = trainer.options("/api/v2/dags/churn_training/dagRuns", headers=requested)
    assert "access-control-allow-origin" not in preflight.headers


def test_nothing_can_be_changed_by_a_request_and_no_route_is_described() -> None:
    assert {method for route in routes() for method in route.methods} == {"GET"}
    assert not any("docs" in route.path or "openapi" in route.path for route in routes())


def test_a_page_loads_nothing_from_elsewhere_and_stands_in_no_foreign_frame(browser: Callable[..., TestClient]) -> None:
    page = browser("viewer").get("/mlops/models")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self'" in policy
    assert "unsafe" not in policy
    assert "http://" not in page.text
    assert "https://" not in page.text


#: What no page has, but a person, a script or a broken link may ask for.
ODD = ["9" * 30, "-" + "9" * 30, "1" * 5000, "2147483648", "1.5", "a%00b", "%FF", "x" * 1000, "2013-01-01T25:00Z", ".."]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd[:32])
def test_an_odd_address_is_no_error_of_the_server(browser: Callable[..., TestClient], folder: Path, odd: str) -> None:
    client, known = browser("reader of churn"), addresses("churn")
    requested = [f"{known['/models/{pipeline}']}?{name}={odd}" for name in ("first", "second", "theme", "other")]
    requested += [f"{known[VERSION]}?theme={odd}"]
    for path in known:
        for name in re.findall(r"\{(\w+)\}", path):
            requested.append(addresses("churn", **{name: odd})[path])
    found = {address: client.get(address) for address in requested}
    assert {address: answer.text for address, answer in found.items() if answer.status_code >= 500} == {}


def test_only_files_of_the_package_are_served(browser: Callable[..., TestClient]) -> None:
    viewer = browser("viewer")
    assert viewer.get("/mlops/static/mlops.js").headers["content-type"].startswith("text/javascript")
    assert [viewer.get(f"/mlops/static/{name}").status_code for name in ("nothing.css", "..%2Fapp.py")] == [404, 404]


def test_what_people_write_is_text_in_the_pages(browser: Callable[..., TestClient], folder: Path) -> None:
    write_pipeline(folder, "evil", description=EVIL)
    viewer = browser("viewer")
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
    viewer = browser("viewer")
    assert 'url=/mlops/models"' in viewer.get("/mlops/").text
    assert "the folder of MLflow&#39;s database is missing" in viewer.get("/mlops/models").text
    page = viewer.get("/mlops/models/churn")
    assert page.status_code == 500
    assert "the folder of MLflow&#39;s database is missing" in page.text


@pytest.mark.parametrize(
    "host",
    [
        "me:hunter2@mlflow",
        "http://me:hunter2#battery@mlflow",
        "http://me:hunter2/battery@mlflow",
        "http://me:hunter2@[::1",
        "redis://:hunter2@mlflow:6379/0",
        "file://me:hunter2@mlflow/x",
        "sqlite:////no/way.db?key=hunter2",
        "sqlite://?password=hunter2",
        "jdbc:postgresql://mlflow/x?user=me&password=hunter2",
        "postgresql://me:hunter2@mlflow:port/x",
    ],
)
def test_a_viewer_reads_no_password_on_any_page(
    host: str, browser: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", json.dumps({"conn_type": "mlflow", "host": host}))
    viewer = browser("viewer")
    for page in ("/mlops/models", "/mlops/models/churn"):
        text = viewer.get(page).text
        assert "MLflow" in text
        assert "hunter2" not in text
        assert "battery" not in text


def test_an_mlflow_that_never_answers_holds_up_one_page_and_no_other(
    browser: Callable[..., TestClient], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pipeline(folder, "second")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        silence = {"conn_type": "mlflow", "host": address, "extra": {"timeout": 1}}
        monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_SILENT", json.dumps(silence))
        for name in ("churn", "second"):
            write_pipeline(folder, name, promotion={"conn_id": "mlflow_silent"})
        viewer, pages = browser("viewer"), ("models", "models", "models/churn", "models/second")
        started = time.monotonic()
        with ThreadPoolExecutor(len(pages)) as crowd:
            shown = list(crowd.map(lambda page: viewer.get(f"/mlops/{page}"), pages))
        assert time.monotonic() - started < 6
    assert [one.status_code for one in shown] == [200, 200, 503, 503]
    assert {one.text.count("did not answer") for one in shown} == {1}
    assert {one.text.count("unavailable") for one in shown[:2]} == {2}


def test_a_store_that_does_not_answer_is_not_taken_for_mlflow_and_holds_up_no_other_page(
    browser: Callable[..., TestClient], mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_mlops_provider.exceptions import TransientServiceError
    from airflow_mlops_provider.ui import one_model

    requested, ended = Event(), Event()

    def wait(*_: Any) -> None:
        requested.set()
        ended.wait(20)
        raise TransientServiceError("S3 is throttling requests")

    write_ledger(mlflow_uri, "churn", entries=1)
    monkeypatch.setattr(one_model, "version_sheet", wait)
    viewer = browser("viewer")
    with ThreadPoolExecutor(2) as crowd:
        waits = crowd.submit(viewer.get, "/mlops/models/churn")
        assert requested.wait(20)
        other = crowd.submit(viewer.get, "/mlops/models").result(10)
        ended.set()
        assert waits.result().status_code == 503
    for page in (other, viewer.get("/mlops/models")):
        assert "version 1" in page.text
        assert "S3" not in page.text


def test_twenty_pipelines_are_shown_with_as_many_queries_as_five(
    browser: Callable[..., TestClient], folder: Path, mlflow_uri: str
) -> None:
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    requested: list[str] = []
    viewer = browser("viewer")

    def count(*call: Any) -> None:
        requested.append(call[2])

    def queries(pipelines: range) -> int:
        """Return how many queries a page with these pipelines too takes, once it has been shown."""
        for number in pipelines:
            write_pipeline(folder, f"pipeline_{number:02d}")
            write_ledger(mlflow_uri, f"pipeline_{number:02d}", entries=3)
        assert viewer.get("/mlops/models").text.count("version 3") == pipelines.stop
        requested.clear()
        viewer.get("/mlops/models")
        return len(requested)

    event.listen(Engine, "before_cursor_execute", count)
    try:
        few, many = queries(range(5)), queries(range(5, 20))
    finally:
        event.remove(Engine, "before_cursor_execute", count)
    assert 0 < many == few


@pytest.mark.parametrize("scripts", [False, True])
def test_a_stored_report_has_no_origin_and_reaches_nothing(scripts: bool) -> None:
    from airflow_mlops_provider.ui.rendering import sandboxed

    policy = sandboxed(b"<p>drift</p>", scripts=scripts).headers["content-security-policy"].split("; ")
    assert policy[0] == ("sandbox allow-scripts" if scripts else "sandbox")
    assert "default-src 'none'" in policy
    assert [rule for rule in policy if rule.startswith("script-src")] == ["script-src 'unsafe-inline'"] * scripts
    assert not any("allow-same-origin" in rule or rule.startswith("connect-src") for rule in policy)


def test_a_stored_report_follows_the_theme_of_airflow() -> None:
    from airflow_mlops_provider.reports import page
    from airflow_mlops_provider.ui.rendering import sandboxed

    stored = page("Drift", [], []).encode()
    assert b"(prefers-color-scheme:dark)" in bytes(sandboxed(stored, scripts=False).body)
    dark, light = (bytes(sandboxed(stored, scripts=False, theme=theme).body) for theme in ("dark", "light"))
    assert (b"and (min-width:0){" in dark, b"and (max-width:0){" in light) == (True, True)
    assert not any(b"prefers-color-scheme" in one or b"light dark" in one for one in (dark, light))
