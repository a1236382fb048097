"""From a file as it is downloaded to a champion, without an edit: `init`, and every task of the training DAG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from public_files import FILES

from airflow_mlops_provider.data.tables import read_table, table_schema
from airflow_mlops_provider.pipelines import load_pipeline
from airflow_mlops_provider.registry import Registry
from airflow_mlops_provider.results import StepResult
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("name", FILES)
def test_a_public_file_goes_from_init_to_a_champion_without_an_edit(
    name: str,
    run: Callable[..., Any],
    train: Callable[..., dict[str, Any]],
    mlflow: str,
    pipelines: Path,
    tmp_path: Path,
) -> None:
    expected, data = FILES[name], tmp_path / f"{name}.csv"
    expected.write(data)
    code, out, err = run("init", str(data), "--target", expected.target)
    assert (code, err) == (0, ""), err
    pipeline = load_pipeline(pipelines / f"{name}.yaml")
    columns = pipeline.data.columns
    assert (pipeline.task, columns.timestamp, columns.keys) == (expected.task, expected.timestamp, expected.keys), out
    assert columns.features == expected.features, out
    drafted = pipeline.data.model_dump(exclude={"source", "columns"}, exclude_defaults=True)
    assert drafted == expected.data
    assert run("check", name, "--offline")[0] == 0

    ended = train(pipelines / f"{name}.yaml")

    assert ended["promote"].state == "success", ended["promote"].message
    head = Registry.connect(mlflow).head(name)
    assert head is not None
    assert [gate[1] for gate in head.gates] == [True] * 5
    assert head.remarks == []
    dataset = StepResult.model_validate(ended["ingest"].xcom).artifacts["dataset"]
    store = ArtifactStore(str(tmp_path / "artifacts"))
    schema = table_schema(store, dataset)
    assert {column: str(schema.field(column).type) for column in expected.types} == expected.types
    if expected.first is not None:
        assert read_table(store, dataset, [columns.timestamp]).iloc[0, 0] == expected.first
