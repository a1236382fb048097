from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import registry_worker
from processes import PROCESSES, at_once

from airflow_mlops_provider.registry import PromotionRequest, Registry
from airflow_mlops_provider.results import ArtifactRef

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(
    params=[("SQLite", 12), ("PostgreSQL", 8), pytest.param(("SQLite", 50), marks=pytest.mark.nightly)],
    ids=lambda param: f"{param[0]}, {param[1]} rounds",
)
def contested(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """An MLflow's database that every process writes itself, and how often."""
    name, rounds = request.param
    if name == "SQLite":
        yield request.getfixturevalue("mlflow_uri"), rounds
        return
    from services.postgres import postgres

    with postgres() as server:
        yield server.database("mlflow"), rounds


def request(version: int) -> PromotionRequest:
    sha256 = f"{version:064x}"
    return PromotionRequest(
        model="flights",
        idem=f"task-{version}",
        version=version,
        digest=f"digest-{version}",
        sha256=sha256,
        artifact=ArtifactRef(uri="file:///store/model.skops", sha256=sha256, size=1),
        lineage=f"lineage-{version}",
        order_key=datetime(2013, 3, 1, tzinfo=UTC),
    )


def test_four_processes_promote_again_and_again_at_once(contested: tuple[str, int], tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri, many = contested
    client = MlflowClient(uri)
    client.create_registered_model("flights")
    for _ in range(PROCESSES * many):
        client.create_model_version("flights", str(tmp_path), await_creation_for=None)
    rounds = [[request(r * PROCESSES + rank + 1) for rank in range(PROCESSES)] for r in range(many)]
    message = at_once(registry_worker.race, uri, rounds, answers=many)
    assert all(agrees for _, _, agrees in message)
    assert {status for _, status, _ in message} == {"promoted"}
    history = registry_worker.connect(uri).history("flights")
    assert [entry.seq for entry in history] == list(range(1, PROCESSES * many + 1))
    assert sorted(entry.version for entry in history) == sorted(version for version, _, _ in message)
    assert [entry.compared_with for entry in history[1:]] == [entry.seq for entry in history[:-1]]
    registered = client.get_registered_model("flights")
    assert int(registered.aliases["champion"]) == history[-1].version
    shown = client.search_model_versions("name = 'flights' and tags.`mlops.status` = 'champion'")
    assert [int(version.version) for version in shown] == [history[-1].version]
    ledgers = client.search_runs([client.get_experiment_by_name("mlops-ledger").experiment_id])
    assert len(ledgers) == 1


def test_one_training_published_by_four_processes_at_once_is_shown_once(mlflow_uri: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    training = registry_worker.publication(tmp_path / "model.skops")
    at_once(registry_worker.publish_at_once, mlflow_uri, training)

    published = Registry.connect(mlflow_uri).publish(training)
    client = MlflowClient(mlflow_uri)
    runs = client.search_runs([published.experiment_id])
    stored = [run.info.run_id for run in runs if run.data.tags.get("mlops.duplicate") != "true"]
    assert sorted(stored) == sorted([published.parent_run_id, *published.run_ids.values()])
    assert "RUNNING" not in {run.info.status for run in runs}
    versions = client.search_model_versions("name = 'flights'")
    assert [int(found.version) for found in versions if "mlops.duplicate" not in found.tags] == [published.version]
    models = client.search_logged_models([published.experiment_id])
    assert len([model for model in models if model.tags.get("mlops.duplicate") != "true"]) == 1


def test_four_rollbacks_at_once_go_one_step_back(mlflow_uri: str, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    client, registry = MlflowClient(mlflow_uri), Registry.connect(mlflow_uri)
    registry_worker.promote_all(registry, client, tmp_path, PROCESSES + 1)
    message = at_once(registry_worker.roll_back_at_once, mlflow_uri)

    # Whoever begins after the winner has ended rolls back the next one: that is what was asked for then.
    history = registry.history("flights")[PROCESSES + 1 :]
    assert sum(changed for _, changed in message) == len(history) >= 1
    assert {status for status, _ in message} <= {"rolled_back", "stale"}
    assert [entry.quarantined for entry in history] == [PROCESSES + 1 - step for step in range(len(history))]
    aliases = client.get_registered_model("flights").aliases
    assert {name: int(version) for name, version in aliases.items()} == {"champion": history[-1].version}


def test_four_processes_decide_of_twenty_windows_at_once(mlflow_uri: str) -> None:
    windows = [datetime(2013, 3, day, tzinfo=UTC) for day in range(1, 21)]
    message = at_once(registry_worker.decide_at_once, mlflow_uri, windows, answers=len(windows))

    stored = {
        entry.window.isoformat(): entry.value["rank"] for entry in Registry.connect(mlflow_uri).decisions("flights")
    }
    assert len(stored) == len(windows)
    assert all(stored[window] == held for window, held, _ in message), "all were told the one that holds"
    assert sum(won for _, _, won in message) == len(windows), "each window has one writer"
