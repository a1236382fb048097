from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.data.tables import TableInfo, write_table
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.results import StepResult
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.spec import Columns
from airflow_mlops_provider.storage import ArtifactStore

# What the tests of one step share.
sys.path.insert(0, str(Path(__file__).parent))

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from drift_windows import Window
    from evaluated_world import World

AS_OF = datetime(2013, 3, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "artifacts"))


@pytest.fixture
def ingested(store: ArtifactStore) -> Callable[..., StepResult]:
    """Store a frame as ingest does: categories as dictionaries of text, the task and roles in the file."""

    def write(
        frame: pd.DataFrame,
        *,
        task: str = "binary",
        batch_rows: int = 10_000,
        delay: timedelta = timedelta(0),
        **roles: Any,
    ) -> StepResult:
        table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata({})
        for name in roles.get("categorical", ()):
            index = table.schema.get_field_index(name)
            table = table.set_column(index, name, table[name].cast(pa.dictionary(pa.int32(), pa.string())))
        info = TableInfo(task=task, columns=Columns(**roles), label_delay=delay)
        batches = [table.slice(start, batch_rows) for start in range(0, len(table), batch_rows)]
        ref = write_table(store, batches, table.schema, info)
        return StepResult(step="ingest", pipeline="tests", key="0" * 64, as_of=AS_OF, artifacts={"dataset": ref})

    return write


@pytest.fixture
def step(store: ArtifactStore) -> Callable[..., StepResult]:
    """Run one step by name on the results of others."""

    def run(
        name: str, section: dict[str, Any], *, seed: int = 7, plugins: str | None = None, **inputs: Any
    ) -> StepResult:
        request = StepRequest(
            step=name,
            pipeline="tests",
            as_of=AS_OF,
            seed=seed,
            section=section,
            inputs={role: [result] for role, result in inputs.items()},
            allow_list=AllowList(modules=("xgboost", "lightgbm"), plugins_folder=plugins),
        )
        return run_step(request, store)

    return run


@pytest.fixture
def world(store: ArtifactStore) -> World:
    """A dataset of two classes that is split, to train candidates on and to judge them."""
    from evaluated_world import World, rows_of

    return World(store).load(rows_of("binary"))


@pytest.fixture
def trained(ingested: Callable[..., StepResult], step: Callable[..., StepResult]) -> Callable[..., StepResult]:
    """Prepare a table and train one candidate on it."""
    from candidates_to_train import RANDOM, ROLES, table

    def run(
        candidate: dict[str, Any],
        frame: pd.DataFrame | None = None,
        *,
        task: str = "binary",
        preparation: dict[str, Any] = RANDOM,
        seed: int = 7,
    ) -> StepResult:
        dataset = ingested(table() if frame is None else frame, task=task, **ROLES)
        split = step("prepare", preparation, dataset=dataset, seed=seed)
        section = {"name": "one", "candidate": candidate}
        return step("train", section, dataset=dataset, split=split, seed=seed)

    return run


@pytest.fixture
def window(store: ArtifactStore) -> Window:
    from drift_windows import Window

    return Window(store)
