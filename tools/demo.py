"""The whole life of a model on a real Airflow, on this machine: the flights of 2013.

`demo.py run` starts from an empty `.demo/`, tells the story, and leaves nothing running.
`demo.py up` shows what it left: Airflow's and MLflow's web pages, until Ctrl-C.
"""

from __future__ import annotations

import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from demo_screen import heading
from demo_story import Story
from local_airflow import LocalAirflow, end, free_port

HOME = Path(__file__).resolve().parent.parent / ".demo"
#: Tasks follow each other sooner than by default, and find the libraries imported: see docs/performance.md.
_BRISK = {"AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1", "AIRFLOW__MLOPS__WARM_IMPORTS": "True"}
#: Each start makes new ones, and no command needs them.
_SECRET = ("AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__API__SECRET_KEY", "AIRFLOW__API_AUTH__JWT_SECRET")


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
    """Tell the story, from nothing to a rollback."""
    began = time.monotonic()
    # The links in Airflow lead to where `make demo-up` will serve MLflow.
    airflow = LocalAirflow(HOME, mlflow_ui="http://127.0.0.1:5000", environment=_BRISK)
    print(f"Starting Airflow and MLflow on SQLite in {HOME.name}/ ...", flush=True)
    shutil.rmtree(HOME, ignore_errors=True)
    with airflow:
        write_environment(airflow)
        story = Story(airflow)
        for chapter in (story.train, story.watch, story.retrain, story.look_again, story.roll_back):
            chapter()
        story.sum_up()
    print(f"\n{time.monotonic() - began:.0f} s in all, Airflow's start included.")
    heading("Where to look next")
    print("  make demo-up          the same Airflow and MLflow in your browser")
    print("  . .demo/env           a shell of this Airflow: airflow mlops backtest flight_delays --help")
    print("  docs/quickstart.md    what there is to see, and a pipeline in your own Airflow")
    print("  docs/time-machine.md  the same autumn replayed with other thresholds")
    return 0


def write_environment(airflow: LocalAirflow) -> None:
    """Write what a shell needs for `airflow` to mean this one: `. .demo/env`.

    All of it, though this process be started in such a shell: the next one knows nothing of it.
    """
    programs = shlex.quote(str(Path(sys.executable).parent))
    lines = [
        f"export {name}={shlex.quote(value)}\n"
        for name, value in airflow.settings.items()
        if name not in (*_SECRET, "PATH")
    ]
    lines.append(f'export PATH={programs}:"$PATH"\n')
    (airflow.home / "env").write_text("".join(lines), encoding="utf-8")


def up() -> int:
    """Serve the web pages of Airflow and MLflow over what the demo left."""
    if not (HOME / "mlflow.db").is_file():
        print("There is nothing to show yet: run `make demo` first.")
        return 1
    mlflow_port, airflow_port = port(5000), port(8080)
    ui_url = f"http://127.0.0.1:{mlflow_port}"
    airflow = LocalAirflow(HOME, port=airflow_port, mlflow_ui=ui_url)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", airflow.mlflow_uri]
    write_environment(airflow)
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
