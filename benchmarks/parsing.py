"""How long Airflow takes to parse `dags/` with 1, 100 and 1,000 pipelines, beside an empty DAG file.

Run from the project's folder: `python benchmarks/parsing.py`. Five fresh processes each: the fastest, which is what the
work takes when no other program disturbs it, and the median.
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

started = time.perf_counter()
bag = DagBag(sys.argv[1])
print(json.dumps({"ms": (time.perf_counter() - started) * 1e3, "errors": bag.import_errors}))
"""


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--pipelines", type=int, nargs="+", default=[1, 100, 1000])
    arguments.add_argument("--rounds", type=int, default=5)
    args = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        empty = place / "empty"
        empty.mkdir()
        (empty / "empty.py").write_text('"""An Airflow file without a dag."""\n')
        # Modules are compiled once, when a package is installed; so none of the processes that are timed does.
        _parse(place, _PROJECT / "dags", _TEMPLATE.parent, None)
        floor = _runs(place, empty, place, args.rounds)[0]
        print(f"milliseconds above an empty DAG file, which takes {floor:.1f}; fastest and median of {args.rounds}")
        print(f"{'pipelines':>10} {'all':>15} {'a pipeline':>13} {'one task':>13}")
        for count in args.pipelines:
            pipelines = place / f"pipelines_{count}"
            write_pipelines(pipelines, count)
            whole = [ms - floor for ms in _runs(place, _PROJECT / "dags", pipelines, args.rounds)]
            # What a worker parses to run a task: its own DAG's file, for one DAG.
            file = _PROJECT / "dags" / "pipelines.py"
            task = [ms - floor for ms in _runs(place, file, pipelines, args.rounds, dag="p0000_training")]
            each = [ms / count for ms in whole]
            print(f"{count:>10} {_both(whole, 0):>15} {_both(each, 2):>13} {_both(task, 0):>13}")
        shutil.rmtree(place / "home", ignore_errors=True)


def write_pipelines(folder: Path, count: int) -> None:
    """Write copies of the largest pipeline that ships, each under a name of its own."""
    folder.mkdir()
    text = _TEMPLATE.read_text()
    for number in range(count):
        name = f"p{number:04}"
        (folder / f"{name}.yaml").write_text(text.replace("name: flight_delays", f"name: {name}", 1))


def _both(runs: list[float], digits: int) -> str:
    return f"{runs[0]:.{digits}f} {statistics.median(runs):.{digits}f}"


def _runs(home: Path, dags: Path, pipelines: Path, rounds: int, dag: str | None = None) -> list[float]:
    """Return the milliseconds of several processes, the fastest first."""
    return sorted(_parse(home, dags, pipelines, dag) for _ in range(rounds))


def _parse(home: Path, dags: Path, pipelines: Path, dag: str | None) -> float:
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
    run = json.loads(done.stdout.splitlines()[-1])
    if run["errors"]:
        raise RuntimeError(f"parsing failed: {run['errors']}")
    return float(run["ms"])


if __name__ == "__main__":
    main()
