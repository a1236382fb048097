from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from made_up import write_pipeline

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = {"pandas", "sklearn", "mlflow", "great_expectations"}
#: Of this package, what parses a pipeline's DAG file, and what a task imports when it runs.
OWN = {
    f"airflow_mlops_provider.{name}"
    for name in ("dag_templates.training", "effects.gating", "hooks.sql", "operators.gates", "runner", "steps.train")
}

#: Starts components as Airflow's commands do, each with its setting, and prints what is imported after each.
START = """
import json, os, sys

from airflow.jobs.job import Job
from airflow.listeners.listener import get_listener_manager
from airflow.sdk.execution_time.task_runner import TaskRunnerMarker

for command, warm_imports in json.loads(sys.argv[1]):
    os.environ.pop("AIRFLOW__MLOPS__WARM_IMPORTS", None)
    if warm_imports is not None:
        os.environ["AIRFLOW__MLOPS__WARM_IMPORTS"] = warm_imports
    # A task is forked from the scheduler, and keeps its command line.
    sys.argv = ["airflow", "scheduler" if command == "a task" else command]
    if command == "a task":
        get_listener_manager().hook.on_starting(component=TaskRunnerMarker())
    else:
        Job()
    spec = sys.modules.get("airflow_mlops_provider.spec")
    built = ["what validates a pipeline"] if spec and spec.Pipeline.__pydantic_complete__ else []
    print(json.dumps(sorted(sys.modules) + built))
"""


def modules_after_start(home: Path, *components: tuple[str, str | None]) -> list[set[str]]:
    environment = {**os.environ, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", START, json.dumps(components)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [set(json.loads(line)) for line in done.stdout.splitlines()[-len(components) :]]


def test_the_scheduler_is_warmed_when_it_is_asked_to(tmp_path: Path) -> None:
    (modules,) = modules_after_start(tmp_path, ("scheduler", "True"))

    assert modules >= HEAVY | OWN | {"what validates a pipeline"}


def test_no_other_process_and_no_unasked_scheduler_imports_anything(tmp_path: Path) -> None:
    components = [
        ("scheduler", None),
        ("scheduler", "False"),
        ("triggerer", "True"),
        ("dag-processor", "True"),
        ("a task", "True"),
    ]

    for component, modules in zip(components, modules_after_start(tmp_path, *components), strict=True):
        assert "airflow_mlops_provider.warm_imports" in modules
        assert modules & (HEAVY | OWN) == set(), component


def test_the_api_server_makes_ready_for_the_first_page_once_it_serves(tmp_path: Path, mlflow_uri: str) -> None:
    code = """
import sys, threading
from airflow import plugins_manager

apps, [middleware] = plugins_manager.get_fastapi_plugins()
assert "mlflow" not in sys.modules and "airflow_mlops_provider.ui.app" not in sys.modules
assert middleware["middleware"](apps) is apps
[thread] = [thread for thread in threading.enumerate() if thread.name == "mlops-warm"]
thread.join()
assert {"mlflow.store.tracking.sqlalchemy_store", "airflow_mlops_provider.ui.app"} <= set(sys.modules)
"""
    write_pipeline(tmp_path, "churn")
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__MLOPS__PIPELINES_FOLDER": str(tmp_path),
        "AIRFLOW_CONN_MLFLOW_DEFAULT": json.dumps({"conn_type": "mlflow", "host": mlflow_uri}),
    }
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
