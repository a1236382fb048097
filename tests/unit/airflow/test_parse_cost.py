from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
HEAVY = {
    "pandas",
    "sklearn",
    "mlflow",
    "great_expectations",
    "evidently",
    "boto3",
    "pyarrow",
    "numpy",
    "scipy",
    "skops",
}

PARSE = """
import json, sys
from airflow.dag_processing.dagbag import DagBag

bag = DagBag(sys.argv[1])
print(json.dumps({"dags": sorted(bag.dags), "errors": bag.import_errors, "modules": sorted(sys.modules)}))
"""


def parse(home: Path, dags: Path, pipelines: Path, **environment: str) -> dict[str, list[str]]:
    settings = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__MLOPS__PIPELINES_FOLDER": str(pipelines),
        **environment,
    }
    done = subprocess.run(
        [sys.executable, "-c", PARSE, str(dags)], env=settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    parsed: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return parsed


@pytest.fixture
def hundred(tmp_path: Path) -> Path:
    folder = tmp_path / "pipelines"
    folder.mkdir()
    shipped = sorted((PROJECT / "config" / "pipelines").glob("*.yaml"))
    for number in range(100):
        file = shipped[number % len(shipped)]
        (folder / f"p{number}.yaml").write_text(file.read_text().replace(f"name: {file.stem}", f"name: p{number}", 1))
    return folder


def test_parsing_a_hundred_pipelines_imports_no_heavy_library(tmp_path: Path, hundred: Path) -> None:
    parsed = parse(tmp_path / "home", PROJECT / "dags", hundred)

    assert not parsed["errors"]
    assert parsed["dags"] == sorted(
        f"{file.stem}_{kind}"
        for file in hundred.iterdir()
        for kind in ("training", "rollback", "scoring", "monitoring")
        if kind != "monitoring" or "\nmonitoring:" in file.read_text()
    )
    assert HEAVY & set(parsed["modules"]) == set()


def test_parsing_for_one_dag_reads_its_pipeline_only(tmp_path: Path, hundred: Path) -> None:
    (hundred / "broken.yaml").write_text("name: [")

    parsed = parse(tmp_path / "home", PROJECT / "dags", hundred, _AIRFLOW_PARSING_CONTEXT_DAG_ID="p7_training")

    assert not parsed["errors"]
    assert parsed["dags"] == ["p7_training"]
