"""The image of the steps holds what they import, of the versions that the tests run with."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from services import dockerd

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "tools"))

from step_requirements import step_requirements  # noqa: E402  # once its folder is on the path

#: What the Dockerfile's targets install.
IMAGES = ("constraints-step.txt", "constraints-airflow.txt", "constraints-mlflow.txt")


def lines(name: str) -> list[str]:
    text = (PROJECT / name).read_text(encoding="utf-8")
    return [line.removesuffix("\\").strip() for line in text.splitlines() if "==" in line]


@pytest.mark.parametrize("name", IMAGES)
def test_its_versions_are_those_that_the_tests_run_with(name: str) -> None:
    assert sorted(set(lines(name)) - set(lines("constraints.txt"))) == [], "run `make constraints`"


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_installs_nothing_without_its_hash(name: str) -> None:
    text = (PROJECT / name).read_text(encoding="utf-8")
    pins = re.findall(r"^(\S+==\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n?)+)", text, flags=re.MULTILINE)
    assert [pin for pin, _ in pins] == lines(name)
    assert "://" not in text
    dockerfile = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    assert f"--no-deps --require-hashes --requirement /tmp/{name}" in dockerfile
    assert f"!{name}\n" in (PROJECT / ".dockerignore").read_text(encoding="utf-8")


def test_the_images_of_airflow_and_mlflow_hold_what_they_are_for() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {
        "constraints-airflow.txt": [*project["dependencies"], *project["optional-dependencies"]["compose"]],
        "constraints-mlflow.txt": ["mlflow[auth]>=3", "psycopg2-binary", "boto3", "flask-wtf"],
    }
    for name, requirements in wanted.items():
        pinned = dict(line.split("==") for line in lines(name))
        for requirement in map(Requirement, requirements):
            if requirement.name != project["name"] and (requirement.marker is None or requirement.marker.evaluate()):
                assert requirement.specifier.contains(pinned[requirement.name.lower()]), (name, str(requirement))


@pytest.mark.parametrize("requirement", step_requirements())
def test_it_holds_what_the_package_asks_for(requirement: str) -> None:
    wanted, pinned = Requirement(requirement), dict(line.split("==") for line in lines("constraints-step.txt"))
    assert wanted.specifier.contains(pinned[wanted.name]), "run `make constraints`"


def test_it_holds_no_airflow_and_no_mlflow() -> None:
    assert [line for line in lines("constraints-step.txt") if re.match("apache-airflow|mlflow|docker", line)] == []


def test_the_image_of_the_tests_is_that_of_the_dockerfile() -> None:
    text = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    [target] = re.findall(r"^FROM \S+ AS step\n(.*?)(?=^FROM |\Z)", text, re.M | re.S)
    installed = re.findall(r"pip install (.+?)(?: &&|\n)", target)
    assert re.findall(r"^COPY (\S+)", target, re.M)[0] == dockerd.CONSTRAINTS.name
    assert [line.split()[-1] for line in installed] == [f"/tmp/{dockerd.CONSTRAINTS.name}", "/wheels/*.whl"]
    assert all("--no-deps" in line for line in installed)
    [entry] = re.findall(r"^ENTRYPOINT (.+)$", target, re.M)
    assert entry == '["python3", "-m", "airflow_mlops_provider"]'
