from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Real services, for whoever needs one.
sys.path.insert(0, str(Path(__file__).parent / "integration"))

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.ceph import Ceph

# Airflow reads these when it is first imported. Its home is this process's own, and goes with it.
_AIRFLOW_HOME = tempfile.TemporaryDirectory(prefix="airflow-")
os.environ["AIRFLOW_HOME"] = _AIRFLOW_HOME.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"


def pytest_configure(config: pytest.Config) -> None:
    # MLflow 3.17 reads experiments with an option that SQLAlchemy 2.1 deprecates.
    # Great Expectations 1.24 imports deprecated modules of the standard library.
    config.addinivalue_line("filterwarnings", "ignore:module 'sre_:DeprecationWarning")
    config.addinivalue_line("filterwarnings", "ignore:The ``noload`` loader strategy is deprecated")
    # skops looks through every module that is loaded, and so calls up what Airflow deprecates.
    config.addinivalue_line("filterwarnings", r"ignore:The .airflow\.\S+( attribute)? is deprecated")


@pytest.fixture(scope="session")
def ceph() -> Iterator[Ceph]:
    """An S3 endpoint: one for each worker of the tests that has use for it."""
    from services.ceph import ceph

    with ceph() as running:
        yield running


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


@pytest.fixture(scope="session")
def mlflow_server(migrated_mlflow: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from services.mlflow_server import mlflow_server

    folder = tmp_path_factory.mktemp("server")
    shutil.copy(migrated_mlflow, folder / "mlflow.db")
    with mlflow_server(folder) as running:
        yield running.url
