from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import TriggerRule
from airflow.serialization.serialized_objects import DagSerialization

from airflow_mlops_provider.dag_templates import training_dag
from airflow_mlops_provider.pipelines import load_pipeline

SHIPPED = sorted((Path(__file__).resolve().parents[4] / "config" / "pipelines").glob("*.yaml"))
TASKS = ["ingest", "validate", "prepare", "champion", "train", "evaluate", "gate", "refit", "publish", "promote"]


@pytest.fixture(params=SHIPPED, ids=lambda file: file.stem)
def shipped(request: pytest.FixtureRequest) -> Any:
    return load_pipeline(request.param)


def test_a_shipped_pipeline_is_one_chain_with_mapped_candidates(shipped: Any) -> None:
    dag = training_dag(shipped)

    assert dag.dag_id == f"{shipped.name}_training"
    assert list(dag.task_dict) == TASKS
    downstream = {name: set(task.downstream_task_ids) for name, task in dag.task_dict.items()}
    assert downstream == {
        "champion": {"train"},
        "ingest": {"champion", "validate", "prepare", "train"},
        "validate": {"prepare"},
        "prepare": {"train"},
        "train": {"evaluate"},
        "evaluate": {"gate", "refit", "publish"},
        "gate": {"refit", "publish", "promote"},
        "refit": {"publish"},
        "publish": {"promote"},
        "promote": set(),
    }
    assert {name for name, task in dag.task_dict.items() if task.is_mapped} == {"train"}
    named = [candidate["name"] for candidate in dag.task_dict["train"].expand_input.value["candidate"]]
    assert named == list(shipped.training.candidates)


def test_one_lost_candidate_does_not_stop_a_shipped_pipeline(shipped: Any) -> None:
    dag = training_dag(shipped)

    rules = {name: task.trigger_rule for name, task in dag.task_dict.items()}
    assert rules.pop("evaluate") == TriggerRule.ALL_DONE_MIN_ONE_SUCCESS
    assert rules.pop("publish") == TriggerRule.ALL_DONE_MIN_ONE_SUCCESS, "also what fails its gates is shown"
    assert set(rules.values()) == {TriggerRule.ALL_SUCCESS}
    # Another upstream task's success would count as a trained candidate's.
    assert dag.task_dict["evaluate"].upstream_task_ids == {"train"}


def test_a_shipped_pipeline_survives_serialisation(shipped: Any) -> None:
    dag = training_dag(shipped)

    encoded = json.loads(json.dumps(DagSerialization.to_dict(dag)))
    decoded = DagSerialization.from_dict(encoded)

    assert decoded.dag_id == dag.dag_id
    assert list(decoded.task_dict) == TASKS
    assert decoded.doc_md == dag.doc_md
    assert decoded.params.dump() == dag.params.dump()
    assert decoded.task_dict["train"].is_mapped
    assert {task.owner for task in decoded.tasks} == {shipped.owner}
    # What the scheduler does with it first.
    assert decoded.timetable.can_be_scheduled in (True, False)
    assert DagSerialization.to_dict(training_dag(shipped)) == DagSerialization.to_dict(dag)


def test_a_shipped_pipeline_documents_itself(shipped: Any) -> None:
    text = training_dag(shipped).doc_md or ""

    assert shipped.description in text
    for name, candidate in shipped.training.candidates.items():
        assert f"| {name} | `{candidate.estimator}` |" in text
    for gate in shipped.gates:
        assert f"| {gate.label} |" in text
        assert f"| {gate.on_fail} |" in text
    assert f"`{shipped.model_name}`" in text


def test_the_form_of_a_shipped_pipeline_takes_its_own_defaults(shipped: Any) -> None:
    params = training_dag(shipped).params

    # The template adds them unchecked, which Airflow else does at each parse.
    assert params.validate() == {
        "as_of": None,
        "reason": None,
        "candidates": list(shipped.training.candidates),
        "recompute": False,
        "allow_older": False,
        "lift_quarantine": False,
    }


def test_every_shipped_file_is_named_like_its_pipeline() -> None:
    assert [load_pipeline(file).name for file in SHIPPED] == [file.stem for file in SHIPPED]
