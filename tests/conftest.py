from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def pytest_configure(config: pytest.Config) -> None:
    # MLflow 3.17 reads experiments with an option that SQLAlchemy 2.1 deprecates.
    config.addinivalue_line("filterwarnings", "ignore:The ``noload`` loader strategy is deprecated")


@pytest.fixture(scope="session")
def migrated_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # MLflow's schema takes six seconds to create; every test gets a copy.
    from mlflow import MlflowClient

    database = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{database}").search_experiments()
    return database


@pytest.fixture
def mlflow_uri(migrated_mlflow: Path, tmp_path: Path) -> str:
    folder = tmp_path / "mlflow"
    folder.mkdir()
    shutil.copy(migrated_mlflow, folder / "mlflow.db")
    return f"sqlite:///{folder / 'mlflow.db'}"
