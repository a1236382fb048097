from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, Asset, Param
from airflow.sdk.exceptions import AirflowFailException, ParamValidationError
from airflow.serialization.serialized_objects import DagSerialization

from airflow_mlops_provider.assets import champion_alias, champion_asset, predictions_asset
from airflow_mlops_provider.dag_templates import rollback_dag
from airflow_mlops_provider.operators.rollback import RollbackModelOperator
from airflow_mlops_provider.pipelines import parse_pipeline
from airflow_mlops_provider.registry import PromotionRequest, Registry
from airflow_mlops_provider.results import MAX_XCOM_BYTES
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHURN: dict[str, Any] = {
    "name": "churn",
    "task": "binary",
    "data": {"source": {"uri": "/data/customers.csv"}, "columns": {"target": "left", "numeric": ["age"]}},
    "preparation": {"split": {"by": "random"}},
    "training": {"candidates": {"logistic": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
}
REASON = {"reason": "it misses plan b"}


@pytest.fixture
def registry(mlflow_uri: str, connection: Callable[..., None], tmp_path: Path) -> Registry:
    """Three champions of `churn`, one after the other."""
    from mlflow import MlflowClient

    connection("mlflow_default", conn_type="mlflow", host=mlflow_uri, extra={"ui_url": "http://mlflow"})
    client, registry = MlflowClient(mlflow_uri), Registry.connect(mlflow_uri)
    client.create_registered_model("churn")
    store = ArtifactStore((tmp_path / "artifacts").as_uri())
    for version in (1, 2, 3):
        client.create_model_version("churn", str(tmp_path), await_creation_for=None)
        digest, artifact = f"{version:064x}", store.add_bytes(f"model {version}".encode(), ".skops")
        outcome = registry.promote(
            PromotionRequest(
                model="churn",
                idem=digest,
                version=version,
                digest=digest,
                sha256=artifact.sha256,
                artifact=artifact,
                lineage=digest,
                order_key=datetime(2013, 3, version, tzinfo=UTC),
                compared_with=version - 1 or None,
                metrics={"roc_auc": 0.7},
            )
        )
        assert outcome.status == "promoted"
    return registry


def dag_of(**sections: Any) -> DAG:
    return rollback_dag(parse_pipeline({**CHURN, **sections}, where="churn.yaml"))


def roll_back(worker: Any, dag: DAG | None = None, /, **conf: Any) -> Any:
    return worker.run((dag or dag_of()).task_dict["roll_back"], conf={**REASON, **conf})


def task(**arguments: Any) -> RollbackModelOperator:
    with DAG("by_hand", schedule=None):
        return RollbackModelOperator(task_id="roll_back", pipeline="churn", **{**REASON, **arguments})


def event(asset: Asset, **extra: Any) -> dict[str, Any]:
    return {
        "id": 1,
        "timestamp": datetime(2026, 1, 1, tzinfo=UTC),
        "extra": extra,
        "asset": {"name": asset.name, "uri": asset.uri, "group": "asset"},
        "created_dagruns": [],
    }


# ------------------------------------------------------------------------------------------------ what it does


def test_the_previous_champion_serves_again_and_its_event_is_sent(worker: Any, registry: Registry) -> None:
    ended = roll_back(worker)

    assert (ended.state, ended.message) == ("success", "None")
    head = registry.head("churn")
    assert head is not None
    assert (head.action, head.version, head.quarantined, head.reason) == ("rollback", 2, 3, "it misses plan b")
    facts = ended.xcom["facts"]
    assert (facts["status"], facts["champion"], facts["quarantined"], facts["seq"]) == ("rolled_back", 2, 3, 4)
    assert len(json.dumps(ended.xcom).encode()) < MAX_XCOM_BYTES
    (sent,) = ended.messages[-1].outlet_events
    assert sent["dest_asset_key"] == {"name": "churn.champion", "uri": "mlops://churn/champion"}
    assert (sent["extra"]["champion"], sent["extra"]["seq"]) == (2, 4)
    assert sent["extra"]["as_of"] == "2013-03-03T00:00:00+00:00", "the data time of the ledger's entry"


@pytest.mark.parametrize(("to", "version"), [("1", 1), (1, 1), ("2", 2), ("previous", 2), (" previous ", 2)])
def test_where_to_may_be_said_as_text_or_number(worker: Any, registry: Registry, to: Any, version: int) -> None:
    assert roll_back(worker, to=to).xcom["facts"]["champion"] == version


def test_back_to_what_served_at_a_moment(worker: Any, registry: Registry) -> None:
    first = registry.history("churn")[0]
    assert roll_back(worker, to=first.at.isoformat()).xcom["facts"]["champion"] == 1


def test_the_same_task_again_rolls_back_nothing_and_sends_nothing(
    worker: Any, registry: Registry, supervisor: Any
) -> None:
    first = roll_back(worker)
    supervisor.asset_events.append(event(champion_asset("churn"), **first.messages[-1].outlet_events[0]["extra"]))
    again = roll_back(worker)

    assert (again.state, again.xcom["facts"]["status"]) == ("success", "already")
    assert again.messages[-1].outlet_events == []
    assert len(registry.history("churn")) == 4


def test_who_asked_is_in_the_ledger(worker: Any, registry: Registry) -> None:
    worker.run(task(), triggering_user_name="ann")
    head = registry.head("churn")
    assert head is not None
    assert head.approver == "ann"


def test_the_link_leads_to_the_version_that_serves_now(worker: Any, registry: Registry) -> None:
    ended = roll_back(worker)
    (link,) = ended.task.operator_extra_links
    assert link.get_link(ended.task, ti_key=None) == "http://mlflow/#/models/churn/versions/2"


@pytest.mark.parametrize(
    ("arguments", "run", "as_of"),
    [
        ({"as_of": "2013-04-01"}, {}, "2013-04-01"),
        ({}, {"conf": {"as_of": "2013-04-02"}}, "2013-04-02"),
        ({}, {}, "2013-03-09"),
        ({"inlets": [champion_asset("churn")]}, {}, "2013-03-03"),
    ],
    ids=["argument", "param", "the latest predictions", "the champion's own"],
)
def test_the_event_carries_the_data_time_that_is_to_be_scored_again(
    worker: Any, registry: Registry, supervisor: Any, arguments: dict[str, Any], run: dict[str, Any], as_of: str
) -> None:
    scored = predictions_asset("churn")
    supervisor.asset_events += [event(scored, as_of=f"2013-03-0{day}T00:00:00+00:00") for day in (8, 9, 7)]
    arguments = {"inlets": [scored], "outlets": [champion_alias("churn")], **arguments}
    with DAG("by_hand", schedule=None, params={"as_of": Param(None, type=["null", "string"])}):
        operator = RollbackModelOperator(task_id="roll_back", pipeline="churn", **REASON, **arguments)

    (sent,) = worker.run(operator, **run).messages[-1].outlet_events

    assert sent["extra"]["as_of"] == f"{as_of}T00:00:00+00:00"


# ------------------------------------------------------------------------------------------------ what it refuses


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("7", "cannot be rolled back to version 7: that version was never champion. Available: version"),
        ("3", "version 3 is the champion already (entry 3)"),
        ("2013-03-01", "the first champion has served since"),
        ("0", "the rollback target is invalid: got 0, expected previous, the number of a version, or a date"),
        ("yesterday", "the rollback target is invalid: got yesterday"),
    ],
)
def test_back_to_what_is_not_there_fails_for_good(worker: Any, registry: Registry, to: str, words: str) -> None:
    ended = worker.run(task(to=to))

    assert ended.state == "failed"
    assert isinstance(ended.error, AirflowFailException)
    assert words in ended.message
    assert len(registry.history("churn")) == 3


