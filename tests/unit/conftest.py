from __future__ import annotations

import itertools
import sys
import textwrap
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mlops_provider.job import SqlReader
    from airflow_mlops_provider.results import StepResult

# What tests of effects share.
sys.path.insert(0, str(Path(__file__).parent))

AS_OF = datetime(2013, 3, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def no_plugins_of_other_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Forget the plugins that a test has imported: the next one has another folder, and may use their names."""
    before, base = set(sys.modules), str(tmp_path_factory.getbasetemp())
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(base):
            del sys.modules[name]


@pytest.fixture(params=["file"])
def store_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    # Every store passes the same tests: another scheme is another parameter here.
    return (tmp_path / "store").as_uri()


@pytest.fixture
def store(store_uri: str) -> ArtifactStore:
    return ArtifactStore(store_uri)


@dataclass
class Steps:
    """Runs steps as operators do, on a real store."""

    store: ArtifactStore
    allow_list: AllowList

    def run(
        self,
        step: str,
        section: dict[str, Any],
        *,
        as_of: datetime = AS_OF,
        read_sql: SqlReader | None = None,
        recompute: bool = False,
        **inputs: StepResult,
    ) -> StepResult:
        request = StepRequest(
            step=step,
            pipeline="tested",
            as_of=as_of,
            section=section,
            inputs={role: [result] for role, result in inputs.items()},
            recompute=recompute,
            allow_list=self.allow_list,
        )
        return run_step(request, self.store, read_sql=read_sql)

    def ingest(self, data: dict[str, Any], *, task: str = "binary", **settings: Any) -> StepResult:
        return self.run("ingest", {"task": task, "data": data}, **settings)

    def validate(self, dataset: StepResult, **section: Any) -> StepResult:
        return self.run("validate", section, dataset=dataset)


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "plugins"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture
def steps(store: ArtifactStore, plugins: Path) -> Steps:
    return Steps(store, AllowList(plugins_folder=str(plugins)))


_modules = itertools.count()


@pytest.fixture
def reader(plugins: Path) -> Any:
    """Write a plugin and return the dotted name of its `read`."""

    def write(code: str) -> str:
        # Python keeps imported modules by name: each plugin of a test session has its own.
        name = f"plugin_{next(_modules)}"
        (plugins / f"{name}.py").write_text(textwrap.dedent(code))
        return f"{name}.read"

    return write
