from __future__ import annotations

import csv
import json
import os
import random
import signal
import sys
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.sdk import BaseOperator
    from airflow.sdk.definitions.mappedoperator import MappedOperator
    from statsd_server import StatsD
    from watched_world import World

# What the tests of Airflow's side share.
sys.path.insert(0, str(Path(__file__).parent))


@dataclass
class Supervisor:
    """The other end of a task's connection: keeps XComs, answers what a task asks, and remembers all it was told."""

    xcoms: dict[tuple[str, int], Any] = field(default_factory=dict)
    #: None when the server cannot tell them.
    asset_events: list[Any] | None = field(default_factory=list)
    messages: list[Any] = field(default_factory=list)
    #: What tasks keep over their retries, by key: one task a test keeps something.
    stored: dict[str, Any] = field(default_factory=dict)

    def send(self, msg: Any) -> Any:
        answer = getattr(self, f"_{msg.type}", None)
        self.messages.append(msg)
        return None if answer is None else answer(msg)

    def _SetXCom(self, msg: Any) -> None:
        if msg.key == "return_value":
            self.xcoms[msg.task_id, -1 if msg.map_index is None else msg.map_index] = msg.value

    def _GetXCom(self, msg: Any) -> Any:
        from airflow.sdk.execution_time.comms import XComResult

        index = -1 if msg.map_index is None else msg.map_index
        return XComResult(key=msg.key, value=self.xcoms.get((msg.task_id, index)))

    def _GetXComSequenceItem(self, msg: Any) -> Any:
        from airflow.sdk.exceptions import ErrorType
        from airflow.sdk.execution_time.comms import ErrorResponse, XComSequenceIndexResult

        values = self._instances(msg.task_id)
        if msg.offset >= len(values):
            return ErrorResponse(error=ErrorType.XCOM_NOT_FOUND)
        return XComSequenceIndexResult(root=values[msg.offset])

    def _GetXComSequenceSlice(self, msg: Any) -> Any:
        from airflow.sdk.execution_time.comms import XComSequenceSliceResult

        own = self.xcoms.get((msg.task_id, -1))
        return XComSequenceSliceResult(root=self._instances(msg.task_id) if own is None else [own])

    def _GetXComCount(self, msg: Any) -> Any:
        from airflow.sdk.execution_time.comms import XComCountResponse

        return XComCountResponse(len=len(self._instances(msg.task_id)))

    def _GetConnection(self, _: Any) -> Any:
        from airflow.sdk.exceptions import ErrorType
        from airflow.sdk.execution_time.comms import ErrorResponse

        return ErrorResponse(error=ErrorType.CONNECTION_NOT_FOUND)

    def _ValidateInletsAndOutlets(self, _: Any) -> Any:
        from airflow.sdk.execution_time.comms import InactiveAssetsResult

        return InactiveAssetsResult(inactive_assets=[])

    def _GetAssetEventByAsset(self, msg: Any) -> Any:
        from airflow.sdk.exceptions import ErrorType
        from airflow.sdk.execution_time.comms import AssetEventsResult, ErrorResponse

        if self.asset_events is None:
            return ErrorResponse(error=ErrorType.API_SERVER_ERROR, detail={"status_code": 500})
        every = AssetEventsResult(asset_events=self.asset_events).asset_events
        events = [event for event in every if msg.after is None or event.timestamp >= msg.after]
        events.sort(key=lambda event: event.timestamp, reverse=not msg.ascending)
        return AssetEventsResult(asset_events=events[: msg.limit])

    def _GetTaskStateStore(self, msg: Any) -> Any:
        from airflow.sdk.exceptions import ErrorType
        from airflow.sdk.execution_time.comms import ErrorResponse, TaskStateStoreResult

        if msg.key not in self.stored:
            return ErrorResponse(error=ErrorType.TASK_STORE_NOT_FOUND)
        return TaskStateStoreResult(value=self.stored[msg.key])

    def _SetTaskStateStore(self, msg: Any) -> None:
        self.stored[msg.key] = msg.value

    def _instances(self, task_id: str) -> list[Any]:
        return [value for (task, index), value in sorted(self.xcoms.items()) if task == task_id and index >= 0]


@dataclass
class Ended:
    """How a task instance ended."""

    state: str
    error: BaseException | None
    messages: list[Any]
    task: Any

    @property
    def xcom(self) -> Any:
        pushed = [msg.value for msg in self.messages if msg.type == "SetXCom" and msg.key == "return_value"]
        return pushed[-1] if pushed else None

    @property
    def message(self) -> str:
        return str(self.error)


