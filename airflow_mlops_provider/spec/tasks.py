"""The section `tasks`: the tasks of the DAGs, and Airflow's own settings of each."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from pydantic import Field

from airflow_mlops_provider.spec.frozen import Frozen, Span
from airflow_mlops_provider.spec.runtime import Runtime


class TaskSettings(Frozen):
    """Airflow's own settings of one step's task."""

    # As long as the columns of Airflow's database: a longer one would stop the scheduler, or the saving of every DAG.
    pool: str | None = Field(
        None, min_length=1, max_length=256, description="Airflow pool of the task. Defaults to Airflow's default pool."
    )
    queue: str | None = Field(
        None,
        min_length=1,
        max_length=256,
        description="Queue of the executor to which the task goes. Defaults to Airflow's default queue.",
    )
    executor: str | None = Field(
        None,
        min_length=1,
        max_length=256,
        description="Name of the executor that runs the task, one of those configured in Airflow. Defaults to the "
        "first of them.",
    )
    executor_config: dict[str, Any] | None = Field(
        None, description="Settings of the task for its executor, such as `pod_override` on Kubernetes."
    )
    retries: int | None = Field(
        None,
        ge=0,
        le=1000,
        description="Number of retries after a temporary error, such as a service that is away. Defaults to 3.",
    )
    retry_delay: Span | None = Field(
        None, description="Time before the first retry. It doubles with each further retry. Defaults to 10 seconds."
    )
    max_retry_delay: Span | None = Field(
        None, description="Longest time before a retry, however often `retry_delay` has doubled."
    )
    execution_timeout: Span | None = Field(
        None, gt=timedelta(0), description="A try of the task that takes longer than this fails."
    )
    runtime: Runtime | None = Field(
        None,
        description="Where the task computes. Defaults to the pipeline's `runtime`. `search` follows `train`, and "
        "`score_shard` follows `score`.",
    )


TaskName = Literal[
    "champion",
    "ingest",
    "validate",
    "prepare",
    "search",
    "train",
    "evaluate",
    "gate",
    "refit",
    "publish",
    "approve",
    "promote",
    "mirror",
    "score_shard",
    "score",
    "watch",
    "retrain",
    "roll_back",
    "notify",
]
