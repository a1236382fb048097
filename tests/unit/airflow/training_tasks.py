"""The tasks of a training DAG, one after another in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import DAG

TASKS = ("ingest", "validate", "prepare", "train", "champion", "evaluate", "gate", "refit", "publish", "promote")


def run_training(worker: Any, dag: DAG, **settings: Any) -> None:
    """Run every task of a training with one candidate; each succeeds."""
    for task in TASKS:
        index = {"map_index": 0} if task == "train" else {}
        ended = worker.run(dag.task_dict[task], **index, **settings)
        assert ended.state == "success", (task, ended.message)
