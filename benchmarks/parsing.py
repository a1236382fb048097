"""How long Airflow takes to parse `dags/` with 1, 100 and 1,000 pipelines, beside an empty DAG file.

Run from the project's folder: `python benchmarks/parsing.py`. Each figure is the median of five fresh processes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

_PROJECT = Path(__file__).resolve().parent.parent
_TEMPLATE = _PROJECT / "config" / "pipelines" / "flight_delays.yaml"

#: Runs in a fresh process. What Airflow itself imports is imported before the clock starts, for an empty file too.
_PARSE = """
import json, sys, time
from airflow.dag_processing.dagbag import DagBag

wall, cpu = time.perf_counter(), time.process_time()
bag = DagBag(sys.argv[1])
print(json.dumps({"ms": (time.perf_counter() - wall) * 1e3, "cpu_ms": (time.process_time() - cpu) * 1e3,
                  "dags": len(bag.dags), "errors": bag.import_errors}))
"""


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--pipelines", type=int, nargs="+", default=[1, 100, 1000])
    arguments.add_argument("--rounds", type=int, default=5)
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        empty = place / "empty"
        empty.mkdir()
        (empty / "empty.py").write_text('"""An Airflow file without a dag."""\n')
        # Modules are compiled once, when a package is installed; so none of the processes that are timed does.
        _parse(place, _PROJECT / "dags", _TEMPLATE.parent, None)
        floor = _median(place, empty, place, asked.rounds)
        print(f"{'pipelines':>10} {'DAGs':>6} {'wall ms':>9} {'CPU ms':>9} {'ms a pipeline':>14} {'one task, ms':>13}")
        print(f"{'empty':>10} {floor['dags']:>6} {floor['ms']:>9.1f} {floor['cpu_ms']:>9.1f}")
        for count in asked.pipelines:
            pipelines = place / f"pipelines_{count}"
            write_pipelines(pipelines, count)
            whole = _median(place, _PROJECT / "dags", pipelines, asked.rounds)
            # What a worker parses to run a task: its own DAG's file, for one DAG.
            task = _median(place, _PROJECT / "dags" / "pipelines.py", pipelines, asked.rounds, dag="p0000_training")
            each = (whole["ms"] - floor["ms"]) / count
            print(
                f"{count:>10} {whole['dags']:>6} {whole['ms']:>9.1f} {whole['cpu_ms']:>9.1f} {each:>14.2f} "
                f"{task['ms'] - floor['ms']:>13.1f}"
            )
        shutil.rmtree(place / "home", ignore_errors=True)


def write_pipelines(folder: Path, count: int) -> None:
    """Write copies of the largest pipeline that ships, each under a name of its own."""
    folder.mkdir()
    text = _TEMPLATE.read_text()
    for number in range(count):
        name = f"p{number:04}"
        (folder / f"{name}.yaml").write_text(text.replace("name: flight_delays", f"name: {name}", 1))


def _median(home: Path, dags: Path, pipelines: Path, rounds: int, dag: str | None = None) -> dict[str, float]:
    runs = [_parse(home, dags, pipelines, dag) for _ in range(rounds)]
    return {name: statistics.median(run[name] for run in runs) for name in ("ms", "cpu_ms", "dags")}


def _parse(home: Path, dags: Path, pipelines: Path, dag: str | None) -> dict[str, float]:
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home / "home"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # A thousand DAGs in one file take longer than Airflow's 30 s on a slow machine.
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        "AIRFLOW__MLOPS__PIPELINES_FOLDER": str(pipelines),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if dag is not None:
        environment["_AIRFLOW_PARSING_CONTEXT_DAG_ID"] = dag
    done = subprocess.run(
        [sys.executable, "-c", _PARSE, str(dags)], env=environment, stdout=subprocess.PIPE, check=True, text=True
    )
    run: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    if run["errors"]:
        raise RuntimeError(f"parsing failed: {run['errors']}")
    return run


if __name__ == "__main__":
    main()
