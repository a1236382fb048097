from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import registry_worker
from fault_proxy import DROP_AFTER, FaultProxy, answer, delay
from services.mlflow_server import mlflow_server

from airflow_mlops_provider.exceptions import RegistryError, TransientServiceError
from airflow_mlops_provider.registry import Registry
from airflow_mlops_provider.registry.client import Connection
from airflow_mlops_provider.registry.errors import ForbiddenError
from airflow_mlops_provider.registry.patience import FAILURES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fault_proxy import Call, Fault

#: An Airflow task has as many tries by default as our DAGs give it.
TRIES = 4
#: A silent server is away after a second here; 30 are the default. The mechanism is the same.
TIMEOUT = 1
#: What happens to a request, and to its repetition.
FAULTS = {
    "500, then 503": (
        answer(500, b'{"error_code": "INTERNAL_ERROR", "message": "out of order"}', "application/json"),
        answer(503, b"no worker is free", "text/plain"),
    ),
    "reply dropped after commit": (DROP_AFTER,),
    "30 s delay": (delay(30),),
}


@pytest.fixture(scope="module")
def server(migrated_mlflow: Path) -> Iterator[str]:
    # In memory, where there is such a place: a case makes 60 requests, and half of them wait for the disk.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        shutil.copy(migrated_mlflow, Path(folder) / "mlflow.db")
        with mlflow_server(Path(folder)) as running:
            yield running.url


@pytest.fixture(scope="module")
def proxy(server: str) -> Iterator[FaultProxy]:
    with FaultProxy(server) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(server)


@pytest.fixture(scope="module")
def train(proxy: FaultProxy, client: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., int]:
    """What the publishing and the promoting task do, tried again as Airflow does; gives how often it took."""
    training = registry_worker.publication(tmp_path_factory.mktemp("model") / "model.skops")

    def run(name: str, tries: int = TRIES) -> int:
        # The ledgers' own experiment is made once in a server's life, and here in every case.
        if (shared := client.get_experiment_by_name("mlops-ledger")) is not None:
            client.rename_experiment(shared.experiment_id, f"mlops-ledger-before-{name}")
        wanted = training.model_copy(update={"model": name, "experiment": name, "candidates": [training.winning]})
        for number in range(1, tries + 1):
            registry = Registry(Connection(proxy.url, timeout=TIMEOUT))
            try:
                version = registry.publish(wanted).version
                request = registry_worker.request(wanted).model_copy(update={"model": name, "version": version})
                registry.promote(request)
            except TransientServiceError:
                continue
            return number
        raise AssertionError(f"{name} did not come through in {tries} tries")

    return run


@pytest.fixture(scope="module")
def creating(proxy: FaultProxy, train: Callable[[str], int]) -> list[str]:
    """Every request of a training that makes or changes something, as a clean one makes them."""
    proxy.clear()
    assert train("clean") == 1
    lines = [line for call in proxy.calls if (line := changes(call)) is not None]
    numbered = [f"{line} #{lines[:place].count(line) + 1}" for place, line in enumerate(lines)]
    # One file of the model's stands for all: they go up in one loop of MLflow's.
    return [line for line in numbered if not line.startswith("PUT ") or line.endswith("#1")]


def changes(call: Call) -> str | None:
    """Return what a request makes or changes, without the ids in its path; None when it only reads."""
    if call.method == "GET" or call.path.endswith("/search"):
        return None
    path = re.sub(r"/(m-)?[0-9a-f]{32}(?=/|$)", "/*", call.path.removeprefix("/api/2.0/"))
    path = re.sub(r"/artifacts/\d+/models/.*", "/artifacts/*", path)
    return f"{call.method} {path}"


def together(creating: Sequence[str], most: int) -> list[list[str]]:
    """Return requests in groups that fail in one training: no group asks for the same thing twice."""
    groups: list[list[str]] = []
    for wanted in creating:
        line = wanted.rpartition(" #")[0]
        free = (one for one in groups if len(one) < most and all(each.rpartition(" #")[0] != line for each in one))
        if (group := next(free, None)) is None:
            groups.append([wanted])
        else:
            group.append(wanted)
    return groups


def fail(proxy: FaultProxy, wanted: str, faults: Sequence[Fault]) -> None:
    """Let a request fail, and its repetitions if there are more faults than one."""
    line, _, number = wanted.rpartition(" #")
    seen: list[Call] = []

    def chosen(call: Call) -> bool:
        if changes(call) == line:
            seen.append(call)
        return changes(call) == line and len(seen) >= int(number)

    for fault in faults:
        proxy.fail(fault, chosen)


