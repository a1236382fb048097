"""The flights training as the DAG and as one plain script, side by side in one run.

Each round does the plain script and then the DAG, each from an empty folder, so that a slow minute of the machine
falls on both. The DAG runs under LocalExecutor with the scheduler's default settings, on an Airflow that has run one
empty task before, then once more unchanged, and with `[mlops] warm_imports`. What is counted:

- wall: from the trigger to the end of the run; for the script its whole process;
- CPU: of all of Airflow's processes during the run, the scheduler and API server included;
- peak memory: of the largest single task process, as resident memory;
- written: everything under the artifact store, MLflow's files and the growth of MLflow's database.

Usage: python benchmarks/training.py [--rounds 3] [--as-of 2014-01-01]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT / "tools"))

from local_airflow import LocalAirflow  # noqa: E402  # once its folder is on the path

DAG, SCORING = "flight_delays_training", "flight_delays_scoring"
#: The first task of an Airflow that has just started waits two seconds for its API server to load; not ours to count.
FIRST = """
from airflow.sdk import dag, task

@dag
def first():
    @task
    def nothing():
        pass
    nothing()

first()
"""
MEBIBYTE = 2**20


@dataclass
class Measured:
    """One run of one contestant."""

    wall: float
    cpu: float
    peak_mib: float
    written_mib: float
    roc_auc: float
    xcom_bytes: int = 0
    tasks: dict[str, float] = field(default_factory=dict)


class Watch:
    """Samples a family of processes: CPU time and the peak memory of each."""

    def __init__(self, roots: list[int], interval: float = 0.05) -> None:
        self._roots, self._interval = roots, interval
        self._cpu: dict[tuple[int, float], float] = {}
        self._peak: dict[tuple[int, float], int] = {}
        self._start = self._sample()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._sample()

    def _loop(self) -> None:
        while not self._done.wait(self._interval):
            self._sample()

    def _sample(self) -> dict[tuple[int, float], float]:
        for root in self._roots:
            try:
                family = [psutil.Process(root), *psutil.Process(root).children(recursive=True)]
            except psutil.NoSuchProcess:
                continue
            for process in family:
                try:
                    key = (process.pid, process.create_time())
                    times = process.cpu_times()
                    self._cpu[key] = times.user + times.system
                    self._peak[key] = max(self._peak.get(key, 0), process.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue
        return dict(self._cpu)

    @property
    def cpu(self) -> float:
        """CPU seconds since the watch was made."""
        return sum(self._cpu.values()) - sum(self._start.values())

    @property
    def peak_mib(self) -> float:
        """Largest resident memory of a process that did not run before, in MiB."""
        return max((size for key, size in self._peak.items() if key not in self._start), default=0) / MEBIBYTE


def plain(folder: Path, as_of: str) -> Measured:
    fresh(folder)
    command = [
        sys.executable,
        str(PROJECT / "benchmarks" / "plain_training.py"),
        str(folder),
        f"{as_of}T00:00:00+00:00",
    ]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "GX_ANALYTICS_ENABLED": "false"}
    began = time.perf_counter()
    with (folder / "err.log").open("wb") as errors:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        output = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    if process.returncode != 0:
        raise SystemExit((folder / "err.log").read_text(encoding="utf-8")[-3000:])
    printed = json.loads(output.strip().splitlines()[-1])
    return Measured(
        wall,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / 1024,
        size_of(folder, "mlflow.db", "mlartifacts", "mlruns") - EMPTY_MLFLOW_MIB,
        printed["metrics"]["roc_auc"],
    )


def dag(folder: Path, as_of: str, *, warm: bool = False, again: bool = False) -> list[Measured]:
    """Run the DAG from an empty folder; with `again`, once more unchanged."""
    fresh(folder)
    environment = {"AIRFLOW__MLOPS__WARM_IMPORTS": str(warm)}
    dags = folder / "dags"
    shutil.copytree(PROJECT / "dags", dags)
    (dags / "first.py").write_text(FIRST, encoding="utf-8")
    with LocalAirflow(folder, dags=dags, environment=environment) as airflow:
        airflow.wait_for_dag(DAG)
        airflow.wait_for_dag("first")
        # What follows from a champion is not part of what is measured.
        airflow.wait_for_dag(SCORING)
        airflow.cli("dags", "pause", SCORING)
        airflow.post("/api/v2/dags/first/dagRuns", {"dag_run_id": "first", "logical_date": None})
        airflow.wait_for_run("first", "first")
        return [_dag_run(airflow, f"run-{number}", as_of) for number in range(2 if again else 1)]


def _dag_run(airflow: LocalAirflow, run_id: str, as_of: str) -> Measured:
    with Watch([process.pid for process in airflow.processes]) as watch:
        began = time.perf_counter()
        body = {"dag_run_id": run_id, "logical_date": None, "conf": {"as_of": as_of}}
        airflow.post(f"/api/v2/dags/{DAG}/dagRuns", body)
        state = airflow.wait_for_run(DAG, run_id)
        wall = time.perf_counter() - began
    if state != "success":
        raise SystemExit(f"the run {state}; see {airflow.home}/logs")
    tasks, xcom = {}, 0
    for task in airflow.tasks(DAG, run_id):
        name = task["task_id"] + (f"[{task['rendered_map_index']}]" if task["map_index"] >= 0 else "")
        tasks[name] = task["duration"]
        if task["state"] == "success":
            xcom += len(json.dumps(airflow.xcom(DAG, run_id, task["task_id"], task["map_index"])).encode())
    written = size_of(airflow.home, "artifacts", "mlflow.db", "mlartifacts") - EMPTY_MLFLOW_MIB
    roc_auc = airflow.xcom(DAG, run_id, "evaluate")["facts"]["metrics"]["roc_auc"]
    return Measured(wall, watch.cpu, watch.peak_mib, written, roc_auc, xcom, tasks)


def fresh(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def size_of(folder: Path, *names: str) -> float:
    """Return the size of files and folders, in MiB."""
    files = [
        file for name in names for file in ((folder / name).rglob("*") if (folder / name).is_dir() else [folder / name])
    ]
    return sum(file.stat().st_size for file in files if file.is_file()) / MEBIBYTE


def empty_mlflow() -> float:
    """Return the size of MLflow's schema without a row, in MiB."""
    folder = PROJECT / ".bench" / "empty"
    fresh(folder)
    make = "import sys; from mlflow import MlflowClient; MlflowClient(sys.argv[1]).search_experiments()"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", make, f"sqlite:///{folder}/mlflow.db"], check=True, capture_output=True
    )
    return size_of(folder, "mlflow.db")


