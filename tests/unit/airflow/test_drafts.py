"""`airflow mlops init` on data that it has never seen: what it writes trains to a champion without an edit.

Then the other commands, on what was trained.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mlops_provider.dag_templates import training_dag
from airflow_mlops_provider.pipelines import load_pipeline
from airflow_mlops_provider.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


TASKS = ["ingest", "validate", "prepare", "champion", "train", "evaluate", "gate", "publish", "promote"]


def write_data(name: str, folder: Path) -> tuple[Path, str]:
    """Write a data set as a CSV file; return it and its target."""
    file = folder / f"{name}.csv"
    if name == "flights":
        import pyarrow.compute as pc
        from pyarrow import csv

        from flights import read_flights

        rows = read_flights(datetime(2013, 2, 1, tzinfo=UTC), datetime(2013, 1, 1, tzinfo=UTC))
        csv.write_csv(rows.take(pc.sort_indices(rows, [("scheduled_departure", "ascending")])), file)
        return file, "late"
    from sklearn import datasets

    getattr(datasets, f"load_{name}")(as_frame=True).frame.rename(columns={"target": "y"}).to_csv(file, index=False)
    return file, "y"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command as `airflow` does, in this process; return its exit code, and what it printed and complained."""

    def run(*arguments: str) -> tuple[int, str, str]:
        from airflow.cli.cli_parser import get_parser

        capsys.readouterr()
        code = 0
        try:
            args = get_parser().parse_args(["mlops", *arguments])
            args.func(args)
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 1
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def mlflow(mlflow_uri: str, connection: Callable[..., None]) -> str:
    connection("mlflow_default", conn_type="mlflow", host=mlflow_uri)
    return mlflow_uri


@pytest.fixture
def train(worker: Any, mlflow: str) -> Callable[..., dict[str, Any]]:
    """Run every task of a pipeline's training DAG; return how each ended."""

    def run(file: Path) -> dict[str, Any]:
        pipeline = load_pipeline(file)
        dag = training_dag(pipeline)
        ended = {}
        for task in TASKS:
            for index in range(len(pipeline.training.candidates)) if task == "train" else (-1,):
                ended[task] = worker.run(dag.task_dict[task], map_index=index)
                assert ended[task].state in ("success", "skipped"), (task, ended[task].message)
        return ended

    return run


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes", "flights"])
def test_a_draft_trains_to_a_champion_without_an_edit(
    name: str, run: Callable[..., Any], train: Callable[..., Any], mlflow: str, pipelines: Path, tmp_path: Path
) -> None:
    data, target = write_data(name, tmp_path)
    code, out, err = run("init", str(data), "--target", target)
    assert (code, err) == (0, ""), err
    assert f"Written: {pipelines / f'{name}.yaml'}" in out
    code, out, _ = run("check", name, "--offline")
    assert code == 0, out
    ended = train(pipelines / f"{name}.yaml")
    assert ended["promote"].state == "success", ended["promote"].message
    head = Registry.connect(mlflow).head(name)
    assert head is not None
    assert head.version == 1
    assert [gate[1] for gate in head.gates] == [True] * 5  # type: ignore[index]
