"""One odd file takes nothing but its own pipeline down, wherever pipeline files are read (decision 0008)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import hostile_files
import pytest

PROJECT = Path(__file__).resolve().parents[4]
EXPECTED = hostile_files.expected()
ODD = sorted(hostile_files.ODD)


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Airflow's DAG processor, the pages and the commands make of all of them beside a good one."""
    home = tmp_path_factory.mktemp("hostile")
    folder, plugins = home / "pipelines", home / "plugins"
    folder.mkdir()
    plugins.mkdir()
    (plugins / "hostile_notifiers.py").write_text(hostile_files.NOTIFIERS)
    # Airflow itself imports every module of the plugins folder, which this one would not let it.
    (home / "ending.py").write_text("raise SystemExit(4)")
    here = Path.cwd()
    try:
        hostile_files.write(folder)
    finally:
        os.chdir(here)
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins),
        "AIRFLOW__MLOPS__PIPELINES_FOLDER": str(folder),
        "AIRFLOW__MLOPS__ALLOWED_MODULES": "ending",
        "PYTHONPATH": os.pathsep.join([str(home), str(PROJECT), os.environ.get("PYTHONPATH", "")]),
    }
    script = Path(__file__).with_name("parse_folder.py")
    done = subprocess.run(
        [sys.executable, str(script), str(PROJECT / "dags"), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_every_dag_beside_them_is_built_whole(parsed: dict[str, Any]) -> None:
    built = parsed["pipelines.py"]

    assert built["errors"] == {}
    kinds = {"training": 9, "scoring": 2, "monitoring": 3, "rollback": 1}
    assert {kind: len(built["tasks"][f"good_{kind}"]) for kind in kinds} == kinds
    for name in ODD:
        assert f"{name}_training" in built["tasks"]


def test_no_dag_is_half_built(parsed: dict[str, Any]) -> None:
    tasks = parsed["pipelines.py"]["tasks"]
    right = {kind: tasks[f"good_{kind}"] for kind in ("training", "scoring", "monitoring", "rollback")}

    whole = {name: [task for task in found if task != "notify"] for name, found in tasks.items()}
    assert {name for name, found in whole.items() if found != right[name.rpartition("_")[2]]} == set()


def test_they_cost_neither_much_time_nor_memory(parsed: dict[str, Any]) -> None:
    assert parsed["mebibytes"] < 300
    assert parsed["pipelines.py"]["seconds"] + parsed["check_pipelines.py"]["seconds"] < 30
    assert {name: spent for name, spent in parsed["seconds"].items() if spent > 5} == {}


def test_the_check_says_that_there_are_mistakes(parsed: dict[str, Any]) -> None:
    [(file, error)] = parsed["check_pipelines.py"]["errors"].items()

    assert file == "check_pipelines.py"
    assert "some pipelines have no DAG, or not all of them:" in error
    assert f"... and {len(EXPECTED) - 20} more" in error


@pytest.mark.parametrize("name", EXPECTED, ids=ascii)
def test_each_is_a_mistake_of_its_own_that_names_its_file(parsed: dict[str, Any], name: str) -> None:
    [problem] = parsed["problems"][name]

    assert ascii(name.removesuffix(".yaml"))[1:-1].replace("\\n", "\n") in problem
    assert EXPECTED[name] in problem
    assert len(problem) < 20_000
    problem.encode()


@pytest.mark.parametrize("name", ["good", *ODD])
def test_what_is_odd_and_right_is_no_mistake(parsed: dict[str, Any], name: str) -> None:
    assert parsed["problems"][f"{name}.yaml"] == []


@pytest.mark.parametrize("reader", ["pages", "commands"])
def test_pages_and_commands_read_the_others(parsed: dict[str, Any], reader: str) -> None:
    assert {"good", *ODD} <= set(parsed[reader])
    assert set(parsed[reader]) <= {"good", *ODD, *hostile_files.SETTINGS}