def test_an_empty_reason_fails_for_good(worker: Any, registry: Registry) -> None:
    ended = worker.run(task(reason=" "))
    assert isinstance(ended.error, AirflowFailException)
    assert "rolling back model 'churn' needs a reason" in ended.message


def test_without_a_champion_it_says_so(worker: Any, mlflow_uri: str, connection: Callable[..., None]) -> None:
    connection("mlflow_default", conn_type="mlflow", host=mlflow_uri)
    ended = roll_back(worker)
    assert isinstance(ended.error, AirflowFailException)
    assert "model 'churn' cannot be rolled back: it never had a champion" in ended.message


@pytest.mark.parametrize(("expected", "state"), [(2, "skipped"), ("2", "skipped"), (3, "success"), ("3", "success")])
def test_another_champion_than_the_one_that_is_meant_is_left_alone(
    worker: Any, registry: Registry, expected: Any, state: str
) -> None:
    assert worker.run(task(expected_head=expected)).state == state
    assert len(registry.history("churn")) == (4 if state == "success" else 3)


# ------------------------------------------------------------------------------------------------ the DAG


def test_the_form_asks_for_a_reason_and_offers_the_previous_champion() -> None:
    params = dag_of().params
    fields = {name: params.get_param(name) for name in params}
    assert set(fields) == {"to", "reason"}
    assert all(field.schema["title"] and field.description for field in fields.values())
    with pytest.raises(ParamValidationError, match="reason"):
        params.validate()
    params["reason"] = "late"
    assert params.validate() == {"to": "previous", "reason": "late"}


@pytest.mark.parametrize(
    ("name", "value"), [("reason", ""), ("reason", "  "), ("reason", None), ("to", ""), ("to", 0), ("to", None)]
)
def test_the_form_refuses_what_a_rollback_cannot_use(name: str, value: Any) -> None:
    with pytest.raises(ParamValidationError):
        dag_of().params[name] = value


def test_the_dag_survives_serialisation_and_still_asks_for_a_reason() -> None:
    dag = dag_of(owner="ml", tags=["crm"], promotion={"model": "retention"}, tasks={"roll_back": {"pool": "careful"}})
    decoded = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))

    assert (decoded.dag_id, decoded.tags, decoded.max_active_runs) == (
        "churn_rollback",
        {"mlops", "rollback", "crm"},
        1,
    )
    assert decoded.params.get_param("reason").resolve() is None
    with pytest.raises(ValueError, match="No value passed"):
        decoded.params.get_param("reason").resolve(raises=True)
    (operator,) = dag.tasks
    assert (operator.pool, operator.owner, operator.retries, operator.model) == ("careful", "ml", 3, "retention")
    assert operator.inlets == [champion_asset("retention")]
    assert operator.outlets == [champion_alias("retention")]
    assert not dag.timetable.can_be_scheduled


def test_with_scoring_the_latest_predictions_are_made_again() -> None:
    columns = {**CHURN["data"]["columns"], "keys": ["customer"]}
    dag = dag_of(scoring={}, data={**CHURN["data"], "columns": columns})
    assert predictions_asset("churn") in dag.task_dict["roll_back"].inlets
