from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest

from write_docs import ROOT

if TYPE_CHECKING:
    from conftest import Block

_INLINE = re.compile(r"`(make [a-z-]+)`")
_VARIABLES = re.compile(r"^(?:[A-Z_]+=\S+ +)+")


@pytest.fixture(scope="module")
def commands(documents: dict[str, str], blocks: list[Block]) -> list[list[str]]:
    """Every command that the documentation tells people to run, without the variables before it."""
    scripts = [block.body.replace("\\\n", "") for block in blocks if block.language == "sh"]
    lines = [_VARIABLES.sub("", line) for script in scripts for line in script.splitlines() if line.strip()]
    inline = [line for text in documents.values() for line in _INLINE.findall(text)]
    return [shlex.split(line, comments=True) for line in [*lines, *inline]]


def targets() -> set[str]:
    [phony] = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    return set(phony.split())


def test_every_program_in_the_documentation_is_one_that_this_test_knows(commands: list[list[str]]) -> None:
    assert {command[0] for command in commands} == {"make", "airflow", "pip", "docker", "mlflow", "."}
    assert {command[1] for command in commands if command[0] == "."} == {".demo/env"}, "which the demo writes"
    assert {tuple(command[:3]) for command in commands if command[0] == "docker"} == {("docker", "compose", "up")}


def test_every_make_target_exists_and_says_what_it_would_do(commands: list[list[str]]) -> None:
    named = {command[1] for command in commands if command[0] == "make"}
    assert {"demo", "demo-up", "test", "lint", "docs"} <= named
    assert named <= targets()
    for target in sorted(named):
        shown = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert shown.returncode == 0, shown.stderr
        assert shown.stdout.strip()


@pytest.mark.parametrize("target", sorted(targets()))
def test_every_script_that_make_runs_is_there(target: str) -> None:
    shown = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=True)
    for script in re.findall(r"(?:tools|benchmarks)/\w+\.py", shown.stdout):
        assert (ROOT / script).is_file(), script


def test_airflow_takes_every_command(commands: list[list[str]]) -> None:
    from airflow.cli.cli_parser import get_parser

    parser = get_parser()
    used = [command[1:] for command in commands if command[0] == "airflow"]
    assert len(used) >= 5
    for command in used:
        parser.parse_args(command)


def test_every_command_and_option_of_ours_is_documented(documents: dict[str, str], commands: list[list[str]]) -> None:
    from airflow_mlops_provider.commands import mlops_commands

    text = documents["docs/cli.md"]
    [group] = mlops_commands()
    shown = {command[2] for command in commands if command[:2] == ["airflow", "mlops"]}
    for command in group.subcommands:
        assert command.name in shown, f"docs have no example of airflow mlops {command.name}"
        part = text.partition(f"\n## {command.name}\n")[2].partition("\n## ")[0]
        own = {flag for arg in command.args for flag in arg.flags if flag.startswith("--")}
        everywhere = {"--output", "--verbose"}
        assert not [flag for flag in own - everywhere if f"`{flag}`" not in part], command.name
        assert all(flag in text for flag in own & everywhere)


def test_the_workflow_in_the_documentation_runs_commands_that_airflow_takes(documents: dict[str, str]) -> None:
    import yaml
    from airflow.cli.cli_parser import get_parser

    workflow = documents["docs/cli.md"].partition("```yml\n")[2].partition("```")[0]
    lines = [step["run"] for step in yaml.safe_load(workflow)["jobs"]["check"]["steps"] if "run" in step]
    [checked] = [shlex.split(line)[1:] for line in lines if line.startswith("airflow")]
    assert get_parser().parse_args(checked).offline


def test_pip_is_asked_for_what_the_project_has(commands: list[list[str]]) -> None:
    # MLflow's server lies in an environment of its own.
    requested = [command for command in commands if command[0] == "pip" and "mlflow[auth]" not in command]
    assert ["pip", "install", ".", "--constraint", "constraints.txt"] in requested
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for command in requested:
        what, extra = command[2].rstrip("]").partition("[")[::2]
        assert [*command[:2], what, *command[3:]] == ["pip", "install", ".", "--constraint", "constraints.txt"]
        assert not extra or extra in project["optional-dependencies"]
    assert (ROOT / "constraints.txt").is_file()


def test_nobody_is_told_to_install_the_package_from_an_index(documents: dict[str, str]) -> None:
    # It is on none: a clone is installed, in a workflow too.
    requested = {
        name: found
        for name, text in documents.items()
        if (found := re.findall(r"pip\s+install\s[^`\n]*airflow-mlops-provider[^`\n]*", text))
    }
    assert requested == {}


def test_the_requirements_are_those_of_the_project(documents: dict[str, str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [requirements] = re.findall(r"^## Requirements\n\n(.+?)\n\n", documents["README.md"], re.M | re.S)
    assert project["requires-python"] == ">=3.11,<3.14"
    assert "Python 3.11 to 3.13" in requirements
    for name, message in (("apache-airflow", "Airflow"), ("mlflow", "MLflow")):
        [needed] = [line for line in project["dependencies"] if line.startswith(f"{name}>=")]
        floor = needed.removeprefix(f"{name}>=").partition(",")[0]
        assert f"{message} {floor} or later" in requirements


def test_the_demo_says_how_it_is_used() -> None:
    script = [sys.executable, "tools/demo.py"]
    shown = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, check=False)
    assert shown.returncode == 2
    assert "run | up" in shown.stdout


def test_ci_runs_what_the_documentation_says(documents: dict[str, str]) -> None:
    assert shutil.which("bash")
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "make lint test" in script
    assert "`.ci/run` runs both" in documents["CONTRIBUTING.md"]
