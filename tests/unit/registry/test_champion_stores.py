"""The stores of champions pass the contract that is shipped for whoever writes another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from mlflow import MlflowClient

from airflow_mlops_provider.registry import Registry
from airflow_mlops_provider.registry.champion_store import MemoryChampions
from airflow_mlops_provider.registry.champion_store_contract import ChampionStoreContract

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def with_versions(uri: str, model: str) -> None:
    client = MlflowClient(uri)
    client.create_registered_model(model)
    for _ in range(9):
        client.create_model_version(model, "s3://models/nowhere", await_creation_for=None)


@pytest.fixture(scope="module")
def database() -> Iterator[Any]:
    from services.postgres import postgres

    with postgres() as running:
        yield running.database("champions")


class TestMemory(ChampionStoreContract):
    @pytest.fixture(autouse=True)
    def opened(self) -> None:
        store = MemoryChampions("flights", versions=range(1, 10))
        self.open_store = lambda: store


class TestMlflowOnSQLite(ChampionStoreContract):
    @pytest.fixture(autouse=True)
    def opened(self, mlflow_uri: str) -> None:
        with_versions(mlflow_uri, "flights")
        self.open_store = lambda: Registry.connect(mlflow_uri).champions("flights")


class TestMlflowBehindAServer(ChampionStoreContract):
    @pytest.fixture(autouse=True)
    def opened(self, mlflow_server: str, request: pytest.FixtureRequest) -> None:
        # The server is that of other tests, too.
        model = f"flights {request.node.name}"
        with_versions(mlflow_server, model)
        self.open_store = lambda: Registry.connect(mlflow_server).champions(model)


class TestMlflowOnPostgreSQL(ChampionStoreContract):
    @pytest.fixture(autouse=True)
    def opened(self, database: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
        model = f"flights {request.node.name}"
        with_versions(database, model)
        self.open_store = lambda: Registry.connect(database, artifact_root=str(tmp_path)).champions(model)
