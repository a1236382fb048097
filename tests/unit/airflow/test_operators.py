from __future__ import annotations

import csv
import json
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import (
    DAG,
    AssetAlias,
    ExceptionRetryPolicy,
    Param,
    RetryAction,
    RetryRule,
)
from airflow.sdk.exceptions import AirflowFailException

from airflow_mlops_provider.assets import champion_alias, champion_asset, dataset_asset
from airflow_mlops_provider.exceptions import TransientServiceError
from airflow_mlops_provider.operators.data import IngestDataOperator, PrepareDataOperator, ValidateDataOperator
from airflow_mlops_provider.operators.promotion import PromoteModelOperator, QualityGateOperator
from airflow_mlops_provider.operators.publishing import PublishModelOperator
from airflow_mlops_provider.operators.training import EvaluateModelOperator, FindChampionOperator, TrainModelOperator
from airflow_mlops_provider.registry import Registry
from airflow_mlops_provider.results import MAX_XCOM_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ONLY_AWAY = ExceptionRetryPolicy(
    rules=[RetryRule(exception=[TransientServiceError, ConnectionError], action=RetryAction.RETRY)],
    default=RetryAction.FAIL,
)
CANDIDATES: list[dict[str, Any]] = [
    {"name": "logistic", "estimator": "sklearn.linear_model.LogisticRegression"},
    {"name": "tree", "estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 3}},
]
COLUMNS = {"target": "left", "numeric": ["age", "balance"], "categorical": ["plan"], "keys": ["customer"]}
METRICS = ["roc_auc", "log_loss"]


@pytest.fixture
def customers(tmp_path: Path) -> Path:
    """Customers of whom the older and richer stay."""
    chance = random.Random(7)
    file = tmp_path / "2013-03-01" / "customers.csv"
    file.parent.mkdir()
    with file.open("w", newline="") as text:
        rows = csv.writer(text)
        rows.writerow(["customer", "age", "balance", "plan", "left"])
        for customer in range(400):
            age, balance = chance.randint(18, 80), chance.randint(0, 1000)
            stays = age / 80 + balance / 1000 + chance.gauss(0, 0.3) > 1.1
            rows.writerow([f"c{customer}", age, balance, chance.choice("abc"), int(not stays)])
    return file


@pytest.fixture
def churn(customers: Path) -> Callable[..., DAG]:
    """A DAG written by hand, as a newcomer would."""

    def build(*, validation: dict[str, Any] | None = None, gates: list[dict[str, Any]] | None = None) -> DAG:
        common = {"pipeline": "churn"}
        with DAG(
            "churn",
            schedule=None,
            params={"candidates": Param(None, type=["null", "array"]), "recompute": Param(False, type="boolean")},
            default_args={"retries": 3, "retry_policy": ONLY_AWAY},
        ) as dag:
            ingest = IngestDataOperator(
                task_id="ingest",
                **common,
                task="binary",
                data={"source": {"uri": f"{customers.parents[1]}/{{{{ as_of }}}}/customers.csv"}, "columns": COLUMNS},
                outlets=[dataset_asset("churn")],
            )
            validate = ValidateDataOperator(
                task_id="validate", **common, dataset=ingest.output, validation=validation or {}
            )
            prepare = PrepareDataOperator(
                task_id="prepare",
                **common,
                dataset=ingest.output,
                preparation={"split": {"by": "random", "holdout": 0.25}},
            )
            train = TrainModelOperator.partial(
                task_id="train",
                **common,
                dataset=ingest.output,
                split=prepare.output,
                map_index_template="{{ task.candidate['name'] }}",
            ).expand(candidate=CANDIDATES)
            FindChampionOperator(task_id="champion", **common)
            evaluate = EvaluateModelOperator(
                task_id="evaluate",
                **common,
                models=train.output,
                champion="{{ ti.xcom_pull(task_ids='champion') | tojson }}",
                metrics=METRICS,
                candidates=[candidate["name"] for candidate in CANDIDATES],
            )
            gate = QualityGateOperator(
                task_id="gate",
                **common,
                evaluation=evaluate.output,
                metrics=METRICS,
                gates=gates or [{"kind": "absolute", "metric": "roc_auc", "min": 0.7}, {"kind": "champion"}],
            )
            publish = PublishModelOperator(task_id="publish", **common, evaluation=evaluate.output)
            PromoteModelOperator(
                task_id="promote",
                **common,
                evaluation=publish.output,
                gate=gate.output,
                inlets=[champion_asset("churn")],
                outlets=[champion_alias("churn")],
            )
            ingest >> validate >> prepare
        return dag

    return build


@pytest.fixture
def mlflow(mlflow_uri: str, connection: Callable[..., None]) -> str:
    connection("mlflow_default", conn_type="mlflow", host=mlflow_uri, extra={"ui_url": "http://mlflow"})
    return mlflow_uri


def run_all(worker: Any, dag: DAG, tasks: str, **settings: Any) -> dict[str, Any]:
    """Run tasks in their order; `train` for each candidate."""
    ended = {}
    for name in tasks.split():
        if name == "train":
            for index, candidate in enumerate(CANDIDATES):
                ended[candidate["name"]] = worker.run(dag.task_dict[name], map_index=index, **settings)
        else:
            ended[name] = worker.run(dag.task_dict[name], **settings)
    return ended


def made(ended: Any) -> dict[str, Any]:
    """Return a result without what tells whether it was computed now or earlier."""
    return {key: value for key, value in ended.xcom.items() if key != "cached"}


def ingest(**settings: Any) -> Any:
    with DAG("tested", schedule=None, default_args={"retries": 3, "retry_policy": ONLY_AWAY}):
        return IngestDataOperator(task_id="ingest", pipeline="churn", task="binary", **settings)


def reader_data(reader: str) -> dict[str, Any]:
    return {"source": {"reader": reader}, "columns": COLUMNS}


def raising(error: str) -> str:
    return f"""
        from airflow_mlops_provider.exceptions import DataError, TransientServiceError

        def read(as_of, start):
            raise {error}
    """


# ------------------------------------------------------------------------------------------------ the whole chain


def test_a_dag_written_by_hand_trains_and_promotes_a_champion(
    worker: Any, churn: Callable[..., DAG], mlflow: str, statsd: Any
) -> None:
    ended = run_all(worker, churn(), "ingest validate prepare train champion evaluate gate publish promote")

    assert {name: (task.state, task.message) for name, task in ended.items() if task.state != "success"} == {}
    assert ended["promote"].xcom["facts"]["champion"] == 1
    assert ended["promote"].xcom["facts"]["status"] == "promoted"
    sizes = {name: len(json.dumps(task.xcom).encode()) for name, task in ended.items()}
    assert {name: size for name, size in sizes.items() if size > MAX_XCOM_BYTES} == {}
    margin = ended["evaluate"].xcom["facts"]["metrics"]["roc_auc"] - 0.7
    assert {name: value for name, value in statsd.gauges().items() if ".churn" in name} == {
        "gate_margin.churn.absolute.roc_auc": pytest.approx(margin),
        "champion_version.churn": 1,
        "champion_age_seconds.churn": 0,
    }


def test_events_carry_as_of_and_the_champions_event_is_sent_once(
    worker: Any, churn: Callable[..., DAG], mlflow: str, supervisor: Any
) -> None:
    dag = churn()
    ended = run_all(worker, dag, "ingest validate prepare train champion evaluate gate publish promote")

    dataset = ended["ingest"].told[-1].outlet_events
    assert dataset[0]["extra"]["as_of"] == "2013-03-01T00:00:00+00:00"
    assert dataset[0]["extra"]["rows"] == 400
    (champion,) = ended["promote"].told[-1].outlet_events
    assert champion["dest_asset_key"] == {"name": "churn.champion", "uri": "mlops://churn/champion"}
    assert champion["extra"]["as_of"] == "2013-03-01T00:00:00+00:00"
    assert champion["extra"]["champion"] == 1

    supervisor.asset_events.append(
        {
            "id": 1,
            "timestamp": datetime(2026, 1, 1, tzinfo=UTC),
            "extra": champion["extra"],
            "asset": {"name": "churn.champion", "uri": "mlops://churn/champion", "group": "asset"},
            "created_dagruns": [],
        }
    )
    again = worker.run(dag.task_dict["promote"])
    assert again.state == "success"
    assert again.told[-1].outlet_events == []


def test_a_cleared_run_publishes_and_promotes_nothing_again(
    worker: Any, churn: Callable[..., DAG], mlflow: str
) -> None:
    dag = churn()
    first = run_all(worker, dag, "ingest validate prepare train champion evaluate gate publish promote")
    second = run_all(worker, dag, "ingest validate prepare train champion evaluate gate publish promote")

    changed = {name for name in first if made(second[name]) != made(first[name])}
    assert changed == {"champion", "promote"}
    assert second["evaluate"].xcom["facts"].get("compared_with") is None, "not with itself"
    before, after = first["promote"].xcom["facts"], second["promote"].xcom["facts"]
    assert (before["status"], after["status"]) == ("promoted", "already")
    assert (before["seq"], before["version"]) == (after["seq"], after["version"])


def test_wrong_wiring_is_one_clear_error(worker: Any, churn: Callable[..., DAG], mlflow: str) -> None:
    ended = run_all(worker, churn(), "ingest prepare train champion evaluate gate publish")
    given = {name: one.xcom for name, one in ended.items()}
    model, names = worker.supervisor.xcoms["train", 0], {"metrics": METRICS, "candidates": ["logistic"]}
    common = {"task_id": "tested", "pipeline": "churn"}
    wrong = {
        "'models' is the result of another step: got prepare, expected train": EvaluateModelOperator(
            **common, **names, models=given["prepare"]
        ),
        "candidates have the same name: got ['logistic']": EvaluateModelOperator(**common, **names, models=[model] * 2),
        "'evaluation' is the result of another step: got gate, expected evaluate": QualityGateOperator(
            **common, metrics=METRICS, gates=[], evaluation=given["gate"]
        ),
        "'evaluation' is the result of another step: got train": PublishModelOperator(**common, evaluation=model),
        "the evaluation was not published": PromoteModelOperator(
            **common, evaluation=given["evaluate"], gate=given["gate"]
        ),
        "a candidate has no name": TrainModelOperator(
            **common, dataset=given["ingest"], split=given["prepare"], candidate={"estimator": "sklearn.svm.SVC"}
        ),
    }
    for says, operator in wrong.items():
        with DAG("wrong", schedule=None) as dag:
            dag.add_task(operator)
        failed = worker.run(operator)
        assert (failed.state, type(failed.error).__name__) == ("failed", "AirflowFailException"), says
        assert says in failed.message


def test_why_a_retraining_was_asked_for_ends_in_mlflow_and_in_the_ledger(
    worker: Any, churn: Callable[..., DAG], mlflow: str
) -> None:
    def asked(as_of: str, reason: str, *columns: str) -> dict[str, Any]:
        return {
            "asset": {"name": "churn.retrain", "uri": "mlops://churn/retrain", "extra": {}},
            "extra": {"as_of": as_of, "reason": reason, "columns": list(columns)},
            "source_task_id": "retrain",
            "source_dag_id": "churn_monitoring",
            "source_run_id": "one",
            "source_map_index": -1,
            "source_aliases": [],
            "timestamp": datetime(2026, 1, 1, tzinfo=UTC),
        }

    events = [asked("2013-03-01", "drift: the age moved", "age", "plan"), asked("2013-02-25", "decay: old", "balance")]
    run_all(
        worker,
        churn(),
        "ingest validate prepare train champion evaluate gate publish promote",
        run_type="asset_triggered",
        consumed_asset_events=events,
    )

    from mlflow import MlflowClient

    client = MlflowClient(mlflow)
    [parent] = client.search_runs(
        [client.get_experiment_by_name("churn").experiment_id], "tags.`mlops.role` = 'training'"
    )
    assert parent.data.tags["mlops.retrain_reason"] == "drift: the age moved"
    assert parent.data.tags["mlops.retrain_columns"] == "balance, age, plan"
    [entry] = Registry.connect(mlflow).history("churn")
    assert entry.reason.endswith("passed. Retrained for drift: the age moved")


def test_the_links_lead_to_the_run_and_the_version(worker: Any, churn: Callable[..., DAG], mlflow: str) -> None:
    dag = churn()
    ended = run_all(worker, dag, "ingest prepare train champion evaluate gate publish promote")

    for name in ("publish", "promote"):
        facts, task = ended[name].xcom["facts"], ended[name].task
        found = {link.name: link.get_link(task, ti_key=None) for link in task.operator_extra_links}
        assert found == {
            "MLflow run": f"http://mlflow/#/experiments/{facts['experiment_id']}/runs/{facts['run_id']}",
            "MLflow model version": "http://mlflow/#/models/churn/versions/1",
        }


def test_a_challenger_that_is_not_better_is_a_normal_day(worker: Any, churn: Callable[..., DAG], mlflow: str) -> None:
    gates = [{"kind": "absolute", "metric": "roc_auc", "min": 0.999, "on_fail": "skip"}]
    ended = run_all(worker, churn(gates=gates), "ingest prepare train champion evaluate gate publish promote")

    assert ended["gate"].state == "success"
    assert ended["promote"].state == "skipped"
    assert ended["promote"].xcom is None
    assert ended["promote"].told[-1].type == "TaskState"


def test_a_failed_gate_fails_its_task_with_the_numbers(worker: Any, churn: Callable[..., DAG], mlflow: str) -> None:
    gates = [{"kind": "absolute", "metric": "roc_auc", "min": 0.999}]
    ended = run_all(worker, churn(gates=gates), "ingest prepare train champion evaluate gate")["gate"]

    assert ended.state == "failed"
    assert isinstance(ended.error, AirflowFailException)
    assert "the challenger fails absolute: got absolute: " in ended.message
    assert ended.xcom["facts"]["decision"] == "fail"


# ------------------------------------------------------------------------------------------------ states


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
    kinds = [msg.type for msg in ended.told]
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
    assert ended.message.startswith("input 'dataset' is not the result of one of our operators: got ")
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

    names = [msg.rendered_map_index for msg in ended["tree"].told if msg.type == "SetRenderedMapIndex"]
    assert names == ["tree"]


def test_an_alias_among_the_outlets_is_no_plain_outlet(churn: Callable[..., DAG]) -> None:
    (outlet,) = churn().task_dict["promote"].outlets

    assert isinstance(outlet, AssetAlias)
