"""Where a pipeline file says that steps compute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_mlops_provider.dag_templates.settings import task_settings
from airflow_mlops_provider.exceptions import SpecError
from airflow_mlops_provider.pipelines import parse_pipeline

if TYPE_CHECKING:
    from airflow_mlops_provider.spec import Pipeline

DOCKER = {"kind": "docker", "image": "steps:1"}


def pipeline(source: dict[str, Any] | None = None, **changes: Any) -> Pipeline:
    raw = {
        "name": "churn",
        "task": "binary",
        "data": {"source": source or {"uri": "/rows.csv"}, "columns": {"target": "left", "numeric": ["age"]}},
        "preparation": {"split": {"by": "random"}},
        "training": {"candidates": {"logistic": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
        **changes,
    }
    return parse_pipeline(raw, where="churn.yaml")


def where(spec: Pipeline) -> dict[str, Any]:
    tasks = ("ingest", "train", "evaluate", "publish", "promote", "score", "watch")
    return {task: settings["runtime"] for task in tasks if "runtime" in (settings := task_settings(spec, task))}


def test_left_out_everything_runs_in_the_worker() -> None:
    assert where(pipeline()) == {}


def test_only_training_may_run_in_a_container() -> None:
    runtime = {**DOCKER, "mem_limit": "2g", "gpus": "all"}
    assert where(pipeline(tasks={"train": {"runtime": runtime, "pool": "big"}})) == {"train": runtime}
    assert task_settings(pipeline(tasks={"train": {"runtime": runtime, "pool": "big"}}), "train")["pool"] == "big"


def test_all_that_compute_may_run_in_containers_but_those_that_say_otherwise() -> None:
    spec = pipeline(runtime=DOCKER, tasks={"ingest": {"runtime": {"kind": "in_process"}}})
    assert where(spec) == dict.fromkeys(("train", "evaluate", "score", "watch"), DOCKER)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": {"promote": {"runtime": DOCKER}}}, "tasks.promote.runtime: promote computes nothing"),
        (
            {"source": {"sql": "select 1", "conn_id": "db"}, "runtime": DOCKER},
            "ingest reads the source through the connection 'db', which a container does not get: "
            r"set tasks.ingest.runtime to {kind: in_process}",
        ),
        ({"runtime": {"kind": "docker"}}, "image: Field required"),
        ({"runtime": {**DOCKER, "mem_limit": "2 GB"}}, "mem_limit: expected bytes, or a number and one of b, k, m, g"),
        ({"runtime": {**DOCKER, "environment": {"A": "b"}}}, "unknown key 'environment'"),
        (
            {"runtime": {**DOCKER, "mounts": [{"source": "a", "target": "/x"}, {"source": "b", "target": "/x"}]}},
            "mounts share the target '/x'",
        ),
    ],
)
def test_what_cannot_be_is_refused_when_the_file_is_parsed(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as error:
        pipeline(**changes)
    assert message in str(error.value)


def test_a_query_is_read_in_the_worker_when_the_rest_runs_in_containers() -> None:
    here = {"runtime": {"kind": "in_process"}}
    spec = pipeline({"sql": "select 1", "conn_id": "db"}, runtime=DOCKER, tasks={"ingest": here, "watch": here})
    assert set(where(spec)) == {"train", "evaluate", "score"}
