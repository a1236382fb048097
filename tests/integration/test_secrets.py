from __future__ import annotations

import json
import secrets
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from conftest import PROJECT
from generated import pipeline, write_csv
from leftovers import Leftovers
from runs import Run
from services.ceph import ceph
from services.mlflow_server import mlflow_server

from local_airflow import LocalAirflow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from services.ceph import Ceph
    from services.mlflow_server import MlflowServer

NAME, USER = "confidential", "trainer"
#: With what percent-encoding and JSON would change in it.
RIGHT, WRONG = (f"sentinel-{word}/{secrets.token_hex(8)}+%" for word in ("right", "wrong"))
#: What is to be found in each kind of place; a search that looked past one would find no secret there either.
CONTROL = {
    "/airflow.db": NAME,
    "/logs/scheduler.log": NAME,
    "/logs/api-server.log": "/execution/",
    f"/dag_id={NAME}_training/": "did not accept user",
    "/mlflow.db": NAME,
    "/server.log": "/api/2.0/mlflow/runs/create",
    "/artifacts/": NAME,
    "/mlflow/1/models/": "python_function",
}
#: What leaks on purpose, and where it has to be found: a search that misses one would miss a secret as well.
LEAKS = {
    "logged": "/logs/dag_id=leaking/",
    "returned": "/airflow.db",
    "rendered": "/airflow.db",
    "tagged": "/mlflow.db",
}
PLANTED = {name: f"sentinel-{name}/{secrets.token_hex(8)}+%" for name in LEAKS}
#: Their values come by Airflow variables: they are not in this text, which Airflow keeps too.
LEAKING = """
from airflow.sdk import Variable, dag, task

@dag(schedule=None)
def leaking():
    @task
    def leak(templated):
        print(Variable.get("logged"))
        return Variable.get("returned")

    leak("{{ var.value.rendered }}")

leaking()
"""


class World:
    """An Airflow whose every connection holds a secret, and what it works with."""

    def __init__(self, airflow: LocalAirflow, server: MlflowServer, s3: Ceph, bucket: str) -> None:
        self.airflow, self.server, self.s3, self.bucket = airflow, server, s3, bucket

    def leftovers(self) -> Leftovers:
        return Leftovers([self.airflow.home, self.server.folder], self.s3, self.bucket)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, databases: Path, migrated_mlflow: Path) -> Iterator[World]:
    home = tmp_path_factory.mktemp("secrets")
    (home / "pipelines").mkdir()
    bucket, folder = "confidential-bucket", tmp_path_factory.mktemp("mlflow")
    shutil.copy(migrated_mlflow, folder)
    with ExitStack() as stack, ThreadPoolExecutor() as threads:
        starting = threads.submit(stack.enter_context, ceph())
        server = stack.enter_context(
            mlflow_server(folder, password=secrets.token_hex(16), artifacts=f"s3://{bucket}/mlflow", direct=True)
        )
        s3 = starting.result()
        s3.client().create_bucket(Bucket=bucket)
        server.add_user(USER, RIGHT)
        csv = home / "pipelines" / f"{NAME}.csv"
        write_csv(csv)
        spec = pipeline(NAME, csv, promotion={"conn_id": "models"}, scoring={})
        (home / "pipelines" / f"{NAME}.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
        environment = {
            "AIRFLOW__MLOPS__ARTIFACTS_URI": f"s3://{bucket}/artifacts",
            "AIRFLOW__MLOPS__ARTIFACTS_CONN_ID": "store",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
            "AIRFLOW__MLOPS__WARM_IMPORTS": "True",
            # Everything that any library says.
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
            **{f"AIRFLOW_VAR_{name.upper()}": value for name, value in PLANTED.items()},
        }
        dags = shutil.copytree(PROJECT / "dags", home / "dags")
        (dags / "leaking.py").write_text(LEAKING, encoding="utf-8")
        airflow = LocalAirflow(
            home, dags=dags, pipelines=home / "pipelines", environment=environment, databases=databases
        )
        stack.enter_context(airflow)
        store = {"login": s3.user.access_key, "password": s3.user.secret_key}
        add(airflow, "store", "aws", **store, extra={"endpoint_url": s3.endpoint, "region_name": "us-east-1"})
        add(airflow, "models", "mlflow", host=server.url, login=USER, password=RIGHT, extra={"aws_conn_id": "store"})
        yield World(airflow, server, s3, bucket)


def add(airflow: LocalAirflow, conn_id: str, kind: str, *, extra: dict[str, Any], **fields: str) -> None:
    body = {"connection_id": conn_id, "conn_type": kind, "extra": json.dumps(extra), **fields}
    airflow.post("/api/v2/connections", body)


def test_no_secret_is_left_anywhere_by_a_run_that_succeeds_or_one_that_is_not_let_in(world: World) -> None:
    airflow = world.airflow
    airflow.wait_for_dag("leaking")
    airflow.post("/api/v2/dags/leaking/dagRuns", {"dag_run_id": "once", "logical_date": None})
    run = Run.of(airflow, NAME, "2024-02-01")
    assert run.state == "success", run.states
    assert Run.triggered(airflow, NAME, "scoring").state == "success"

    changed = {"connection_id": "models", "conn_type": "mlflow", "login": USER, "password": WRONG}
    airflow.patch("/api/v2/connections/models?update_mask=password", changed)
    refused = Run.of(airflow, NAME, "2024-02-01", run_id="refused")
    assert refused.state == "failed"
    failed = [task for task, state in refused.states.items() if state == "failed"]
    assert failed, refused.states
    assert f"did not accept user '{USER}'" in refused.error(failed[0])
    assert {refused.tasks[task]["try_number"] for task in failed} == {1}, "a wrong password is not tried again"

    assert airflow.wait_for_run("leaking", "once") == "success"
    leak = {"run_id": run.value("publish")["facts"]["run_id"], "key": "leak", "value": PLANTED["tagged"]}
    world.server.request("POST", "/api/2.0/mlflow/runs/set-tag", leak)
    left = world.leftovers()
    for name, place in LEAKS.items():
        found = left.holding_secret("nobody", PLANTED[name])
        assert any(place in where for where in found), f"what was {name} is not found in {place}, but in {found}"
    # The search finds what is there, in each kind of place.
    for place, known in CONTROL.items():
        assert any(place in where for where in left.holding(known)), f"{known} is not found in {place}"
    assert left.holding_secret(USER, RIGHT) == []
    assert left.holding_secret(USER, WRONG) == []
    assert left.holding_secret(world.s3.user.access_key, world.s3.user.secret_key) == []
