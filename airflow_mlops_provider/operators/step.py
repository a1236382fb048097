"""What every operator shares: the run's as_of, the store, one compute step, and a verdict as a task state."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, conf
from airflow.sdk._shared.secrets_masker import redact
from airflow.sdk.exceptions import AirflowFailException, AirflowRuntimeError, AirflowSkipException

from airflow_mlops_provider.exceptions import MLOpsError, SpecError, TransientServiceError
from airflow_mlops_provider.results import MAX_XCOM_BYTES, MESSAGE, StepResult, text_within

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

    from airflow_mlops_provider.job import Champion
    from airflow_mlops_provider.lineage.work import Work
    from airflow_mlops_provider.runtime import DockerRuntime
    from airflow_mlops_provider.storage import ArtifactStore

#: The step whose result an input of this name is.
_MADE_BY = {
    "dataset": "ingest",
    "split": "prepare",
    "models": "train",
    "champion": "champion",
    "evaluation": "evaluate",
    "published": "evaluate",
    "latency": "latency",
    "gate": "gate",
    "refit": "refit",
    "approval": "approve",
    "predictions": "score",
    "drift": "drift",
    "estimate": "estimate",
    "live": "live",
    "decided": "watch",
}
#: What an upstream operator returned, or an XComArg that becomes it.
Result = Any


class StepOperator(BaseOperator):
    """Run one compute step of a pipeline.

    The Params `as_of` and `recompute` of the DAG run take effect if the DAG declares them. Besides Airflow's own
    variables, templates can use `{{ as_of }}`, the `as_of` of the run: a date, or a UTC moment if it is not midnight.

    :param pipeline: name of the pipeline. Receipts are stored under this name.
    :param as_of: date and time in ISO format. The step sees only data from before it. Defaults to the `as_of` of the
        run.
    :param seed: seed of all random numbers.
    :param artifacts: URI of the artifact store. Defaults to `[mlops] artifacts_uri`.
    :param runtime: where the step computes, as in a pipeline file. Defaults to the Airflow worker.
    """

    template_fields: Sequence[str] = ("pipeline", "as_of", "artifacts", "runtime")
    step: str
    _docker: DockerRuntime | None = None
    _work: Work | None = None

    def __init__(
        self,
        *,
        pipeline: str,
        as_of: str | None = None,
        seed: int = 0,
        artifacts: str | None = None,
        runtime: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pipeline = pipeline
        self.as_of = as_of
        self.seed = seed
        self.artifacts = artifacts
        self.runtime = runtime

    def _do_render_template_fields(
        self, parent: Any, template_fields: Any, context: Context, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        """Render `{{ as_of }}` besides Airflow's own variables. Airflow calls this for mapped instances as well."""
        from airflow_mlops_provider.as_of import as_of_text
        from airflow_mlops_provider.run_context import resolve_as_of

        values: Any = context
        with leaving_a_message(context), failing_for_good():
            given = None if self.as_of is None else self.render_template(self.as_of, context, jinja_env)
            values["as_of"] = as_of_text(resolve_as_of(context, given))
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)

    def execute(self, context: Context) -> dict[str, Any] | None:
        """Run the step; a bad verdict is pushed to XCom first and fails the task without a retry."""
        with leaving_a_message(context), failing_for_good():
            result = self.run(context)
            return None if result is None else self.settle(context, result)

    @abstractmethod
    def run(self, context: Context) -> StepResult | None:
        """Do the operator's work; None where there is none, or another task does it."""

    def settle(self, context: Context, result: StepResult) -> dict[str, Any]:
        """Turn a result into the XCom value, and a bad verdict into a failed task."""
        self.work.result = result
        value = result.xcom()
        if result.failure is not None:
            context["ti"].xcom_push(key="return_value", value=value)
            raise AirflowFailException(str(result.failure.as_error()))
        return value

    def compute(
        self,
        context: Context,
        section: dict[str, Any],
        inputs: dict[str, list[StepResult]],
        *,
        step: str | None = None,
        champion: Champion | None = None,
        as_of: datetime | None = None,
        recompute: bool | None = None,
    ) -> StepResult:
        """Run a compute step, or return its committed receipt.

        :param as_of: `as_of` of the step. Defaults to the run's.
        :param recompute: whether to compute the step again. Defaults to the Param `recompute` of the run.
        """
        from airflow_mlops_provider.hooks.connections import password_of
        from airflow_mlops_provider.hooks.sql import read_sql
        from airflow_mlops_provider.job import StepRequest
        from airflow_mlops_provider.lineage.work import Computed
        from airflow_mlops_provider.run_context import resolve_as_of
        from airflow_mlops_provider.runner import run_step

        request = StepRequest(
            step=step or self.step,
            pipeline=self.pipeline,
            as_of=as_of or resolve_as_of(context, self.as_of),
            seed=self.seed,
            section=section,
            inputs=inputs,
            champion=champion,
            recompute=flag(context, "recompute") if recompute is None else recompute,
            allow_list=allow_list(),
        )
        self.work.computed.append(done := Computed(request))
        if (docker := self._container_runtime(context)) is not None:
            done.result = docker.run(request, self.store())
        else:
            done.result = run_step(request, self.store(), read_sql=read_sql, read_secret=password_of)
        return done.result

    def _container_runtime(self, context: Context) -> DockerRuntime | None:
        """Return what runs steps in a container, None when they run here."""
        if (self.runtime or {}).get("kind", "in_process") == "in_process":
            return None
        from airflow_mlops_provider.runtime import DockerRuntime

        ti = context["ti"]
        caller = {name: str(getattr(ti, name)) for name in ("dag_id", "run_id", "task_id", "map_index")}
        self._docker = DockerRuntime.of(self.runtime, caller)
        return self._docker

    def on_kill(self) -> None:
        """Stop the container, when the step runs in one."""
        if self._docker is not None:
            self._docker.stop()

    def store(self) -> ArtifactStore:
        """Return the artifact store."""
        from airflow_mlops_provider.hooks.object_storage import ObjectStorageHook

        return ObjectStorageHook(self.artifacts).store()

    @property
    def model_name(self) -> str:
        """The registered model in MLflow."""
        return self.pipeline

    @property
    def work(self) -> Work:
        """What the task has done so far."""
        from airflow_mlops_provider.lineage.work import Work

        if self._work is None:
            self._work = Work(self.step, self.model_name)
        return self._work

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Return what the task read and made. Called by OpenLineage's listener alone, also when the task failed."""
        from airflow_mlops_provider.lineage import openlineage_facets

        return openlineage_facets(self.work, self.store)


