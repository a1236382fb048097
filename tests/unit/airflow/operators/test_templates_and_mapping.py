from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException
from churn_by_hand import COLUMNS, ONLY_AWAY, ingest, run_all

from airflow_mlops_provider.operators.data import ValidateDataOperator
from airflow_mlops_provider.operators.training import TrainModelOperator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

# ------------------------------------------------------------------------------------------------ templates


def test_as_of_renders_in_any_field(worker: Any, churn: Callable[..., DAG], customers: Path) -> None:
    dag = churn(validation={"required": ["plan"], "expectations": []})
    done = run_all(worker, dag, "ingest")["ingest"].xcom
    with DAG("tested", schedule=None, params={"place": "store"}):
        task = ValidateDataOperator(
            task_id="validate",
            pipeline="{{ dag.dag_id }}",
            artifacts=f"{customers.parents[1].as_uri()}/{{{{ params.place }}}}",
            as_of="{{ dag_run.run_after }}",
            dataset=done,
            validation={"expectations": [{"type": "expect_a", "kwargs": {"value_set": ["{{ as_of }}", "x"]}}]},
        )
    context = worker.context(task, run_after=datetime(2013, 3, 4, 6, tzinfo=UTC))

    task.render_template_fields(context)

    assert task.pipeline == "tested"
    assert task.artifacts == f"{customers.parents[1].as_uri()}/store"
    assert task.as_of == "2013-03-04 06:00:00+00:00"
    assert task.validation["expectations"][0]["kwargs"]["value_set"] == ["2013-03-04T06:00:00Z", "x"]


def test_as_of_renders_in_a_mapped_task(worker: Any) -> None:
    with DAG("tested", schedule=None):
        task = TrainModelOperator.partial(task_id="train", pipeline="churn", dataset={}, split={}).expand(
            candidate=[{"name": "a", "estimator": "a.B", "params": {"note": "{{ as_of }}"}}]
        )
    context = worker.context(task, map_index=0)

    task.render_template_fields(context)

    assert context["task"].candidate["params"] == {"note": "2013-03-01"}


def test_a_partition_key_that_is_no_moment_fails_for_good(worker: Any, customers: Path) -> None:
    task = ingest(data={"source": {"uri": str(customers)}, "columns": COLUMNS})

    ended = worker.run(task, partition_key="us-east")

    assert ended.state == "failed"
    assert isinstance(ended.error, AirflowFailException)
    assert "partition key is not a date and time: got us-east" in ended.message


# ------------------------------------------------------------------------------------------------ mapping


def test_retries_and_their_policy_survive_mapping(
    worker: Any, churn: Callable[..., DAG], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dag = churn()
    run_all(worker, dag, "ingest prepare")
    train = dag.task_dict["train"]
    assert train.retries == 3
    assert train.retry_policy is ONLY_AWAY

    # The artifact store goes away under the mapped task: what it reads through is a real file system.
    def away(*_: Any, **__: Any) -> Any:
        raise ConnectionError("the store is away")

    monkeypatch.setattr("airflow_mlops_provider.storage.ArtifactStore.read_receipt", away)
    ended = worker.run(train, map_index=0)

    assert ended.state == "up_for_retry"
    assert ended.task.retry_policy is ONLY_AWAY
    assert ended.task.retries == 3


def test_a_mapped_instance_is_named_by_its_candidate(worker: Any, churn: Callable[..., DAG]) -> None:
    dag = churn()
    ended = run_all(worker, dag, "ingest prepare train")

    names = [msg.rendered_map_index for msg in ended["tree"].messages if msg.type == "SetRenderedMapIndex"]
    assert names == ["tree"]
