from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException
from churn_by_hand import COLUMNS, ingest, made, run_all

from airflow_mlops_provider.exceptions import TransientServiceError
from airflow_mlops_provider.operators.data import ValidateDataOperator

if TYPE_CHECKING:
    from collections.abc import Callable


def reader_data(reader: str) -> dict[str, Any]:
    return {"source": {"reader": reader}, "columns": COLUMNS}


def raising(error: str) -> str:
    return f"""
        from airflow_mlops_provider.exceptions import DataError, TransientServiceError

        def read(as_of, start):
            raise {error}
    """


def test_the_result_is_pushed_before_a_bad_verdict_fails_the_task(worker: Any, churn: Callable[..., DAG]) -> None:
    dag = churn(
        validation={
            "expectations": [
                {
                    "type": "expect_column_values_to_be_between",
                    "kwargs": {"column": "age", "min_value": 0, "max_value": 40},
                }
            ]
        }
    )
    ended = run_all(worker, dag, "ingest validate")["validate"]

    assert ended.state == "failed"
    assert isinstance(ended.error, AirflowFailException)
    assert ended.xcom["failure"]["what"] in ended.message
    kinds = [msg.type for msg in ended.messages]
    assert kinds.index("SetXCom") < kinds.index("TaskState")


@pytest.mark.parametrize(
    ("error", "state", "kind"),
    [
        ("TransientServiceError('the feature store is away')", "up_for_retry", TransientServiceError),
        ("ConnectionError('refused')", "up_for_retry", ConnectionError),
        ("DataError('column late is missing', got=['a'], hint='Add it.')", "failed", AirflowFailException),
        ("ZeroDivisionError('a bug')", "failed", ZeroDivisionError),
    ],
)
def test_only_a_service_that_is_away_is_tried_again(
    worker: Any, reader: Callable[[str], str], error: str, state: str, kind: type[Exception]
) -> None:
    ended = worker.run(ingest(data=reader_data(reader(raising(error)))))

    assert ended.state == state
    assert type(ended.error) is kind
    [message] = [msg.value for msg in ended.messages if msg.type == "SetXCom" and msg.key == "message"]
    ours = kind in (TransientServiceError, AirflowFailException)
    assert message == (str(ended.error) if ours else f"{kind.__name__}: {ended.error}")


def test_an_error_becomes_its_one_sentence(worker: Any, reader: Callable[[str], str]) -> None:
    error = "DataError('column late is missing', got=['a'], expected='late', hint='Add it.')"

    ended = worker.run(ingest(data=reader_data(reader(raising(error)))))

    assert ended.message == "column late is missing: got ['a'], expected late. Add it."


@pytest.mark.parametrize("value", [None, "a text", {"rows": 3}, [1]], ids=["none", "text", "mapping", "list"])
def test_what_is_no_result_of_ours_is_refused_by_role(worker: Any, value: Any) -> None:
    with DAG("tested", schedule=None):
        task = ValidateDataOperator(task_id="validate", pipeline="churn", dataset=value, validation={})

    ended = worker.run(task)

    assert ended.state == "failed"
    assert isinstance(ended.error, AirflowFailException)
    assert ended.message.startswith("input 'dataset' is not the result of an operator of this package: got ")
    assert "Pass the dataset operator's output, such as `dataset=task.output`." in ended.message


def test_the_result_of_another_step_is_refused(worker: Any, churn: Callable[..., DAG]) -> None:
    done = run_all(worker, churn(), "ingest prepare")
    with DAG("tested", schedule=None):
        task = ValidateDataOperator(task_id="validate", pipeline="churn", dataset=done["prepare"].xcom, validation={})

    ended = worker.run(task)

    assert isinstance(ended.error, AirflowFailException)
    assert "input 'dataset' is the result of another step: got prepare, expected ingest" in ended.message


def test_an_unknown_setting_is_named(worker: Any) -> None:
    ended = worker.run(ingest(data={"source": {"uri": "a.csv"}, "columns": COLUMNS, "windows": 3}))

    assert isinstance(ended.error, AirflowFailException)
    assert "the settings of step 'ingest' of 'churn' are wrong" in ended.message
    assert "data.windows" in ended.message


def test_a_candidate_that_was_not_asked_for_is_not_trained(worker: Any, churn: Callable[..., DAG], mlflow: str) -> None:
    conf = {"candidates": ["tree"]}
    ended = run_all(worker, churn(), "ingest prepare train champion evaluate", conf=conf)

    assert ended["logistic"].xcom is None
    assert ended["tree"].xcom["facts"]["candidate"] == "tree"
    assert ended["evaluate"].state == "success"
    assert ended["evaluate"].xcom["facts"].get("lost") in (None, [])


def test_a_failed_candidate_is_reported_and_does_not_stop_the_others(
    worker: Any, churn: Callable[..., DAG], mlflow: str
) -> None:
    dag = churn()
    run_all(worker, dag, "ingest prepare champion")
    worker.run(dag.task_dict["train"], map_index=1)

    ended = worker.run(dag.task_dict["evaluate"])

    assert ended.state == "success"
    assert ended.xcom["facts"]["lost"] == ["logistic"]


def test_a_second_run_computes_nothing_and_recompute_does(worker: Any, churn: Callable[..., DAG]) -> None:
    dag = churn()
    first = run_all(worker, dag, "ingest")["ingest"]
    second = run_all(worker, dag, "ingest")["ingest"]
    third = run_all(worker, dag, "ingest", conf={"recompute": True})["ingest"]

    assert made(first) == made(second) == made(third)
    assert [ended.xcom.get("cached", False) for ended in (first, second, third)] == [False, True, False]
