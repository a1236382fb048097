from __future__ import annotations

import json
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

    from gauges import Gauges
    from killing import Points

    from local_airflow import LocalAirflow

_HERE = Path(__file__).parent
#: What every Airflow of the tests is told: tasks follow each other soon and find the libraries imported, and files that
#: nobody changes are parsed once. At 0.1 s an idle scheduler takes a sixth of a core; every second of one counts here.
SETTINGS = {
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
    # The default, 32, leaves as many idle forks of a warm scheduler, beside those of the other workers' Airflows.
    "AIRFLOW__CORE__PARALLELISM": "8",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
    "AIRFLOW__MLOPS__WARM_IMPORTS": "True",
}
#: The shared Airflow of this worker, once a test has asked for it.
_shared: list[LocalAirflow] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.scheduler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Start the shared Airflow again when files of other folders came between those of this one."""
    for airflow in _shared:
        if _HERE in item.path.parents and not airflow.processes:
            airflow.start()


def pytest_runtest_teardown(nextitem: pytest.Item | None) -> None:
    """Stop the shared Airflow while tests of other folders run: an idle one takes a sixth of a core."""
    for airflow in _shared:
        if nextitem is not None and _HERE not in nextitem.path.parents:
            airflow.stop()


@pytest.fixture(scope="session")
def points(tmp_path_factory: pytest.TempPathFactory) -> Points:
    """The points at which tasks of `airflow` are killed, once at each that a test has armed."""
    from killing import Points

    return Points(tmp_path_factory.mktemp("points") / "killed")


@pytest.fixture(scope="session")
def statsd() -> Iterator[Gauges]:
    """A StatsD server: the gauges of the package that tasks of `airflow` send."""
    from gauges import Gauges

    with Gauges() as server:
        yield server


@pytest.fixture(scope="session")
def airflow(
    tmp_path_factory: pytest.TempPathFactory, points: Points, databases: Path, statsd: Gauges
) -> Iterator[LocalAirflow]:
    """One Airflow for all tests of a worker, with the shipped DAGs and pipelines, and those of the tests."""
    from generated import write_pipelines
    from own_code import write_package, write_plugins
    from sampled_flights import write_flights

    from local_airflow import LocalAirflow

    home = tmp_path_factory.mktemp("airflow")
    dags, pipelines = home / "dags", home / "pipelines"
    shutil.copytree(PROJECT / "dags", dags)
    shutil.copytree(_HERE / "dags", dags, dirs_exist_ok=True)
    shutil.copytree(PROJECT / "config" / "pipelines", pipelines)
    write_pipelines(pipelines)
    write_flights(pipelines)
    # And a triggerer that is missed soon after its death, where 30 seconds are the default.
    settings = {
        **SETTINGS,
        **points.setting,
        **write_plugins(home / "plugins"),
        **write_package(home / "packages"),
        "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "sqlite", "host": str(home / "warehouse.db")}),
        "AIRFLOW__METRICS__STATSD_ON": "True",
        "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
        "AIRFLOW__METRICS__STATSD_PORT": str(statsd.port),
        "AIRFLOW__METRICS__METRICS_ALLOW_LIST": "^mlops",
        "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "1",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "5",
    }
    running = LocalAirflow(
        home,
        dags=dags,
        pipelines=pipelines,
        environment=settings,
        triggerer=True,
        users={"anna": "admin", "ben": "viewer"},
        databases=databases,
    )
    with running:
        _shared.append(running)
        yield running
