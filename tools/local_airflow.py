"""A whole Airflow on this machine, on loopback only: for the demo, the tests and the benchmarks.

SQLite, LocalExecutor, and MLflow on SQLite beside it. Everything lies in one folder, and nothing is left
running: a second start first ends what an earlier one, killed the hard way, left behind.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from base64 import urlsafe_b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from local_processes import end, end_leftovers, free_port

PARTS = ("api-server", "scheduler", "dag-processor")
_PROJECT = Path(__file__).resolve().parent.parent
#: How long a connection of Airflow's waits for SQLite's one writer. No longer: the API server writes what a person did
#: in its event loop, and so waits for a request that waits for the loop.
_LOCK_SECONDS = 20
#: How long an answer may take.
_ANSWER_SECONDS = 90
#: Entries of a list that one request asks for: the most that Airflow gives.
_PAGE = 100


class LocalAirflow:
    """One Airflow under `home`; a context manager that starts and stops it.

    :param home: folder for everything: metadata database, logs, MLflow, artifacts.
    :param dags: DAGs folder; the project's when left out.
    :param pipelines: folder of pipeline files; the project's when left out.
    :param environment: settings besides ours.
    :param port: of the API and UI; a free one when 0.
    :param mlflow_ui: where links to MLflow lead, when a server shows the database.
    :param triggerer: start one as well, for tasks that defer.
    :param users: roles of who may log in, by name, which is the password too; requests here are the first one's. When
        left out, everybody is an administrator without a login.
    :param databases: folder with databases, still empty, that are copied: to make one takes seconds.
    """

    def __init__(
        self,
        home: Path,
        *,
        dags: Path = _PROJECT / "dags",
        pipelines: Path = _PROJECT / "config" / "pipelines",
        environment: dict[str, str] | None = None,
        port: int = 0,
        mlflow_ui: str | None = None,
        triggerer: bool = False,
        users: dict[str, str] | None = None,
        databases: Path | None = None,
    ) -> None:
        self.home = home.resolve()
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.mlflow_uri = f"sqlite:///{self.home}/mlflow.db"
        self.mlflow_ui = mlflow_ui
        self.artifacts = self.home / "artifacts"
        self.users = users or {}
        self._databases = databases
        # Their log servers would listen on every interface, and serve nothing here.
        quiet = {"scheduler": ["--skip-serve-logs"], "triggerer": ["--skip-serve-logs"]}
        parts = (*PARTS, "triggerer") if triggerer else PARTS
        self.commands = {part: ["airflow", part, *quiet.get(part, [])] for part in parts}
        self.settings = {**self._settings(dags, pipelines), **(environment or {})}
        # Settings of the process that starts it are of another Airflow.
        outside = {name: value for name, value in os.environ.items() if not name.lstrip("_").startswith("AIRFLOW_")}
        self.environment = {**outside, **self.settings}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._token: str | None = None

    def _settings(self, dags: Path, pipelines: Path) -> dict[str, str]:
        mlflow = {"conn_type": "mlflow", "host": self.mlflow_uri, "extra": {"ui_url": self.mlflow_ui}}
        return {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(_PROJECT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": str(not self.users),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in self.users.items()),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__FERNET_KEY": urlsafe_b64encode(os.urandom(32)).decode(),
            # In a storm of runs SQLite's own 5 seconds are not enough: "database is locked" ends the scheduler.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home}/airflow.db?timeout={_LOCK_SECONDS}",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "AIRFLOW__MLOPS__PIPELINES_FOLDER": str(pipelines),
            "AIRFLOW__MLOPS__ARTIFACTS_URI": self.artifacts.as_uri(),
            "AIRFLOW_CONN_MLFLOW_DEFAULT": json.dumps(mlflow),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "1",
        }

    def __enter__(self) -> LocalAirflow:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Make the databases, start every part, and wait until all are healthy.

        :raises RuntimeError: when a part ends or is not healthy within two minutes; names its log.
        """
        end_leftovers(self.home)
        logs = self.home / "logs"
        try:
            self.migrate()
            for part in self.commands:
                self._spawn(part, logs)
            self._wait_until_healthy()
        except BaseException:
            self.stop()
            raise

    def _preparations(self) -> dict[str, list[str]]:
        """Return the commands that make the databases, by the name of each."""
        mlflow = "import sys; from mlflow import MlflowClient; MlflowClient(sys.argv[1]).search_experiments()"
        return {
            "airflow": ["airflow", "db", "migrate"],
            "mlflow": [sys.executable, "-W", "ignore", "-c", mlflow, self.mlflow_uri],
        }

    def migrate(self) -> None:
        """Make the databases that are not copied, at the same time: each takes some seconds, once.

        :raises RuntimeError: when one cannot be made; names its log.
        """
        logs, running = self.home / "logs", {}
        logs.mkdir(parents=True, exist_ok=True)
        (self.home / "passwords.json").write_text(json.dumps({name: name for name in self.users}), encoding="utf-8")
        copied = {} if self._databases is None else {file.stem: file for file in self._databases.glob("*.db")}
        for database in copied.values():
            if not (self.home / database.name).exists():
                shutil.copy(database, self.home)
        for name, command in self._preparations().items():
            if name not in copied:
                with (logs / f"{name}.db.log").open("ab") as log:
                    running[name] = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        for name, process in running.items():
            if process.wait() != 0:
                raise RuntimeError(f"the database of {name} was not made; see {logs / name}.db.log")

    def _spawn(self, part: str, logs: Path) -> None:
        with (logs / f"{part}.log").open("ab") as log:
            process = subprocess.Popen(
                self.commands[part],
                env=self._environment_of(part),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.home,
                start_new_session=True,
            )
        self._processes[part] = process
        (self.home / "pids").write_text("\n".join(str(running.pid) for running in self._processes.values()))

    def _environment_of(self, part: str) -> dict[str, str]:
        """Return what a part sees."""
        return self.environment

    def _wait_until_healthy(self, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for part, process in self._processes.items():
                if process.poll() is not None:
                    raise RuntimeError(
                        f"airflow {part} ended with {process.returncode}; see {self.home}/logs/{part}.log"
                    )
            try:
                health = self.get("/api/v2/monitor/health", authenticated=False)
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.3)
                continue
            watched = [name for part in self.commands if (name := part.replace("-", "_")) in health]
            if all(health[part]["status"] == "healthy" for part in watched):
                return
            time.sleep(0.3)
        raise RuntimeError(f"Airflow was not healthy after {seconds:.0f} s; see {self.home}/logs")

    def stop(self) -> None:
        """End every part and everything that it started."""
        end([process.pid for process in self._processes.values()])
        for process in self._processes.values():
            process.wait()
        self._processes = {}
        (self.home / "pids").unlink(missing_ok=True)

    def kill(self, part: str) -> None:
        """End one part and everything that it started by SIGKILL, as a lost machine does."""
        process = self._processes.pop(part)
        family = [process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))]
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()

    def restart(self, part: str) -> None:
        """Start one part anew, after ending it if it runs, and wait until all parts are healthy."""
        if part in self._processes:
            self.kill(part)
        self._spawn(part, self.home / "logs")
        self._wait_until_healthy()

    @property
    def processes(self) -> list[subprocess.Popen[bytes]]:
        """The running parts."""
        return list(self._processes.values())

    def cli(self, *arguments: str, check: bool = True) -> str:
        """Run an `airflow` command against this Airflow and return what it prints.

        :raises RuntimeError: when it fails; holds what it printed.
        """
        done = subprocess.run(["airflow", *arguments], env=self.environment, capture_output=True, text=True)
        if check and done.returncode != 0:
            raise RuntimeError(f"airflow {' '.join(arguments)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
        return done.stdout

    def get(self, path: str, *, authenticated: bool = True) -> Any:
        """GET from the REST API.

        :raises RuntimeError: when the answer is a page of a longer list, which would change with what else runs here.
        """
        found = self._request("GET", path, None, authenticated)
        if isinstance(found, dict) and (total := found.get("total_entries")) is not None:
            [entries] = [value for value in found.values() if isinstance(value, list)]
            if len(entries) < total:
                raise RuntimeError(f"GET {path} gave {len(entries)} of {total} entries: read them with every()")
        return found

    def every(self, path: str, key: str) -> list[dict[str, Any]]:
        """GET everything that a list of the REST API has, page by page: a page alone is the first of what others left.

        :param path: of the list, with its filters.
        :param key: under which the answer holds the list.
        """
        found: list[dict[str, Any]] = []
        while True:
            where = f"{path}{'&' if '?' in path else '?'}limit={_PAGE}&offset={len(found)}"
            page = self._request("GET", where, None, True)
            found += page[key]
            if not page[key] or len(found) >= page["total_entries"]:
                return found

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """POST to the REST API."""
        return self._request("POST", path, body, True)

    def patch(self, path: str, body: dict[str, Any]) -> Any:
        """PATCH to the REST API."""
        return self._request("PATCH", path, body, True)

    def delete(self, path: str) -> Any:
        """DELETE by the REST API."""
        return self._request("DELETE", path, None, True)

    def _request(self, method: str, path: str, body: dict[str, Any] | None, authenticated: bool) -> Any:
        headers = {"Content-Type": "application/json"}
        if authenticated:
            if self._token is None:
                name = next(iter(self.users), "anybody")
                login = {"username": name, "password": name}
                self._token = self._request("POST", "/auth/token", login, False)["access_token"]
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data=data, headers=headers, method=method)
        for patience in reversed(range(5)):
            try:
                with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as response:
                    return json.loads(response.read() or b"null")
            except urllib.error.HTTPError as error:
                # SQLite lets one write at a time: a busy Airflow answers 500 to a request that it did not carry out.
                if error.code < 500 or not patience:
                    raise
            except TimeoutError:
                # It may have carried out what it did not answer; only a question can be asked again.
                if method != "GET" or not patience:
                    raise
            time.sleep(1)
        raise AssertionError("the last try returns or raises")

    def wait_for_dag(self, dag_id: str, seconds: float = 60) -> None:
        """Wait until a DAG has been parsed.

        :raises RuntimeError: when it has not; holds the import errors.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                self.get(f"/api/v2/dags/{dag_id}")
            except urllib.error.HTTPError as error:
                if error.code != 404:
                    raise
                time.sleep(0.3)
            else:
                return
        errors = self.get("/api/v2/importErrors")["import_errors"]
        raise RuntimeError(f"{dag_id} was not parsed in {seconds:.0f} s: {errors}")

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run."""
        return self.every(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances", "task_instances")

    def xcom(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1, key: str = "return_value") -> Any:
        """Return what a task pushed."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.get(f"{path}?map_index={map_index}")["value"]

    def wait_for_run(self, dag_id: str, run_id: str, seconds: float = 240) -> str:
        """Wait until a run has ended, and return its state.

        :raises RuntimeError: when it has not; holds the state of each task.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            state: str = self.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"]
            if state in ("success", "failed"):
                return state
            time.sleep(0.5)
        states = {f"{task['task_id']}[{task['map_index']}]": task["state"] for task in self.tasks(dag_id, run_id)}
        raise RuntimeError(f"{dag_id} {run_id} did not end in {seconds:.0f} s: {states}")
