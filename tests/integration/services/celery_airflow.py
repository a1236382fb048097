"""Airflow as it is in production: CeleryExecutor, workers, PostgreSQL and Redis; all on loopback."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_airflow import LocalAirflow

if TYPE_CHECKING:
    from collections.abc import Mapping

_HERE = Path(__file__).resolve().parents[1]
#: What no worker is told: it asks the API server, with the token that came with its task.
_NOT_FOR_WORKERS = (
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    "AIRFLOW__CORE__FERNET_KEY",
    "AIRFLOW__API_AUTH__JWT_SECRET",
    "AIRFLOW__API__SECRET_KEY",
)
#: Name of a worker, and the queues that it serves besides the default one.
WORKERS = {"worker-1": (), "worker-2": ("second",)}


class CeleryAirflow(LocalAirflow):
    """One Airflow with Celery workers under `home`; a context manager that starts and stops it.

    Workers know neither the metadata database nor Airflow's keys. Each runs one task at a time, so that tasks that are
    ready together go to different workers, and is its tasks' `hostname` in Airflow's API.

    :param home: folder for everything but the databases.
    :param database: address of an empty PostgreSQL database for Airflow's metadata.
    :param broker: address of a Redis.
    :param mlflow_uri: tracking URI of an MLflow server that runs; SQLite in `home` when left out.
    :param workers: names, and the queues that each serves besides the default one.
    :param environment: settings besides ours.
    :param options: of `LocalAirflow`.
    """

    def __init__(
        self,
        home: Path,
        *,
        database: str,
        broker: str,
        mlflow_uri: str | None = None,
        workers: Mapping[str, tuple[str, ...]] = WORKERS,
        environment: dict[str, str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(home, triggerer=True, **options)
        self._database_of_its_own = mlflow_uri is None
        self.mlflow_uri = mlflow_uri or self.mlflow_uri
        self.workers = dict(workers)
        self.environment |= {
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "services.worker_name.worker_name",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
            "AIRFLOW__CELERY__BROKER_URL": broker,
            "AIRFLOW__CELERY__RESULT_BACKEND": broker.removesuffix("/0") + "/1",
            "PYTHONPATH": os.pathsep.join([str(_HERE), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
            **(environment or {}),
        }
        for worker, queues in self.workers.items():
            served = ",".join(["default", *queues])
            self.commands[worker] = ["airflow", "celery", "worker", "--celery-hostname", f"{worker}@127.0.0.1"]
            self.commands[worker] += ["--concurrency", "1", "--queues", served, "--skip-serve-logs"]

    def _preparations(self) -> dict[str, list[str]]:
        commands = super()._preparations()
        if not self._database_of_its_own:
            del commands["mlflow"]
        return commands

    def _environment_of(self, part: str) -> dict[str, str]:
        hidden = _NOT_FOR_WORKERS if part in self.workers else ()
        seen = {name: value for name, value in super()._environment_of(part).items() if name not in hidden}
        return {**seen, "MLOPS_TEST_PART": part}

    def _wait_until_healthy(self, seconds: float = 120) -> None:
        super()._wait_until_healthy(seconds)
        deadline = time.monotonic() + seconds
        waiting = set(self.workers)
        while waiting:
            for worker in list(waiting):
                log = self.home / "logs" / f"{worker}.log"
                if f"{worker}@127.0.0.1 ready" in log.read_text(encoding="utf-8", errors="replace"):
                    waiting.discard(worker)
                elif self._processes[worker].poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{worker} is not ready; see {log}")
            time.sleep(0.1)