class Worker:
    """Runs task instances through Airflow's own task runner, without a scheduler or a database."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor

    def context(self, task: BaseOperator | MappedOperator, **settings: Any) -> Any:
        return self._instance(task, **settings).get_template_context()

    def run(self, task: BaseOperator | MappedOperator, *, listened_to: bool = False, **settings: Any) -> Ended:
        """Run a task instance.

        :param listened_to: let Airflow's listeners know of its end, as its own process does afterwards.
        """
        import structlog
        from airflow.sdk.execution_time import task_runner

        instance = self._instance(task, **settings)
        start = len(self.supervisor.messages)
        context, log = instance.get_template_context(), structlog.get_logger()
        state, _, error = task_runner.run(instance, context, log)
        if listened_to:
            task_runner.finalize(instance, state, context, log, error)
        return Ended(str(state.value), error, self.supervisor.messages[start:], instance.task)

    def _instance(
        self,
        task: BaseOperator | MappedOperator,
        *,
        map_index: int = -1,
        try_number: int = 1,
        conf: dict[str, Any] | None = None,
        **run: Any,
    ) -> Any:
        from airflow.dag_processing.bundles.local import LocalDagBundle
        from airflow.sdk.api.datamodels._generated import DagRun, TIRunContext
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        settings = {
            "logical_date": None,
            "data_interval_start": None,
            "data_interval_end": None,
            "run_after": datetime(2013, 3, 1, tzinfo=UTC),
            "start_date": datetime(2026, 1, 1, tzinfo=UTC),
            "end_date": None,
            "run_type": "manual",
            "state": "running",
            "conf": conf,
            "consumed_asset_events": [],
            "partition_key": None,
            **run,
        }
        dag_id = task.dag_id
        return RuntimeTaskInstance.model_construct(
            id=uuid.uuid4(),
            task_id=task.task_id,
            dag_id=dag_id,
            run_id="run",
            try_number=try_number,
            dag_version_id=uuid.uuid4(),
            map_index=map_index,
            task=task,
            bundle_instance=LocalDagBundle(name="dags", path="."),
            _ti_context_from_server=TIRunContext(
                dag_run=DagRun(dag_id=dag_id, run_id="run", **settings),
                max_tries=3,
                # What the server says when there are tries left.
                should_retry=True,
            ),
            max_tries=3,
            start_date=datetime(2026, 1, 1, tzinfo=UTC),
        )


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    from airflow.sdk.execution_time import task_runner

    supervisor = Supervisor()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    before, handler = dict(os.environ), signal.getsignal(signal.SIGTERM)
    yield supervisor
    # The runner leaves a signal handler and AIRFLOW_CTX_… behind: its process would end now.
    signal.signal(signal.SIGTERM, handler)
    for name in set(os.environ) - set(before):
        if name.startswith("AIRFLOW_CTX_"):
            del os.environ[name]


@pytest.fixture
def worker(supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worker:
    monkeypatch.setenv("AIRFLOW__MLOPS__ARTIFACTS_URI", (tmp_path / "artifacts").as_uri())
    monkeypatch.setenv("AIRFLOW__CORE__PLUGINS_FOLDER", str(tmp_path / "plugins"))
    return Worker(supervisor)


@pytest.fixture
def statsd(monkeypatch: pytest.MonkeyPatch) -> Iterator[StatsD]:
    """A StatsD server to which Airflow's metrics go, as a task's process sends them."""
    from statsd_server import StatsD

    server = StatsD()
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_HOST", "127.0.0.1")
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(server.port))
    server.listen()
    yield server
    server.close()


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Declare an Airflow connection, as an environment does."""

    def declare(conn_id: str, **settings: Any) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(settings))

    return declare


@pytest.fixture
def mlflow(mlflow_uri: str, connection: Callable[..., None]) -> str:
    """An MLflow of this test, behind the connection that tasks use."""
    connection("mlflow_default", conn_type="mlflow", host=mlflow_uri)
    return mlflow_uri


@pytest.fixture
def pipelines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of pipeline files, the one that Airflow is configured with."""
    folder = tmp_path / "pipelines"
    folder.mkdir()
    monkeypatch.setenv("AIRFLOW__MLOPS__PIPELINES_FOLDER", str(folder))
    return folder


@pytest.fixture
def customers(tmp_path: Path) -> Path:
    """Customers of a month, an hour apart; the older and richer stay."""
    chance = random.Random(7)
    file = tmp_path / "customers.csv"
    with file.open("w", newline="") as text:
        rows = csv.writer(text)
        rows.writerow(["customer", "seen_at", "age", "balance", "left"])
        for customer in range(700):
            age, balance = chance.randint(18, 80), chance.randint(0, 1000)
            stays = age / 80 + balance / 1000 + chance.gauss(0, 0.3) > 1.1
            at = datetime(2013, 2, 1, tzinfo=UTC) + timedelta(hours=customer)
            rows.writerow([f"c{customer}", at.isoformat(), age, balance, int(not stays)])
    return file


@pytest.fixture
def world(worker: Worker, mlflow_uri: str, connection: Callable[..., None], tmp_path: Path) -> World:
    """A world without rows or champion yet, to be watched."""
    from watched_world import World

    from airflow_mlops_provider.registry import Registry
    from airflow_mlops_provider.storage import ArtifactStore

    connection("mlflow_default", conn_type="mlflow", host=mlflow_uri)
    store = ArtifactStore((tmp_path / "artifacts").as_uri())
    return World(store, Registry.connect(mlflow_uri), tmp_path / "warm.csv", worker)
