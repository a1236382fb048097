"""What the DAGs and tasks of a pipeline share: names, owners, retries, Airflow's own settings of a task."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule, conf

from airflow_mlops_provider.dag_templates.executors import check_executor, executor_config
from airflow_mlops_provider.dag_templates.notify import notifiers
from airflow_mlops_provider.exceptions import TransientServiceError
from airflow_mlops_provider.spec import Docker

if TYPE_CHECKING:
    from airflow_mlops_provider.spec import Pipeline, TaskName

#: A service that is away for a while is worth waiting for. A wrong verdict, setting or bug is not: it stays wrong.
_RETRY_POLICY = ExceptionRetryPolicy(
    rules=[RetryRule(exception=[TransientServiceError, ConnectionError, TimeoutError], action=RetryAction.RETRY)],
    default=RetryAction.FAIL,
)
_RETRIES = {"retries": 3, "retry_delay": timedelta(seconds=10), "retry_exponential_backoff": 2.0}


def dag_settings(pipeline: Pipeline, kind: str) -> dict[str, Any]:
    """Return the settings of a DAG of a kind, but for what it does and when.

    :raises SpecError: for a wrong notifier.
    """
    return {
        "dag_id": f"{pipeline.name}_{kind}",
        # Politeness only: two runs at once would be safe, the ledger sees to that.
        "max_active_runs": 1,
        "tags": ["mlops", kind, *pipeline.tags],
        "default_args": {"owner": pipeline.owner, "retry_policy": _RETRY_POLICY, **_RETRIES},
        "on_failure_callback": notifiers(pipeline) or None,
        **_configured(),
    }


@cache
def _configured() -> dict[str, Any]:
    """Return what Airflow's configuration says of every DAG.

    Each DAG would look it up anew, which is half of what making one takes; thousands are made again and again.
    """
    return {
        "max_active_tasks": conf.getint("core", "max_active_tasks_per_dag"),
        "max_consecutive_failed_dag_runs": conf.getint("core", "max_consecutive_failed_dag_runs_per_dag"),
        "disable_bundle_versioning": conf.getboolean("dag_processor", "disable_bundle_versioning"),
    }


def task_settings(pipeline: Pipeline, name: TaskName) -> dict[str, Any]:
    """Return a task's id, Airflow's own settings for it, and where it computes when that is not in the worker."""
    settings = pipeline.tasks.get(name)
    own = settings.model_dump(exclude_none=True, exclude={"runtime", "executor_config"}) if settings else {}
    if settings is not None and settings.executor is not None:
        check_executor(name, settings.executor)
    if settings is not None and settings.executor_config is not None:
        own["executor_config"] = executor_config(name, section(settings)["executor_config"])
    runtime = pipeline.runtime_of(name)
    if runtime is not None and runtime.kind != "in_process":
        own["runtime"] = {"kind": runtime.kind, **section(runtime)}
    return {"task_id": name, **own}


def check_containers_allowed(pipeline: Pipeline) -> None:
    """Hold what the file asks of the container engine against what the platform's owner allows.

    A worker does so again before it makes a container, by its own configuration.

    :raises SpecError: names each setting that is not allowed.
    """
    runtimes = {"runtime": pipeline.runtime} | {
        f"tasks.{name}.runtime": own.runtime for name, own in pipeline.tasks.items()
    }
    containers = {where: runtime for where, runtime in runtimes.items() if isinstance(runtime, Docker)}
    if not containers:
        return
    from airflow_mlops_provider.runtime.bounds import configured

    bounds = configured()
    for where, runtime in containers.items():
        bounds.check(runtime, f"{pipeline.name}: {where}")


def section(part: Any) -> dict[str, Any]:
    """Return a section of the pipeline file as an operator takes it: plain JSON, without what is at its default."""
    values: dict[str, Any] = part.model_dump(mode="json", exclude_defaults=True)
    return values