def found(client: Any, name: str) -> dict[str, Any]:
    """Return what MLflow holds of a training, all of it."""
    experiments = client.search_experiments(filter_string=f"name LIKE '%{name}'")
    training = client.get_experiment_by_name(name).experiment_id
    runs = client.search_runs([training])
    ledger = client.get_experiment_by_name(f"ledger/{name}").tags["run"]
    ledgers = client.search_runs([client.get_experiment_by_name("mlops-ledger").experiment_id])
    versions = sorted(client.search_model_versions(f"name = '{name}'"), key=lambda version: int(version.version))
    version = versions[0]
    models = client.search_logged_models([training])
    return {
        "experiments": sorted(experiment.name for experiment in experiments if "before" not in experiment.name),
        "runs": sorted(run.info.run_name for run in runs),
        "states": {run.info.status for run in [*runs, *ledgers]},
        "metrics": sorted((run.info.run_name, *run.data.metrics.values()) for run in runs),
        "models": [str(model.status) for model in models],
        "linked": len(client.get_run(version.run_id).outputs.model_outputs),
        "files": sorted(file.path for file in client.list_logged_model_artifacts(models[0].model_id)),
        "versions": [str(version.version) for version in versions],
        "aliases": {alias: int(number) for alias, number in client.get_registered_model(name).aliases.items()},
        "ledgers": [run.info.run_id for run in ledgers] == [ledger],
        "entries": sorted(client.get_run(ledger).data.params),
        "status": version.tags["mlops.status"],
    }


EXPECTED = {
    "runs": ["2013-03-01", "logistic"],
    "states": {"FINISHED"},
    "metrics": [("2013-03-01",), ("logistic", 0.9)],
    "models": ["READY"],
    "linked": 1,
    "files": ["MLmodel", "conda.yaml", "model.skops", "python_env.yaml", "requirements.txt"],
    "versions": ["1"],
    "aliases": {"challenger": 1, "champion": 1},
    "ledgers": True,
    "entries": ["seq-1"],
    "status": "champion",
}


@pytest.mark.parametrize("most", [3, pytest.param(1, marks=pytest.mark.nightly)], ids=["three at once", "alone"])
@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
def test_each_creating_request_fails_and_nothing_is_lost_or_made_twice(
    proxy: FaultProxy,
    client: Any,
    train: Callable[..., int],
    creating: list[str],
    faults: Sequence[Fault],
    most: int,
    request: pytest.FixtureRequest,
) -> None:
    wrong = {}
    for number, failing in enumerate(together(creating, most)):
        name = f"{re.sub('[^a-z0-9]', '', request.node.callspec.id)}-{number}"
        proxy.clear()
        for wanted in failing:
            fail(proxy, wanted, faults)
        train(name, max(TRIES, 1 + len(failing) * len(faults)))
        assert proxy.waiting == 0, f"one of {failing} was not made, or not made again"
        state = found(client, name)
        expected = {**EXPECTED, "experiments": sorted([name, f"ledger/{name}"])}
        if different := {key: value for key, value in state.items() if value != expected[key]}:
            wrong[" and ".join(failing)] = different
    assert wrong == {}


def test_the_recorded_requests_are_what_makes_runs_versions_and_entries(creating: list[str]) -> None:
    made = {line.rpartition(" #")[0].partition("mlflow/")[2] or line.partition(" ")[2][:-3] for line in creating}
    assert made >= {
        "experiments/create",
        "runs/create",
        "runs/log-batch",
        "runs/log-inputs",
        "runs/outputs",
        "runs/update",
        "runs/log-parameter",
        "logged-models",
        "registered-models/create",
        "registered-models/alias",
        "model-versions/create",
        "model-versions/set-tag",
        "mlflow-artifacts/artifacts/*",
    }


@pytest.mark.parametrize(
    ("status", "code", "error", "tries"),
    [
        (500, "INTERNAL_ERROR", TransientServiceError, FAILURES),
        (503, "TEMPORARILY_UNAVAILABLE", TransientServiceError, FAILURES),
        (403, "PERMISSION_DENIED", ForbiddenError, 1),
        (400, "INVALID_PARAMETER_VALUE", RegistryError, 1),
    ],
)
def test_an_alias_that_cannot_be_set_ends_after_a_few_tries(
    proxy: FaultProxy, tmp_path: Path, status: int, code: str, error: type[Exception], tries: int
) -> None:
    body = f'{{"error_code": "{code}", "message": "out of order"}}'.encode()

    def setting(call: Call) -> bool:
        return call.path.endswith("/registered-models/alias") and call.method == "POST"

    training = registry_worker.publication(tmp_path / "model.skops")
    name = f"stuck-{uuid4().hex[:8]}"
    wanted = training.model_copy(update={"model": name, "experiment": name, "candidates": [training.winning]})
    proxy.clear()
    proxy.fail(answer(status, body, "application/json"), setting, times=1000)
    registry = Registry(Connection(proxy.url, timeout=TIMEOUT))
    try:
        with pytest.raises(error, match="setting the alias 'challenger' of model") as caught:
            registry.publish(wanted)
    finally:
        requested = [call for call in proxy.calls if setting(call)]
        proxy.clear()
    assert len(requested) == tries
    assert type(caught.value) is error
    assert registry.publish(wanted).version == 1, "what was there is found, and completed"