def median(rounds: list[Measured]) -> dict[str, float]:
    return {
        name: statistics.median(getattr(measured, name) for measured in rounds)
        for name in ("wall", "cpu", "peak_mib", "written_mib", "roc_auc", "xcom_bytes")
    }


def report(results: dict[str, list[Measured]]) -> None:
    base = median(results["plain script"])
    print("\n| | wall | CPU | peak memory of a process | written | XCom | roc_auc |")
    print("|---|---|---|---|---|---|---|")
    for name, rounds in results.items():
        m = median(rounds)
        cells = (
            f"{m['wall']:.1f} s ({m['wall'] / base['wall']:.2f}x)",
            f"{m['cpu']:.1f} s ({m['cpu'] / base['cpu']:.2f}x)",
            f"{m['peak_mib']:.0f} MiB ({m['peak_mib'] / base['peak_mib']:.2f}x)",
            f"{m['written_mib']:.1f} MiB",
            f"{m['xcom_bytes'] / 1024:.1f} KiB",
            f"{m['roc_auc']:.4f}",
        )
        print(f"| {name} | " + " | ".join(cells) + " |")
    print("\n| task (seconds, medians) | " + " | ".join(name for name in results if name != "plain script") + " |")
    print("|---" * len(results) + "|")
    for task in next(rounds[0].tasks for name, rounds in results.items() if rounds[0].tasks):
        cells = [
            f"{statistics.median(measured.tasks[task] for measured in rounds):.1f}"
            for name, rounds in results.items()
            if name != "plain script"
        ]
        print(f"| {task} | " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--as-of", default="2014-01-01")
    options = parser.parse_args()
    bench = PROJECT / ".bench"
    results: dict[str, list[Measured]] = {"plain script": [], "DAG": [], "DAG again": [], "DAG, warm imports": []}
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", flush=True)
        results["plain script"].append(plain(bench / "plain", options.as_of))
        first, again = dag(bench / "dag", options.as_of, again=True)
        results["DAG"].append(first)
        results["DAG again"].append(again)
        results["DAG, warm imports"] += dag(bench / "warm", options.as_of, warm=True)
    python = sys.version.split()[0]
    print(f"\n{len(os.sched_getaffinity(0))} cores, Python {python}, as of {options.as_of}")
    report(results)


EMPTY_MLFLOW_MIB = empty_mlflow()

if __name__ == "__main__":
    main()
