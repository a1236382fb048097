"""Parses the DAG files as Airflow's DAG processor does, within bounds of memory, and prints what came of it."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import structlog
from airflow.dag_processing.processor import DagFileParseRequest, _parse_file
from airflow.sdk.execution_time.comms import _RequestFrame
from airflow.serialization.serialized_objects import DagSerialization

MEBIBYTE = 2**20


def main(dags: Path, folder: Path) -> None:
    """Parse, and look at each file alone."""
    from airflow_mlops_provider.commands.terminal import find_pipelines
    from airflow_mlops_provider.dag_templates.folder import file_problems
    from airflow_mlops_provider.dag_templates.kinds import building_problems
    from airflow_mlops_provider.pipelines import load_pipeline, pipeline_files
    from airflow_mlops_provider.ui.sources import every_pipeline

    os.environ["AIRFLOW__MLOPS__PIPELINES_FOLDER"] = str(folder)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + 1000 * MEBIBYTE, resource.RLIM_INFINITY))
    before = peak()
    found: dict[str, Any] = {name: parse(dags / name) for name in ("pipelines.py", "check_pipelines.py")}
    found["problems"], found["seconds"] = {}, {}
    for file in pipeline_files(folder):
        began = time.process_time()
        problems = file_problems(file) or building_problems(load_pipeline(file))
        found["problems"][file.name] = problems
        found["seconds"][file.name] = time.process_time() - began
    found["pages"] = [pipeline.name for pipeline in every_pipeline()]
    found["commands"] = [pipeline.name for pipeline in find_pipelines()]
    found["mebibytes"] = peak() - before
    sys.stdout.write(json.dumps(found))


def parse(file: Path) -> dict[str, Any]:
    """Parse a DAG file up to what is sent to the process that stores it, and ask of each DAG when it runs next."""
    began = time.process_time()
    request = DagFileParseRequest(file=str(file), bundle_path=file.parent, bundle_name="dags-folder")
    result = _parse_file(request, structlog.get_logger())
    assert result is not None
    _RequestFrame(id=1, body=result.model_dump()).as_bytes()
    tasks = {}
    for lazy in result.serialized_dags:
        # PostgreSQL takes neither.
        assert "\\u0000" not in json.dumps(lazy.data, allow_nan=False)
        dag = DagSerialization.from_dict(lazy.data)
        dag.next_dagrun_info(last_automated_run_info=None)
        assert len(dag.timetable.description or "") <= 1000
        tasks[dag.dag_id] = list(dag.task_dict)
    json.dumps(result.import_errors, ensure_ascii=False).encode()
    return {"tasks": tasks, "errors": result.import_errors, "seconds": time.process_time() - began}


def peak() -> float:
    """The most memory that the process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
