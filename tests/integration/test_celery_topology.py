"""The production topology, with nothing played: two Celery workers, PostgreSQL, Redis, MLflow, S3 and Docker."""

from __future__ import annotations

import json
import secrets
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from conftest import PROJECT
from generated import AT_ONCE, pipeline, write_csv
from leftovers import Leftovers
from runs import Run, mlflow_state, registry, until
from services.celery_airflow import WORKERS, CeleryAirflow
from services.ceph import Ceph, ceph
from services.dockerd import IMAGE, Dockerd, dockerd, step_image
from services.mlflow_server import mlflow_server
from services.postgres import postgres
from services.redis import redis

from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.backtest.steps import Steps
from airflow_mlops_provider.pipelines import load_pipeline
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mlops_provider.results import StepResult

NAME, DAY, MEMORY = "flight_delays", "2013-03-01", "2g"


@dataclass(frozen=True)
class Topology:
    """Everything that runs."""

    airflow: CeleryAirflow
    s3: Ceph
    bucket: str
    engine: Dockerd
    mlflow: Path
    databases: tuple[str, str]

    def keys(self, prefix: str) -> list[str]:
        """Return the keys in the bucket below a prefix."""
        client = self.s3.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        found = [item["Key"] for page in pages for item in page.get("Contents", [])]
        client.close()
        return found


