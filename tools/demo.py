"""From nothing to a champion that scores: the flights pipeline on a real Airflow, on this machine.

`demo.py run` starts from an empty `.demo/`, runs, tells the story, and leaves nothing running.
`demo.py up` shows what it left: Airflow's and MLflow's web pages, until Ctrl-C.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from local_airflow import LocalAirflow, end, free_port

PROJECT = Path(__file__).resolve().parent.parent
HOME = PROJECT / ".demo"
TRAINING, SCORING, DATE = "flight_delays_training", "flight_delays_scoring", "2013-07-01"
SHOWN = ("success", "failed", "skipped", "up_for_retry", "upstream_failed")


def main() -> int:
    """Run one of the two verbs."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    verb = {"run": run, "up": up}.get(sys.argv[1] if len(sys.argv) == 2 else "")
    if verb is None:
        print(f"usage: {sys.argv[0]} run | up")
        return 2
    try:
        return verb()
    except KeyboardInterrupt:
        print("\nStopped. Nothing is left running.")
        return 130
    except RuntimeError as error:
        print(f"\nThe demo did not get through: {error}")
        return 1


def run() -> int:
    """Train, gate and promote for one date of 2013."""
    began = time.monotonic()
    # The links in Airflow lead to where `make demo-up` will serve MLflow.
    airflow = LocalAirflow(HOME, mlflow_ui="http://127.0.0.1:5000")
    print(f"Starting Airflow and MLflow on SQLite in {HOME.name}/ ...", flush=True)
    shutil.rmtree(HOME, ignore_errors=True)
    with airflow:
        airflow.wait_for_dag(TRAINING)
        print(f"$ airflow dags trigger {TRAINING} --logical-date {DATE}", flush=True)
        airflow.cli("dags", "trigger", TRAINING, "--logical-date", DATE, "--run-id", "demo")
        if not follow(airflow, TRAINING, "demo"):
            return 1
        report(airflow, "demo")
        print(f"\nThe new champion triggers {SCORING}:", flush=True)
        scoring = triggered(airflow, SCORING)
        if not follow(airflow, SCORING, scoring):
            return 1
        scored = airflow.xcom(SCORING, quote(scoring), "score")["facts"]
        print(f"  {scored['rows']} flights of the day before scored with version {scored['version']}")
    print(f"\n{time.monotonic() - began:.0f} s in all, Airflow's start included.")
    print(
        "Next: `make demo-up` opens the same Airflow and MLflow in your browser; docs/quickstart.md goes on from there."
    )
    return 0


def triggered(airflow: LocalAirflow, dag_id: str, seconds: float = 60) -> str:
    """Return the id of the run that an asset event started."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if runs := airflow.get(f"/api/v2/dags/{dag_id}/dagRuns")["dag_runs"]:
            run_id: str = runs[0]["dag_run_id"]
            return run_id
        time.sleep(0.5)
    raise RuntimeError(f"no run of {dag_id} began in {seconds:.0f} s; logs are in {HOME}/logs")


def follow(airflow: LocalAirflow, dag_id: str, run_id: str, seconds: float = 300) -> bool:
    """Print each task as it ends, and return whether the run succeeded."""
    seen: set[tuple[str, int, str]] = set()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        state: str = airflow.get(f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id)}")["state"]
        tasks = airflow.tasks(dag_id, quote(run_id))
        for task in sorted(tasks, key=lambda task: task["end_date"] or "9"):
            mark = (task["task_id"], task["map_index"], task["state"])
            if task["state"] in SHOWN and mark not in seen:
                seen.add(mark)
                name = task["rendered_map_index"]
                print(
                    f"  {task['state']:<16} {task['duration'] or 0:6.1f} s  {task['task_id']} {name or ''}", flush=True
                )
        if state == "failed":
            print(f"\nThe run failed. Logs: {HOME}/logs/dag_id={dag_id}")
        if state in ("success", "failed"):
            return state == "success"
        time.sleep(0.5)
    raise RuntimeError(f"the run did not end in {seconds:.0f} s; logs are in {HOME}/logs")


def report(airflow: LocalAirflow, run_id: str) -> None:
    """Print the gates, the champion, and what it has learnt."""
    gate = airflow.xcom(TRAINING, run_id, "gate")["facts"]
    print("\nGates")
    table(
        [
            ("gate", "passed", "got", "expected"),
            *((row[0], "yes" if row[1] else "NO", *row[2:]) for row in gate["verdicts"]),
        ]
    )
    promoted = airflow.xcom(TRAINING, run_id, "promote")["facts"]
    evaluated = airflow.xcom(TRAINING, run_id, "evaluate")["facts"]
    print(f"\nChampion of flight_delays: {evaluated['winner']}; {promoted['reason']}")
    table([("metric", "holdout"), *((name, f"{value:.4f}") for name, value in evaluated["metrics"].items())])


def table(rows: list[tuple[Any, ...]]) -> None:
    """Print rows in aligned columns."""
    widths = [max(len(str(cell)) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  " + "  ".join(f"{cell!s:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def up() -> int:
    """Serve the web pages of Airflow and MLflow over what the demo left."""
    if not (HOME / "mlflow.db").is_file():
        print("There is nothing to show yet: run `make demo` first.")
        return 1
    mlflow_port, airflow_port = port(5000), port(8080)
    ui_url = f"http://127.0.0.1:{mlflow_port}"
    airflow = LocalAirflow(HOME, port=airflow_port, mlflow_ui=ui_url)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", airflow.mlflow_uri]
    with airflow, (HOME / "logs" / "mlflow-server.log").open("ab") as log:
        environment = airflow.environment | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(mlflow_port), "--workers", "1"],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            print(f"Airflow  {airflow.url}\nMLflow   {ui_url}\nCtrl-C ends both.", flush=True)
            server.wait()
            raise RuntimeError(f"the MLflow server ended; see {HOME}/logs/mlflow-server.log")
        finally:
            end([server.pid])


def port(wanted: int) -> int:
    """Return a port that people know when it is free, else any."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", wanted)) != 0:
            return wanted
    return free_port()


if __name__ == "__main__":
    sys.exit(main())
