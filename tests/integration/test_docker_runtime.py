"""Steps in containers of a real engine."""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from generated import pipeline, write_csv
from services.dockerd import IMAGE, Dockerd, dockerd, step_image

from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.exceptions import MLOpsError, ModelError, SpecError, TransientServiceError
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.runtime import DockerRuntime
from airflow_mlops_provider.runtime.container import Container
from airflow_mlops_provider.spec import Docker
from airflow_mlops_provider.storage import ArtifactStore, S3Options
from airflow_mlops_provider.wire import StepAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.ceph import Ceph

    from airflow_mlops_provider.results import StepResult

HERE = Path(__file__).parent
CALLER = {"dag_id": "small_training", "run_id": "by hand", "task_id": "train", "map_index": "0"}

#: Runs a step in a container as a task does, in a process that can be killed.
TASK = """
import json, sys
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.runtime import DockerRuntime
from airflow_mlops_provider.storage import ArtifactStore

settings, caller, request, store = sys.argv[1:]
runtime = DockerRuntime.of(json.loads(settings), json.loads(caller))
runtime.run(StepRequest.model_validate_json(request), ArtifactStore(store))
print(json.dumps(sorted(sys.modules)))
"""
HEAVY = {"pandas", "numpy", "pyarrow", "sklearn", "scipy", "skops", "mlflow"}


@pytest.fixture(scope="module")
def engine(shared_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dockerd]:
    with dockerd() as running, pytest.MonkeyPatch.context() as owner:
        # What the platform's owner allows the pipeline files of this module.
        allowed = {
            "IMAGES": f"{IMAGE},never-built:*,127.0.0.1:1/*",
            "URLS": f"{running.url},unix:///nowhere/docker.sock",
            "USERS": "65534:65534",
            "NETWORKS": "host,no-such-network",
            "MOUNTS": f"{tmp_path_factory.getbasetemp()}:rw,/no/such:/data",
        }
        for name, value in allowed.items():
            owner.setenv(f"AIRFLOW__MLOPS__DOCKER_{name}", value)
        running.load(step_image(shared_folder))
        yield running


def once(wanted: Callable[[], Any], seconds: float = 60) -> Any:
    """Return what is wanted as soon as there is something."""
    deadline = time.monotonic() + seconds
    while not (found := wanted()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)
    return found


def tree(**params: Any) -> dict[str, Any]:
    return {"estimator": "sklearn.tree.DecisionTreeClassifier", "params": params}


def waiting(file: Path) -> dict[str, Any]:
    return {"estimator": "waiting_model.WaitingClassifier", "params": {"until": str(file)}}


def write_plugins(folder: Path) -> Path:
    folder.mkdir()
    shutil.copy(HERE / "waiting_model.py", folder)
    return folder


@dataclass
class Small:
    """A dataset that is ready to be trained on, and an engine to train on."""

    folder: Path
    engine: Dockerd
    store: ArtifactStore
    inputs: dict[str, list[StepResult]]

    def request(self, candidate: dict[str, Any], **changes: Any) -> StepRequest:
        return StepRequest(
            step="train",
            pipeline="small",
            as_of=datetime(2024, 2, 1, tzinfo=UTC),
            section={"name": "only", "candidate": candidate},
            inputs=self.inputs,
            allow_list=AllowList(plugins_folder=str(self.folder / "plugins")),
            **changes,
        )

    def settings(self, **changes: Any) -> dict[str, Any]:
        return {"kind": "docker", "image": IMAGE, "pull": "never", "docker_url": self.engine.url, **changes}

    def train(self, candidate: dict[str, Any], **settings: Any) -> StepResult:
        runtime = DockerRuntime.of(self.settings(**settings), CALLER)
        return runtime.run(self.request(candidate), self.store)

    def command(self, candidate: dict[str, Any]) -> list[str]:
        """Return the command of a process that trains as a task does."""
        request = self.request(candidate).model_dump_json()
        arguments = [json.dumps(self.settings()), json.dumps(CALLER), request, self.store.root]
        return [sys.executable, "-W", "ignore", "-c", TASK, *arguments]

    def killed(self, file: Path) -> dict[str, Any]:
        """Begin to train, kill who asked for it once training waits, and return what it left."""
        task = subprocess.Popen(self.command(waiting(file)))
        once(lambda: Path(f"{file}.reached").exists())
        task.kill()
        task.wait()
        (left,) = self.engine.containers()
        assert left["State"]["Running"]
        return left


