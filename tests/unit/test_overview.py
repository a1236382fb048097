"""Where pipelines stand, over a real registry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mlops_provider.overview import pipeline_overviews, timeline
from airflow_mlops_provider.pipelines import parse_pipeline
from airflow_mlops_provider.registry import LedgerEntry, Registry
from airflow_mlops_provider.registry.client import Connection
from airflow_mlops_provider.registry.ledger import LEDGER, Ledger
from airflow_mlops_provider.registry.write_once import WriteOnceLog
from airflow_mlops_provider.results import ArtifactRef

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from airflow_mlops_provider.spec import Pipeline

SHA = "a" * 64
DAY = timedelta(days=1)
FIRST = datetime(2026, 3, 1, tzinfo=UTC)


def pipeline(name: str = "flights", **changes: Any) -> Pipeline:
    spec = {
        "name": name,
        "task": "binary",
        "data": {"source": {"uri": "/data/x.csv"}, "columns": {"target": "late", "timestamp": "at", "numeric": ["a"]}},
        "training": {"candidates": {"logistic": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
        "scoring": {},
        "monitoring": {},
    }
    return parse_pipeline({**spec, **changes}, where="the test")


def entry(seq: int, version: int, **changes: Any) -> LedgerEntry:
    fields = {
        "seq": seq,
        "idem": f"task-{seq}",
        "version": version,
        "digest": f"digest-{version}",
        "sha256": SHA,
        "artifact": ArtifactRef(uri="file:///store/model.skops", sha256=SHA, size=3),
        "lineage": f"lineage-{version}",
        "order_key": FIRST + (seq - 1) * DAY,
        "at": FIRST + (seq - 1) * DAY + timedelta(hours=6),
        "metrics": {"roc_auc": 0.7 + seq / 100},
        "gates": [["champion", True, "gain 0.01", "> 0"]],
        "reason": "all 1 gates passed",
    }
    return LedgerEntry(**{**fields, **changes})


@pytest.fixture
def registry(mlflow_uri: str) -> Registry:
    return Registry.connect(mlflow_uri)


HISTORY = [
    entry(1, 1),
    entry(2, 2, approver="ann"),
    entry(3, 1, action="rollback", quarantined=2, reason="It misses storms", gates=[]),
]


@pytest.fixture
def client(mlflow_uri: str) -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient(mlflow_uri)


def register(client: Any, model: str, versions: int, **aliases: int) -> None:
    client.create_registered_model(model)
    for _ in range(versions):
        client.create_model_version(model, "/nowhere", await_creation_for=None)
    for name, version in aliases.items():
        client.set_registered_model_alias(model, name, str(version))


def decided(day: int, **changes: Any) -> dict[str, Any]:
    window = FIRST + day * DAY
    return {"as_of": window.isoformat(), "action": "keep", "rule": "healthy", "reasons": ["no drift"], **changes}


def test_each_pipeline_says_who_is_champion_and_what_monitoring_thinks_of_it(
    registry: Registry, client: Any, mlflow_uri: str
) -> None:
    connection = Connection(mlflow_uri)
    register(client, "flights", 3, champion=2, challenger=3)
    for one in HISTORY[:2]:
        assert Ledger(connection, "flights").append(one)
    for day in (2, 3):
        registry.write_decision("flights", FIRST + day * DAY, decided(day))
    register(client, "wine", 1, champion=1)
    flights, wine, none = pipeline_overviews(registry, [pipeline(), pipeline("wine"), pipeline("none")], decisions=1)
    assert flights.champion is not None
    assert (flights.champion.version, flights.champion.approver, flights.champion.value) == (2, "ann", 0.72)
    assert (flights.champion.promoted_at, flights.champion.as_of) == (FIRST + DAY + timedelta(hours=6), FIRST + DAY)
    assert (flights.alias_agrees, flights.challenger, flights.latest, flights.entries) == (True, 3, 3, 2)
    assert flights.champion.gates[0].got == "gain 0.01"
    assert flights.last_decision is not None
    assert len(flights.decisions) == 1, "as many as were asked for, the latest"
    assert flights.last_decision.as_of == FIRST + 3 * DAY
    assert (flights.champion.probation_until, flights.champion.on_probation) == (FIRST + 8 * DAY, True)
    assert (wine.champion, wine.alias, wine.alias_agrees) == (None, 1, False), "an alias that the ledger never set"
    assert (none.champion, none.latest, none.alias_agrees, none.trouble) == (None, None, True, None)


def test_probation_ends_with_its_days_and_with_a_rollback(registry: Registry, mlflow_uri: str) -> None:
    ledger = Ledger(Connection(mlflow_uri), "flights")
    for one in HISTORY[:2]:
        ledger.append(one)
    registry.write_decision("flights", FIRST + 20 * DAY, decided(20))
    [seen] = pipeline_overviews(registry, [pipeline()])
    assert seen.champion is not None
    assert (seen.champion.on_probation, seen.quarantined) == (False, [])
    ledger.append(HISTORY[2])
    [back] = pipeline_overviews(registry, [pipeline()])
    assert back.champion is not None
    assert (back.champion.version, back.champion.probation_until, back.quarantined) == (1, None, [2])


def test_a_damaged_log_is_the_trouble_of_its_pipeline_alone(registry: Registry, client: Any, mlflow_uri: str) -> None:
    connection = Connection(mlflow_uri)
    for model in ("flights", "wine", "gone", "odd"):
        Ledger(connection, model).append(entry(1, 1))
    WriteOnceLog(connection, "flights", LEDGER).write("seq-2", "{}")
    client.delete_experiment(client.get_experiment_by_name("ledger/gone").experiment_id)
    registry.write_decision("odd", FIRST, {"action": "dance"})
    found = pipeline_overviews(registry, [pipeline(name) for name in ("flights", "wine", "gone", "odd")])
    troubles = [one.trouble for one in found]
    assert "entry 2 cannot be read" in str(troubles[0])
    assert troubles[1] is None
    assert "the experiment was deleted" in str(troubles[2])
    assert "a decision cannot be read" in str(troubles[3])
    assert found[3].champion is not None


def test_many_pipelines_take_as_many_requests_as_one(
    registry: Registry, client: Any, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"model_{number}" for number in range(4)]
    for name in names:
        Ledger(Connection(mlflow_uri), name).append(entry(1, 1))
        registry.write_decision(name, FIRST, decided(0))
    requested: list[str] = []
    once = Connection._once
    monkeypatch.setattr(
        Connection, "_once", lambda self, what, *rest: requested.append(what) or once(self, what, *rest)
    )
    found = pipeline_overviews(registry, [pipeline(names[0])])
    assert [one.entries for one in found] == [1]
    needed = len(requested)
    found = pipeline_overviews(registry, [pipeline(name) for name in names])
    assert [(one.entries, len(one.decisions)) for one in found] == [(1, 1)] * 4
    assert len(requested) - needed == needed < 10


def test_a_timeline_says_how_long_each_served_and_who_served_when() -> None:
    tenures = timeline(HISTORY)
    assert [(one.version, one.action, one.in_quarantine) for one in tenures] == [
        (1, "promote", False),
        (2, "promote", True),
        (1, "rollback", False),
    ]
    assert [one.until for one in tenures] == [HISTORY[1].at, HISTORY[2].at, None]
    assert [one.seq for one in timeline(HISTORY, served_at=FIRST + DAY)] == [1]
    assert [one.seq for one in timeline(HISTORY, served_at=FIRST + 99 * DAY)] == [3]
    assert timeline(HISTORY, served_at=FIRST) == []
    assert [one.seq for one in timeline(HISTORY, as_of=FIRST + DAY)] == [1, 2]
