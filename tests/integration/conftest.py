from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT / "tools"))
sys.path.insert(0, str(Path(__file__).parent))

if TYPE_CHECKING:
    from collections.abc import Iterator

    from killing import Points

    from local_airflow import LocalAirflow


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.scheduler)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this run of the tests, the same for all of its workers."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Points:
    """The points at which the tasks of `dying` are killed."""
    from killing import Points

    return Points(tmp_path_factory.mktemp("points") / "killed")


@pytest.fixture(scope="module")
def dying(tmp_path_factory: pytest.TempPathFactory, points: Points) -> Iterator[LocalAirflow]:
    """An Airflow whose tasks are killed once at each point that a test has armed."""
    from generated import write_pipelines

    from local_airflow import LocalAirflow

    home = tmp_path_factory.mktemp("dying")
    pipelines = home / "pipelines"
    pipelines.mkdir()
    shutil.copytree(PROJECT / "dags", home / "dags")
    write_pipelines(pipelines)
    settings = {
        **points.setting,
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
        "AIRFLOW__MLOPS__WARM_IMPORTS": "True",
    }
    with LocalAirflow(home, dags=home / "dags", pipelines=pipelines, environment=settings) as running:
        yield running


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAirflow]:
    """One Airflow for all tests of a worker, with the shipped DAGs and pipelines, and those of the tests."""
    from generated import write_pipelines

    from local_airflow import LocalAirflow

    home = tmp_path_factory.mktemp("airflow")
    dags, pipelines = home / "dags", home / "pipelines"
    shutil.copytree(PROJECT / "dags", dags)
    shutil.copytree(Path(__file__).parent / "dags", dags, dirs_exist_ok=True)
    shutil.copytree(PROJECT / "config" / "pipelines", pipelines)
    write_pipelines(pipelines)
    # A short idle sleep and warm imports: less waiting between tasks, and the listener is at work in every test.
    # And a triggerer that is missed soon after its death, where 30 seconds are the default.
    settings = {
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
        "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "1",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "5",
        "AIRFLOW__MLOPS__WARM_IMPORTS": "True",
    }
    with LocalAirflow(home, dags=dags, pipelines=pipelines, environment=settings, triggerer=True) as running:
        yield running