@pytest.fixture(autouse=True)
def _no_container_is_left(engine: Dockerd) -> Iterator[None]:
    yield
    for left in engine.containers():
        engine.remove(left["Id"])


@pytest.fixture(scope="module")
def small(engine: Dockerd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    folder = tmp_path_factory.mktemp("small")
    write_csv(folder / "rows.csv")
    store = ArtifactStore(str(folder / "store"))
    spec = pipeline("small", folder / "rows.csv")
    made = Small(folder, engine, store, {})
    data = {"task": "binary", "data": spec["data"]}
    dataset = run_step(made.request({}).model_copy(update={"step": "ingest", "section": data}), store)
    made.inputs["dataset"] = [dataset]
    split = run_step(made.request({}).model_copy(update={"step": "prepare", "section": {}}), store)
    made.inputs["split"] = [split]
    sys.path.append(str(write_plugins(folder / "plugins")))
    yield made
    sys.path.remove(str(folder / "plugins"))


def test_a_container_trains_the_very_model_that_the_worker_trains(
    small: Small, caplog: pytest.LogCaptureFixture
) -> None:
    candidate = tree(max_depth=3)
    here = run_step(small.request(candidate), small.store)
    with caplog.at_level("INFO"):
        there = small.train(candidate)
    assert there.facts["digest"] == here.facts["digest"]
    assert not there.cached
    assert there.key != here.key, "what a worker has computed says nothing of the libraries in an image"
    assert any("step train took" in record.message for record in caplog.records), "its log is the task's"
    assert small.engine.containers() == []
    again = small.train(candidate)
    assert (again.cached, again.key) == (True, there.key)
    task = subprocess.run(small.command(candidate), capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(json.loads(task.stdout.splitlines()[-1])), "what is done is found without them"
    assert len(small.engine.created()) == 1, "and without a container"


def test_a_container_has_what_it_needs_and_nothing_else(small: Small) -> None:
    left = small.killed(small.folder / "store" / "isolated")
    host, state = left["HostConfig"], left["Config"]
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["NetworkMode"]) == (True, ["ALL"], "none")
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert {mount["Destination"]: mount["RW"] for mount in left["Mounts"]} == {
        str(small.folder / "store"): True,
        str(small.folder / "plugins"): False,
    }
    named = {line.partition("=")[0] for line in state["Env"]}
    assert {name for name in named if not name.startswith("OPENBLAS_")} == {"HOME"}


def test_the_container_of_a_killed_task_is_taken_over(small: Small, caplog: pytest.LogCaptureFixture) -> None:
    file = small.folder / "store" / "taken over"
    small.killed(file)
    before = len(small.engine.created())
    file.touch()
    with caplog.at_level("INFO"):
        result = small.train(waiting(file))
    assert any("taking it over" in record.message for record in caplog.records)
    assert len(small.engine.created()) == before
    assert small.engine.containers() == []
    assert result.facts["candidate"] == "only"


def test_a_container_that_was_asked_for_something_else_is_removed_first(small: Small) -> None:
    left = small.killed(small.folder / "store" / "orphan")
    assert small.train(tree(max_depth=4)).facts["candidate"] == "only"
    assert small.engine.containers() == []
    assert small.engine.created()[-1]["id"] != left["Id"]


def test_a_container_whose_task_was_killed_before_it_said_what_to_do_ends_by_itself(small: Small) -> None:
    client = small.engine.client()
    try:
        container = Container(client, "unheard")
        settings = Docker.model_validate(small.settings(network_mode="none"))
        assert container.start(settings, "train", "", {}, [])
        assert not container.start(settings, "train", "", {}, []), "a name is taken once"
        with pytest.raises(TransientServiceError, match="received no request"):
            StepAnswer.model_validate_json(container.ended().out).settled()
        assert container.order() == ""
    finally:
        client.close()


def test_another_user_may_be_named(small: Small, tmp_path: Path) -> None:
    folder = shutil.copytree(small.folder / "store", tmp_path / "store")
    for place in (folder, *folder.rglob("*")):
        shutil.chown(place, 65534, 65534)
    theirs = replace(small, store=ArtifactStore(str(folder)))
    result = theirs.train(tree(max_depth=6), user="65534:65534", cpus=0.5, mem_limit="1g")
    assert theirs.store.fetch(result.artifacts["model"]).stat().st_uid == 65534


@pytest.mark.parametrize(
    "requested",
    [
        {"user": "0:0"},
        {"network_mode": "bridge"},
        {"mounts": [{"source": "/", "target": "/host", "read_only": False}]},
        {"mounts": [{"source": "/var/run/docker.sock", "target": "/var/run/docker.sock"}]},
        {"image": "elsewhere/steps:1", "pull": "missing"},
    ],
)
def test_what_the_platforms_owner_does_not_allow_makes_no_container(small: Small, requested: dict[str, Any]) -> None:
    before = len(small.engine.created())
    with pytest.raises(SpecError, match=r"does not allow(?s:.*)\[mlops\] docker_"):
        small.train(tree(max_depth=7), **requested)
    assert len(small.engine.created()) == before


def test_what_goes_wrong_inside_is_raised_outside_as_what_it_was(small: Small) -> None:
    wrong = tree(max_depth=-3)
    with pytest.raises(ModelError) as here:
        run_step(small.request(wrong), small.store)
    with pytest.raises(ModelError) as there:
        small.train(wrong)
    assert str(there.value) == str(here.value)
    assert small.engine.containers() == []


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"mem_limit": "48m"}, MLOpsError, ("ran out of memory", "48m", "137")),
        ({"image": "never-built:1"}, SpecError, ("never-built:1", "make image")),
        ({"image": "127.0.0.1:1/none:1", "pull": "missing"}, TransientServiceError, ("127.0.0.1:1/none", "pulled")),
        ({"network_mode": "no-such-network"}, MLOpsError, ("no-such-network",)),
        ({"mounts": [{"source": "/no/such", "target": "/data"}]}, MLOpsError, ("/no/such",)),
        ({"kind": "docker", "imag": "x"}, SpecError, ("imag",)),
    ],
    ids=["memory", "image", "registry", "network", "mount", "setting"],
)
def test_what_cannot_run_says_why(
    small: Small, settings: dict[str, Any], kind: type[MLOpsError], words: tuple[str, ...]
) -> None:
    with pytest.raises(kind) as error:
        small.train(tree(max_depth=5), **settings)
    assert type(error.value) is kind
    assert [word for word in words if word not in str(error.value)] == []
    assert small.engine.containers() == []


