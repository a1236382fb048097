from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_mlops_provider.dag_templates import training_dag
from airflow_mlops_provider.pipelines import load_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable

# What the tests of the commands share.
sys.path.insert(0, str(Path(__file__).parent))

TASKS = ["ingest", "validate", "prepare", "champion", "train", "evaluate", "gate", "refit", "publish", "promote"]


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
def train(worker: Any, mlflow: str) -> Callable[..., dict[str, Any]]:
    """Run every task of a pipeline's training DAG; return how each ended."""

    def run(file: Path) -> dict[str, Any]:
        pipeline = load_pipeline(file)
        # A forest is slow to ask 250 times.
        quick = pipeline.evaluation.model_copy(update={"latency_calls": 10})
        dag = training_dag(pipeline.model_copy(update={"evaluation": quick}))
        ended = {}
        for task in TASKS:
            for index in range(len(pipeline.training.candidates)) if task == "train" else (-1,):
                ended[task] = worker.run(dag.task_dict[task], map_index=index)
                assert ended[task].state in ("success", "skipped"), (task, ended[task].message)
        return ended

    return run
