from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

import write_docs

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Block


@pytest.mark.parametrize("sensor", write_docs.sensors())
def test_every_sensor_is_documented(sensor: str, documents: dict[str, str]) -> None:
    assert f"sensor {sensor}" in write_docs.parts_in(documents["docs/sensors.md"])
    assert f"| `{sensor}` |" in documents["docs/sensors.md"]
    assert sensor in documents["CHANGELOG.md"]


def test_the_examples_of_the_sensors_make_one_dag(parse_dags: Callable[..., dict[str, list[str]]]) -> None:
    sensors = write_docs.sensors()
    imports = [f"from {sensor.__module__} import {name}" for name, sensor in sensors.items()]
    body = "\n".join(write_docs.code_of(sensor) for sensor in sensors.values())
    head = ["from datetime import timedelta", "from airflow.sdk import DAG", *imports, 'with DAG("churn"):']
    source = "\n".join([*head, textwrap.indent(body, "    ")])
    assert parse_dags("churn.py", source) == {"churn": ["arrived", "champion", "drifted"]}


def test_the_dag_that_waits_is_a_dag(blocks: list[Block], parse_dags: Callable[..., dict[str, list[str]]]) -> None:
    [source] = [block.body for block in blocks if block.name == "churn_letters.py"]
    assert parse_dags("churn_letters.py", source) == {"churn_letters": ["arrived", "good", "write_letters"]}