@contextmanager
def leaving_a_message(context: Context) -> Iterator[None]:
    """Push why a task fails or skips itself, for its report; Airflow clears it before the next try."""
    try:
        yield
    except Exception as error:
        ours = isinstance(error, AirflowFailException | AirflowSkipException | MLOpsError)
        # XComs are not masked, as logs are.
        text = redact(str(error) if ours else f"{type(error).__name__}: {error}")
        message = text_within(text, MAX_XCOM_BYTES // 2)
        # The error itself counts, also where Airflow cannot take the message.
        with suppress(AirflowRuntimeError):
            context["ti"].xcom_push(key=MESSAGE, value=message)
        raise


@contextmanager
def failing_for_good() -> Iterator[None]:
    """Turn what another try cannot mend into a failure without retries; a service that is away stays what it is."""
    try:
        yield
    except TransientServiceError:
        raise
    except MLOpsError as error:
        raise AirflowFailException(str(error)) from error


def allow_list() -> Any:
    """Return what pipeline files may name, from `[mlops] allowed_modules` and Airflow's plugins folder."""
    from airflow_mlops_provider.allow_list import AllowList

    modules = conf.get("mlops", "allowed_modules", fallback="xgboost,lightgbm")
    return AllowList(
        modules=tuple(name.strip() for name in modules.split(",") if name.strip()),
        plugins_folder=conf.get("core", "plugins_folder", fallback=None),
    )


def flag(context: Context, name: str) -> bool:
    """Return a boolean Param of the run, False when the DAG does not declare it.

    :raises SpecError: it is no boolean: the text "false" would be true.
    """
    params: Any = context.get("params") or {}
    value = params.get(name)
    if value is not None and not isinstance(value, bool):
        raise SpecError(f"Param {name} is neither true nor false", got=value)
    return bool(value)


def parsed(value: Result, role: str) -> StepResult:
    """Return what an upstream task returned as a result.

    :raises MLOpsError: when it is nothing of the kind, or the result of another step.
    """
    from pydantic import ValidationError

    try:
        result = StepResult.model_validate(value)
    except ValidationError as error:
        raise MLOpsError(
            f"input {role!r} is not the result of an operator of this package",
            got="nothing" if value is None else value,
            hint=f"Pass the {role} operator's output, such as `{role}=task.output`.",
        ) from error
    if result.step != (made_by := _MADE_BY.get(role, result.step)):
        raise MLOpsError(
            f"input {role!r} is the result of another step",
            got=result.step,
            expected=made_by,
            hint="Correct the wiring.",
        )
    return result
