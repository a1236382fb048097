"""The image of the steps holds what they import, of the versions that the tests run with."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from services import dockerd

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "tools"))

from step_requirements import step_requirements  # noqa: E402  # once its folder is on the path


def lines(name: str) -> list[str]:
    return [line for line in (PROJECT / name).read_text(encoding="utf-8").splitlines() if "==" in line]


def test_its_versions_are_those_that_the_tests_run_with() -> None:
    assert sorted(set(lines("constraints-step.txt")) - set(lines("constraints.txt"))) == [], "run `make constraints`"


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
