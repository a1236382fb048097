"""What the tests ask of a run."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mlops_provider.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from local_airflow import LocalAirflow


class Run:
    """One run of one of a pipeline's DAGs on a real Airflow; of the training DAG unless another kind is named."""

    def __init__(self, airflow: LocalAirflow, pipeline: str, run_id: str, kind: str = "training") -> None:
        self.airflow, self.pipeline, self.run_id = airflow, pipeline, run_id
        self.dag_id = f"{pipeline}_{kind}"

    @classmethod
    def of(cls, airflow: LocalAirflow, pipeline: str, day: str, run_id: str | None = None, **conf: Any) -> Run:
        """Trigger a run for a day, and wait until it has ended."""
        run = cls(airflow, pipeline, run_id or f"for-{day}")
        seconds = conf.pop("seconds", 180)
        airflow.wait_for_dag(run.dag_id)
        airflow.post(
            f"/api/v2/dags/{run.dag_id}/dagRuns",
            {"dag_run_id": run.run_id, "logical_date": None, "conf": {"as_of": day, **conf}},
        )
        return run.ended(seconds)

    @classmethod
    def triggered(cls, airflow: LocalAirflow, pipeline: str, kind: str, number: int = 1) -> Run:
        """Wait until assets have triggered so many runs of a DAG, and until the last of them has ended."""
        deadline = time.monotonic() + 120
        path = f"/api/v2/dags/{pipeline}_{kind}/dagRuns?run_type=asset_triggered&order_by=id"
        while len(runs := airflow.every(path, "dag_runs")) < number:
            assert time.monotonic() < deadline, f"{len(runs)} runs of {pipeline}_{kind} were triggered, not {number}"
            time.sleep(0.5)
        return cls(airflow, pipeline, runs[number - 1]["dag_run_id"], kind).ended()

    def ended(self, seconds: float = 180) -> Run:
        """Wait until the run has ended."""
        self.state = self.airflow.wait_for_run(self.dag_id, self.run_id, seconds)
        return self

    def cleared(self) -> Run:
        """Clear every task, and wait until the run has ended again."""
        self.clear()
        return self.ended()

    def clear(self) -> None:
        """Clear every task."""
        self.airflow.post(
            f"/api/v2/dags/{self.dag_id}/clearTaskInstances",
            {"dry_run": False, "dag_run_id": self.run_id, "only_failed": False, "reset_dag_runs": True},
        )

    @property
    def tasks(self) -> dict[str, dict[str, Any]]:
        """Task instances by id, mapped ones with their name: `train[logistic]`."""
        named = {}
        for task in self.airflow.tasks(self.dag_id, self.run_id):
            name = f"[{task['rendered_map_index']}]" if task["map_index"] >= 0 else ""
            named[task["task_id"] + name] = task
        return named

    @property
    def states(self) -> dict[str, str]:
        """State of each task."""
        return {name: task["state"] for name, task in self.tasks.items()}

    def value(self, task_id: str, map_index: int = -1) -> Any:
        """What a task returned."""
        return self.airflow.xcom(self.dag_id, self.run_id, task_id, map_index)

    def log(self, task_id: str, map_index: int = -1) -> list[dict[str, Any]]:
        """The log of a task's last try."""
        mapped = f"map_index={map_index}/" if map_index >= 0 else ""
        folder: Path = self.airflow.home / "logs" / f"dag_id={self.dag_id}" / f"run_id={self.run_id}"
        files = sorted(
            (folder / f"task_id={task_id}" / mapped).glob("attempt=*.log"), key=lambda file: file.stat().st_mtime
        )
        return [json.loads(line) for line in files[-1].read_text(encoding="utf-8").splitlines() if line.startswith("{")]

    def error(self, task_id: str, map_index: int = -1) -> str:
        """The message of the exception that ended a task."""
        found = [
            detail["exc_value"] for entry in self.log(task_id, map_index) for detail in entry.get("error_detail") or []
        ]
        return str(found[0]) if found else ""


def registry(airflow: LocalAirflow) -> Registry:
    """Return the registry of an Airflow's MLflow."""
    return Registry.connect(airflow.mlflow_uri)


def mlflow_state(airflow: LocalAirflow, pipeline: str) -> dict[str, Any]:
    """Return what MLflow holds of a pipeline: runs, versions, aliases, ledger."""
    from mlflow import MlflowClient

    client = MlflowClient(airflow.mlflow_uri)
    experiment = client.get_experiment_by_name(pipeline)
    runs = client.search_runs([experiment.experiment_id]) if experiment else []
    versions = client.search_model_versions(f"name='{pipeline}'")
    aliases = client.get_registered_model(pipeline).aliases if versions else {}
    return {
        "runs": sorted(run.info.run_name for run in runs),
        "unfinished": [run.info.run_name for run in runs if run.info.status != "FINISHED"],
        "versions": sorted(int(version.version) for version in versions),
        "aliases": {name: int(version) for name, version in aliases.items()},
        "ledger": [(entry.action, entry.version) for entry in registry(airflow).history(pipeline)],
    }


def until(airflow: LocalAirflow, found: Callable[[], Any], what: str, seconds: float = 180) -> Any:
    """Wait until something is there, and return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := found():
            return value
        time.sleep(0.5)
    pytest.fail(f"{what} did not happen within {seconds:.0f} s")


def runs(airflow: LocalAirflow, dag_id: str, **wanted: str) -> list[dict[str, Any]]:
    """Return the runs of a DAG that have certain values."""
    every = airflow.every(f"/api/v2/dags/{dag_id}/dagRuns", "dag_runs")
    return [run for run in every if all(run[key] == value for key, value in wanted.items())]


def settled(airflow: LocalAirflow, name: str, *kinds: str) -> None:
    """Wait until the DAGs of a pipeline, of these kinds or all that work by themselves, have nothing left to do."""

    def quiet() -> bool:
        every = [
            run for kind in kinds or ("training", "scoring", "monitoring") for run in runs(airflow, f"{name}_{kind}")
        ]
        return all(run["state"] in ("success", "failed") for run in every)

    for _ in range(3):
        until(airflow, quiet, f"{name}: an end")
        time.sleep(1)


def asset_id(airflow: LocalAirflow, name: str) -> int:
    """Return the id of an asset."""
    assets = airflow.every(f"/api/v2/assets?name_pattern={name}", "assets")
    [found] = [asset["id"] for asset in assets if asset["name"] == name]
    return int(found)


def events(airflow: LocalAirflow, asset: str) -> list[dict[str, Any]]:
    """Return the extras of an asset's events, oldest first."""
    every = airflow.every(f"/api/v2/assets/events?asset_id={asset_id(airflow, asset)}", "asset_events")
    return [event["extra"] for event in sorted(every, key=lambda event: int(event["id"]))]
