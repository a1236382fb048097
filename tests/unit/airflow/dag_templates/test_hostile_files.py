"""One odd file takes nothing but its own pipeline down, wherever pipeline files are read (decision 0008)."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hostile_files
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_mlops_provider.dag_templates.folder import file_problems
from airflow_mlops_provider.dag_templates.kinds import building_problems
from airflow_mlops_provider.pipelines import load_pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Values that are of the wrong kind, too long, too large or strange, wherever they stand.
VALUES: list[Any] = [
    "x" * 3000,
    "",
    0,
    -1,
    2**63 - 1,
    10**18,
    1e308,
    True,
    None,
    [],
    {},
    [[]],
    {"a": {1: 2}},
    "P99999D",
]
VALUES += ["-P1D", "0001-01-01", "2149-12-31", "é\n", "{{ as_of }}", "{{", "* * * * *", "0 0 30 2 *", "America", "%s"]
VALUES += ["../..", ["a", "a"], "airflow.sdk.DAG", "sklearn.svm.SVC", {"kind": "docker", "image": "x"}]
#: What may stand in a file besides what the shipped ones have.
MORE: dict[str, Any] = {
    "scoring": {"window": "P1D", "shards": 3},
    "monitoring": {"max_age": "P9D", "retraining": {"budget": 1}},
    "tasks": {"train": {"pool": "p", "queue": "q", "retries": 3, "retry_delay": "PT1M", "executor_config": {"a": 1}}},
    "promotion": {"model": "m", "approval": "human", "approvers": ["a"], "response_timeout": "PT1H"},
    "schedule": {"cron": "@daily", "timezone": "UTC", "start": "2020-01-01", "end": "2030-01-01"},
    "owner": "o",
    "tags": ["a"],
}
SHIPPED = sorted((Path(__file__).resolve().parents[4] / "config" / "pipelines").glob("*.yaml"))
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
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_every_dag_beside_them_is_built_whole(parsed: dict[str, Any]) -> None:
    built = parsed["pipelines.py"]

    assert built["errors"] == {}
    kinds = {"training": 10, "scoring": 2, "monitoring": 3, "rollback": 1}
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
    assert "some pipelines have no DAGs, or only some of them:" in error
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


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every list or mapping with each of its indices or keys."""
    for key in value if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from places(value[key])


@settings(max_examples=40)
@given(file=st.sampled_from(SHIPPED), value=st.sampled_from(VALUES), data=st.data())
def test_what_the_check_finds_right_is_built_and_serialized(
    file: Path, value: Any, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    raw = {**yaml.safe_load(file.read_text()), **copy.deepcopy(MORE)}
    inside, key = data.draw(st.sampled_from(list(places(raw))))
    inside[key] = value
    odd = tmp_path_factory.mktemp("odd") / file.name
    odd.write_text(yaml.safe_dump(raw))

    if file_problems(odd) == []:
        assert building_problems(load_pipeline(odd)) == []