def write_pipelines(folder: Path, engine: Dockerd) -> None:
    """Write two shipped pipelines: the wines' as it is, the flights' run by hand and with settings of its tasks.

    The flights' have smaller candidates: each is trained twice. And a third pipeline is small, and its training in a
    container lasts until the test says so.
    """
    shipped = PROJECT / "config" / "pipelines"
    folder.mkdir()
    (folder / "wine_cultivar.yaml").write_bytes((shipped / "wine_cultivar.yaml").read_bytes())
    spec = yaml.safe_load((shipped / f"{NAME}.yaml").read_text(encoding="utf-8"))
    del spec["schedule"]
    docker = {"kind": "docker", "image": IMAGE, "pull": "never", "docker_url": engine.url}
    tasks = {
        "validate": {"pool": "narrow"},
        "prepare": {"queue": "second"},
        # The engine has no network but its own and the machine's, where the store is.
        "train": {"runtime": {**docker, "network_mode": "host", "mem_limit": MEMORY}},
        "evaluate": {"executor": "LocalExecutor"},
        "gate": {"executor_config": {"note": "for the executor"}},
    }
    assert "monitoring" in spec
    spec["training"]["candidates"]["forest"]["params"] |= {"n_estimators": 10}
    spec["training"]["candidates"]["boosting"]["params"] |= {"max_iter": 30}
    spec["evaluation"] |= {"latency_calls": 10}
    spec |= {"tasks": tasks, "scoring": {**spec["scoring"], "shards": len(WORKERS)}}
    (folder / f"{NAME}.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    write_csv(folder / "killed.csv")
    beside = [{"source": str(folder), "target": str(folder), "read_only": False}]
    contained = {**docker, "network_mode": "host", "mounts": beside}
    killed = pipeline("killed", folder / "killed.csv", tasks={"train": {**AT_ONCE, "runtime": contained}})
    until = {"until": str(folder / "go on")}
    killed["training"]["candidates"] = {"waiting": {"estimator": "waiting_model.WaitingClassifier", "params": until}}
    (folder / "killed.yaml").write_text(yaml.safe_dump(killed), encoding="utf-8")


def write_plugins(folder: Path) -> None:
    """Write the project's plugins, and that of the tests."""
    shutil.copytree(PROJECT / "plugins", folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(Path(__file__).parent / "waiting_model.py", folder)


def settings(s3: Ceph, bucket: str, mlflow: dict[str, Any]) -> dict[str, str]:
    """Return Airflow's environment: where things are kept, and by which connections they are reached."""
    artifacts = {
        "conn_type": "aws",
        "login": s3.user.access_key,
        "password": s3.user.secret_key,
        "extra": {"endpoint_url": s3.endpoint, "region_name": "us-east-1"},
    }
    return {
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor,LocalExecutor",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
        # A worker is missed soon after its death, where five minutes are the default.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__MLOPS__ARTIFACTS_URI": f"s3://{bucket}/artifacts",
        "AIRFLOW__MLOPS__ARTIFACTS_CONN_ID": "artifacts",
        "AIRFLOW_CONN_ARTIFACTS": json.dumps(artifacts),
        "AIRFLOW_CONN_MLFLOW_DEFAULT": json.dumps({"conn_type": "mlflow", **mlflow}),
    }


@pytest.fixture(scope="module")
def topology(tmp_path_factory: pytest.TempPathFactory, shared_folder: Path) -> Iterator[Topology]:
    home = tmp_path_factory.mktemp("celery")
    with ExitStack() as stack, ThreadPoolExecutor() as threads:
        engine = stack.enter_context(dockerd())
        image = threads.submit(lambda: engine.load(step_image(shared_folder)))
        database, broker = stack.enter_context(postgres()), stack.enter_context(redis(home))
        databases = database.database("airflow"), database.database("mlflow")
        mlflow = tmp_path_factory.mktemp("mlflow")
        s3 = stack.enter_context(ceph())
        bucket = s3.bucket()
        server = stack.enter_context(
            mlflow_server(
                mlflow,
                database=databases[1],
                password=secrets.token_hex(16),
                artifacts=f"s3://{bucket}/mlflow",
                environment=s3.environment(),
            )
        )
        login = {"login": "airflow", "password": secrets.token_hex(16)}
        server.add_user(login["login"], login["password"])
        write_pipelines(home / "pipelines", engine)
        write_plugins(home / "plugins")
        airflow = CeleryAirflow(
            home,
            database=databases[0],
            broker=broker,
            mlflow_uri=server.url,
            pipelines=home / "pipelines",
            environment={
                **settings(s3, bucket, {"host": server.url, **login}),
                "AIRFLOW__MLOPS__DOCKER_URLS": engine.url,
                "AIRFLOW__MLOPS__DOCKER_NETWORKS": "host",
                "AIRFLOW__MLOPS__DOCKER_MOUNTS": f"{home / 'pipelines'}:rw",
                "AIRFLOW__CORE__PLUGINS_FOLDER": str(home / "plugins"),
            },
        )
        stack.enter_context(airflow)
        airflow.post("/api/v2/pools", {"name": "narrow", "slots": 1})
        image.result()
        # The tests ask MLflow as well.
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        environment.setenv("MLFLOW_TRACKING_USERNAME", login["login"])
        environment.setenv("MLFLOW_TRACKING_PASSWORD", login["password"])
        yield Topology(airflow, s3, bucket, engine, mlflow, databases)


@pytest.fixture(scope="module")
def airflow(topology: Topology) -> CeleryAirflow:
    return topology.airflow


@pytest.fixture(scope="module")
def trained(airflow: CeleryAirflow) -> Run:
    return Run.of(airflow, NAME, DAY, seconds=300)


@pytest.fixture(scope="module")
def scored(airflow: CeleryAirflow, trained: Run) -> Run:
    """The scoring that the champion triggers by itself."""
    return Run.triggered(airflow, NAME, "scoring")


def begun(airflow: CeleryAirflow, name: str, day: str, run_id: str = "begun") -> Run:
    """Trigger a training, and do not wait for it."""
    run = Run(airflow, name, run_id)
    airflow.post(
        f"/api/v2/dags/{run.dag_id}/dagRuns", {"dag_run_id": run.run_id, "logical_date": None, "conf": {"as_of": day}}
    )
    return run


@pytest.fixture(scope="module")
def wines(airflow: CeleryAirflow, scored: Run) -> Run:
    """A training in the workers themselves. It begins when the shards are done, which it would keep from a worker."""
    return begun(airflow, "wine_cultivar", DAY)


@pytest.fixture(scope="module")
def watched(airflow: CeleryAirflow, wines: Run) -> Run:
    """The monitoring that the predictions trigger by itself."""
    return Run.triggered(airflow, NAME, "monitoring")


def hosts(run: Run, prefix: str = "") -> dict[str, str]:
    """Return the part of Airflow that ran each task."""
    return {name: task["hostname"] for name, task in run.tasks.items() if name.startswith(prefix)}


def digests(models: list[StepResult | dict[str, Any]]) -> list[str]:
    """Return the canonical digests of trained candidates."""
    facts = [model["facts"] if isinstance(model, dict) else model.facts for model in models]
    return [str(fact["digest"]) for fact in facts]


def trained_here(airflow: CeleryAirflow, name: str, folder: Path, as_of: str) -> list[StepResult]:
    """Train a pipeline's candidates in this process, on a store in a folder."""
    pipeline = load_pipeline(airflow.home / "pipelines" / f"{name}.yaml")
    steps = Steps(pipeline, ArtifactStore(str(folder)), AllowList(plugins_folder=str(PROJECT / "plugins")))
    moment = datetime.fromisoformat(as_of).replace(tzinfo=UTC)
    inputs = {"dataset": [steps.ingest(moment)]}
    section = pipeline.preparation.model_dump(mode="json")
    inputs["split"] = [steps.run("prepare", as_of=moment, section=section, inputs=inputs)]
    models = []
    for candidate, settings in pipeline.training.candidates.items():
        section = {"name": candidate, "candidate": settings.model_dump(mode="json", exclude_defaults=True)}
        models.append(steps.run("train", as_of=moment, section=section, inputs=inputs))
    return models


def test_the_training_ends_with_a_champion(airflow: CeleryAirflow, trained: Run) -> None:
    assert trained.state == "success", trained.states
    assert set(trained.states.values()) == {"success"}
    state = mlflow_state(airflow, NAME)
    assert state["ledger"] == [("promote", 1)]
    assert state["aliases"] == {"champion": 1, "challenger": 1}
    assert state["unfinished"] == []


def test_the_candidates_ran_on_both_workers_each_in_a_container_of_its_own(topology: Topology, trained: Run) -> None:
    ran = hosts(trained, "train[")
    assert len(ran) == 3
    assert set(ran.values()) == set(WORKERS), ran
    assert len(topology.engine.created()) == 3
    assert topology.engine.containers() == [], "none is left behind"


def test_everything_is_in_s3_and_nothing_beside(topology: Topology, trained: Run, watched: Run) -> None:
    assert topology.keys(f"artifacts/receipts/{NAME}/")
    assert topology.keys("artifacts/objects/")
    assert topology.keys(f"artifacts/predictions/{NAME}/")
    assert any(key.endswith("model.skops") for key in topology.keys("mlflow/"))
    assert not topology.airflow.artifacts.exists()


def test_scoring_and_monitoring_follow_on_the_workers(trained: Run, scored: Run, watched: Run) -> None:
    for run in (scored, watched):
        assert run.state == "success", run.states
        assert set(hosts(run).values()) <= set(WORKERS)
    assert scored.value("score")["facts"]["rows"] > 500


def test_the_shards_of_a_window_are_scored_on_both_workers(scored: Run) -> None:
    ran = hosts(scored, "score_shard[")
    assert len(ran) == len(WORKERS)
    assert set(ran.values()) == set(WORKERS), ran
    rows = [scored.value("score_shard", index)["facts"]["rows"] for index in range(len(ran))]
    assert sum(rows) == scored.value("score")["facts"]["rows"]


def test_a_task_s_own_settings_reach_airflow_and_hold(trained: Run) -> None:
    tasks = trained.tasks
    assert tasks["validate"]["pool"] == "narrow"
    assert (tasks["prepare"]["queue"], tasks["prepare"]["hostname"]) == ("second", "worker-2")
    assert (tasks["evaluate"]["executor"], tasks["evaluate"]["hostname"]) == ("LocalExecutor", "scheduler")
    assert "for the executor" in tasks["gate"]["executor_config"]


def test_the_models_are_the_same_in_a_container_and_in_this_process(
    airflow: CeleryAirflow, trained: Run, tmp_path: Path
) -> None:
    there = [trained.value("train", index) for index in range(3)]
    assert digests(there) == digests(trained_here(airflow, NAME, tmp_path, DAY))
    judged = registry(airflow).history(NAME)[0].judged
    assert judged is not None, "what serves was fitted once more, on the holdout too"
    assert judged.sha256 in {model["artifacts"]["model"]["sha256"] for model in there}


def test_the_models_are_the_same_in_a_celery_worker_and_in_this_process(
    airflow: CeleryAirflow, wines: Run, tmp_path: Path
) -> None:
    deadline = time.monotonic() + 120
    while set(states := [state for name, state in wines.states.items() if name.startswith("train")]) != {"success"}:
        assert time.monotonic() < deadline, wines.states
        assert "failed" not in states, wines.states
        time.sleep(0.5)
    there = [wines.value("train", index) for index in range(2)]
    assert digests(there) == digests(trained_here(airflow, "wine_cultivar", tmp_path, DAY))


def training_in_a_container(topology: Topology, run_id: str) -> tuple[Run, dict[str, Any]]:
    """Trigger the training that waits, and return it and its container once it does."""
    reached = topology.airflow.home / "pipelines" / "go on.reached"
    reached.unlink(missing_ok=True)
    run = begun(topology.airflow, "killed", "2024-02-01", run_id)
    until(topology.airflow, reached.exists, "the training in a container")
    [container] = topology.engine.containers()
    assert container["State"]["Running"]
    return run, container


def receipts_of_killed(topology: Topology) -> list[str]:
    return [key for key in topology.keys("artifacts/receipts/killed/train/") if key.endswith("/receipt.json")]


def test_a_task_that_is_ended_by_hand_stops_its_container(topology: Topology, watched: Run, wines: Run) -> None:
    airflow, engine = topology.airflow, topology.engine
    run, _ = training_in_a_container(topology, "stopped")
    airflow.patch(f"/api/v2/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances/train/0", {"new_state": "failed"})
    until(airflow, lambda: engine.containers() == [], "the end of the container")
    until(airflow, lambda: any("was stopped" in str(line) for line in run.log("train", 0)), "its log")
    assert run.ended().state == "failed"
    assert receipts_of_killed(topology) == []


def test_a_worker_killed_while_its_container_trains_leaves_one_container_and_one_result(
    topology: Topology, watched: Run, wines: Run
) -> None:
    """The other worker's try takes the container over."""
    airflow, engine, before = topology.airflow, topology.engine, len(topology.engine.created())
    run, left = training_in_a_container(topology, "killed")
    first = run.tasks["train[waiting]"]["hostname"]
    airflow.kill(first)
    assert engine.containers()[0]["State"]["Running"]
    until(airflow, lambda: run.tasks["train[waiting]"]["try_number"] > 1, "another try")
    until(airflow, lambda: any("taking it over" in line["event"] for line in run.log("train", 0)), "its log")
    assert [found["Id"] for found in engine.containers()] == [left["Id"]]
    (airflow.home / "pipelines" / "go on").touch()
    until(airflow, lambda: run.tasks["train[waiting]"]["state"] == "success", "its success")
    assert {first, run.tasks["train[waiting]"]["hostname"]} == set(WORKERS)
    assert (len(engine.created()) - before, engine.containers()) == (1, [])
    assert len(receipts_of_killed(topology)) == 1


def test_no_secret_of_a_connection_is_left_anywhere(topology: Topology, watched: Run, wines: Run) -> None:
    left = Leftovers([topology.airflow.home, topology.mlflow], topology.s3, topology.bucket, topology.databases)
    tables = ["0, table xcom", "0, table rendered_task_instance_fields", "1, table runs", "1, table tags"]
    places = ["/worker-1.log", "/attempt=1.log", "/artifacts/", *(f"database {table}" for table in tables)]
    for place in places:
        assert any(place in where for where in left.holding(NAME)), f"the pipeline's name is not found in {place}"
    assert "database 0, table task_instance" in left.holding("for the executor"), "what is pickled is not searched"
    for name in ("ARTIFACTS", "MLFLOW_DEFAULT"):
        connection = json.loads(topology.airflow.environment[f"AIRFLOW_CONN_{name}"])
        assert left.holding_secret(connection["login"], connection["password"]) == []
