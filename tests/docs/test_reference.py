from __future__ import annotations

import re
from typing import get_args

import pytest

import write_docs
import write_schema
from airflow_mlops_provider.get_provider_info import get_provider_info
from airflow_mlops_provider.spec import CLASSIFICATION_METRICS, DEFAULT_METRICS, LOSSES, REGRESSION_METRICS, TaskName

SECTIONS = ["Pipeline", *write_docs.definition("Pipeline")["$defs"]]
HINT = "run `make docs`"


def test_every_generated_part_is_up_to_date(documents: dict[str, str]) -> None:
    stale = [name for name, text in documents.items() if write_docs.rendered(text) != text]
    assert stale == [], HINT


def test_the_json_schema_is_up_to_date() -> None:
    assert write_schema.TARGET.read_text(encoding="utf-8") == write_schema.rendered(), HINT


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_of_the_pipeline_file_says_what_it_is(section: str) -> None:
    for key, value in write_docs.definition(section)["properties"].items():
        assert "const" in value or "description" in value or "$ref" in value, f"{section}.{key} has no description"


def test_every_section_of_the_pipeline_file_is_in_the_reference(documents: dict[str, str]) -> None:
    parts = write_docs.parts_in(documents["docs/pipeline-file.md"])
    gates = set(write_docs.gate_names().values())
    assert "gates" in parts
    assert {f"keys {section}" for section in SECTIONS if section not in gates} <= set(parts)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_of_the_pipeline_file_is_in_the_reference(section: str, documents: dict[str, str]) -> None:
    for key in write_docs.definition(section)["properties"]:
        assert f"`{key}`" in documents["docs/pipeline-file.md"], f"{section}.{key}"


@pytest.mark.parametrize("kind", write_docs.gate_names())
def test_every_kind_of_gate_is_documented(kind: str, documents: dict[str, str]) -> None:
    assert f"### `{kind}`" in documents["docs/pipeline-file.md"]
    assert f"`{kind}`" in documents["README.md"]


@pytest.mark.parametrize("metric", [*CLASSIFICATION_METRICS, *REGRESSION_METRICS])
def test_every_metric_is_documented_with_its_direction(metric: str, documents: dict[str, str]) -> None:
    rows = rf"^\| `{metric}` \| ((?:classification|regression) .+) \|$"
    [row] = re.findall(rows, documents["docs/pipeline-file.md"], re.M)
    kind, better, _ = row.split(" | ", 2)
    assert kind == ("regression" if metric in REGRESSION_METRICS else "classification")
    assert better == ("less" if metric in LOSSES else "more")


@pytest.mark.parametrize("task", DEFAULT_METRICS)
def test_the_metrics_of_a_task_are_documented(task: str, documents: dict[str, str]) -> None:
    text = " ".join(documents["docs/pipeline-file.md"].split())
    assert ", ".join(f"`{metric}`" for metric in DEFAULT_METRICS[task]) in text


@pytest.mark.parametrize("operator", write_docs.operators())
def test_every_operator_is_documented(operator: str, documents: dict[str, str]) -> None:
    assert f"operator {operator}" in write_docs.parts_in(documents["docs/operators.md"])
    assert f"| `{operator}` |" in documents["docs/operators.md"]
    assert operator in documents["CHANGELOG.md"]


@pytest.mark.parametrize("task", get_args(TaskName))
def test_every_task_of_the_generated_dags_is_documented(task: str, documents: dict[str, str]) -> None:
    guides = [documents[f"docs/{name}.md"] for name in ("training", "scoring", "monitoring")]
    assert any(f"| `{task}` |" in guide for guide in guides)


def test_every_param_of_a_trigger_form_is_documented(documents: dict[str, str]) -> None:
    from airflow_mlops_provider.dag_templates import pipeline_dags

    dags = pipeline_dags(write_docs.ROOT / "config" / "pipelines")
    forms = {(dag_id.rsplit("_", 1)[-1], param) for dag_id, dag in dags.items() for param in dag.params}
    assert ("rollback", "reason") in forms
    missing = [(kind, param) for kind, param in forms if f"| `{param}` |" not in documents[f"docs/{kind}.md"]]
    assert missing == []


def test_every_option_and_connection_type_is_documented(documents: dict[str, str]) -> None:
    info = get_provider_info()
    parts = write_docs.parts_in(documents["docs/configuration.md"])
    wanted = [f"options {section}" for section in info["config"]]
    wanted += [f"connection {kind['connection-type']}" for kind in info["connection-types"]]
    assert set(wanted) <= set(parts)
    for options in info["config"].values():
        for name in options["options"]:
            assert f"`{name}`" in documents["docs/configuration.md"]


def test_every_error_is_documented(documents: dict[str, str]) -> None:
    from airflow_mlops_provider import exceptions

    own = [value for value in vars(exceptions).values() if isinstance(value, type)]
    for error in own:
        if error.__module__ == exceptions.__name__:
            assert f"`{error.__name__}`" in documents["docs/errors.md"]


def test_every_part_that_is_asked_for_can_be_written() -> None:
    with pytest.raises(KeyError, match="nothing"):
        write_docs.rendered("<!-- generated: nothing of that name -->\n<!-- end -->")