# docker-py does not close a socket that it could not connect.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket")
def test_an_engine_that_is_away_may_be_back_later(small: Small) -> None:
    with pytest.raises(TransientServiceError, match=r"/nowhere/docker\.sock cannot be reached.*Start it") as error:
        small.train(tree(max_depth=5), docker_url="unix:///nowhere/docker.sock")
    del error
    gc.collect()


def test_a_source_behind_a_connection_is_refused(small: Small) -> None:
    data = {"source": {"sql": "select 1", "conn_id": "warehouse"}, "columns": {"target": "a", "numeric": ["b"]}}
    request = small.request({}).model_copy(update={"step": "ingest", "section": {"task": "binary", "data": data}})
    with pytest.raises(SpecError, match="warehouse"):
        DockerRuntime.of(small.settings(), CALLER).run(request, small.store)


def test_keys_to_a_store_are_nowhere_to_be_read(small: Small, ceph: Ceph, tmp_path: Path) -> None:
    """They go in by standard input: not even `docker inspect` shows them."""
    options = S3Options(ceph.user.access_key, ceph.user.secret_key, endpoint_url=ceph.endpoint)
    store = ArtifactStore(f"s3://{ceph.bucket()}/store", options)
    spec = pipeline("small", small.folder / "rows.csv")
    request = small.request({}).model_copy(
        update={"step": "ingest", "section": {"task": "binary", "data": spec["data"]}, "inputs": {}}
    )
    dataset = run_step(request, store)
    split = run_step(
        request.model_copy(update={"step": "prepare", "section": {}, "inputs": {"dataset": [dataset]}}), store
    )
    file, found = tmp_path / "go", []
    trained = small.request(waiting(file)).model_copy(update={"inputs": {"dataset": [dataset], "split": [split]}})
    mounts = [{"source": str(tmp_path), "target": str(tmp_path), "read_only": False}]
    runtime = DockerRuntime.of(small.settings(network_mode="host", mounts=mounts), CALLER)
    training = Thread(target=lambda: found.append(runtime.run(trained, store)))
    training.start()
    once(lambda: Path(f"{file}.reached").exists())
    (container,) = small.engine.containers()
    logged = Path(container["LogPath"]).read_text(encoding="utf-8")
    file.touch()
    training.join()
    assert ceph.user.secret_key not in json.dumps(container)
    assert ceph.user.secret_key not in logged
    assert found[0].artifacts["model"].uri.startswith("s3://")
