from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from filelock import FileLock
from xdist.scheduler import LoadScopeScheduling

# Real services, for whoever needs one.
sys.path.insert(0, str(Path(__file__).parent / "integration"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from services.ceph import Ceph

#: Workers that start an Airflow.
_AIRFLOWS = 2
_INTEGRATION = Path(__file__).parent / "integration"


class ByFile(LoadScopeScheduling):
    """Hands out files, and all files on one Airflow together."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        airflow = _airflow_of(self.config.rootpath / file)
        return file if airflow == _AIRFLOWS else f"airflow {airflow}"


# Airflow reads these when it is first imported. Its home is this process's own, and goes with it.
_AIRFLOW_HOME = tempfile.TemporaryDirectory(prefix="airflow-")
os.environ["AIRFLOW_HOME"] = _AIRFLOW_HOME.name
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"


# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")


def pytest_configure(config: pytest.Config) -> None:
    # MLflow 3.17 reads experiments with an option that SQLAlchemy 2.1 deprecates.
    # Great Expectations 1.24 imports deprecated modules of the standard library.
    config.addinivalue_line("filterwarnings", "ignore:module 'sre_:DeprecationWarning")
    config.addinivalue_line("filterwarnings", "ignore:The ``noload`` loader strategy is deprecated")
    # skops looks through every module that is loaded, and so calls up what Airflow deprecates.
    config.addinivalue_line("filterwarnings", r"ignore:The .airflow\.\S+( attribute)? is deprecated")


def pytest_xdist_auto_num_workers() -> int:
    """Return a worker more than there are processors: tests on an Airflow wait for half of their time."""
    return 1 + len(os.sched_getaffinity(0))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """Give each file as a whole to one worker, and those on an Airflow to few: each worker starts one of its own."""
    return None if config.getvalue("dist") == "worksteal" else ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Do the files on an Airflow first: what the other workers do meanwhile fills their waiting."""
    files = _in_order(dict.fromkeys(item.path for item in items))
    places = {file: (_airflow_of(file), index) for index, file in enumerate(files)}
    items.sort(key=lambda item: places[item.path])


def _in_order(files: Iterable[Path]) -> list[Path]:
    """Return files as they are, or as a seed shuffles them: none may rest on what another left behind."""
    found = list(files)
    if seed := os.environ.get("MLOPS_TESTS_SEED"):
        random.Random(seed).shuffle(found)
    return found


def _airflow_of(file: Path) -> int:
    """Return which of the Airflows a file's tests are on; as many as there are, of a file that needs none."""
    slow = _in_order(sorted(_INTEGRATION.glob("test_*.py")))
    return slow.index(file) % _AIRFLOWS if file in slow else _AIRFLOWS


@pytest.fixture(autouse=True)
def _no_secret_of_another_test() -> Iterator[None]:
    """What one test's connection holds must not blank the words of the next one's errors."""
    yield
    if (redaction := sys.modules.get("airflow_mlops_provider.redaction")) is not None:
        redaction.forget()


@pytest.fixture(scope="session")
def ceph() -> Iterator[Ceph]:
    """An S3 endpoint: one for each worker of the tests that has use for it."""
    from services.ceph import ceph

    with ceph() as running:
        yield running


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of this run of the tests, the same for all of its workers."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def made_once(shared_folder: Path) -> Callable[[str, Callable[[Path], None]], Path]:
    """Make a folder that all workers of the tests share: the first that asks fills it, the others wait."""

    def make(name: str, fill: Callable[[Path], None]) -> Path:
        folder = shared_folder / name
        folder.mkdir(exist_ok=True)
        with FileLock(shared_folder / f"{name}.lock"):
            if not (folder / "done").exists():
                fill(folder)
                (folder / "done").touch()
        return folder

    return make


@pytest.fixture(scope="session")
def migrated_mlflow(made_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    # MLflow's schema takes six seconds to create; every test gets a copy.
    def fill(folder: Path) -> None:
        from mlflow import MlflowClient

        MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").search_experiments()

    return made_once("mlflow", fill) / "mlflow.db"


@pytest.fixture(scope="session")
def databases(made_once: Callable[[str, Callable[[Path], None]], Path], migrated_mlflow: Path) -> Path:
    """Empty databases of Airflow and MLflow, to be copied."""
    from local_airflow import LocalAirflow

    return made_once("databases", lambda folder: LocalAirflow(folder, databases=migrated_mlflow.parent).migrate())


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
