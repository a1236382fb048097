"""What every sensor shares: one look at a time, in a worker or in the triggerer."""

from __future__ import annotations

from abc import abstractmethod
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout, AirflowSkipException

from airflow_mlops_provider.exceptions import MLOpsError, TransientServiceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_mlops_provider.triggers.polling import PollingTrigger, PollResult

#: Under this key of the task's state store lies what its retries and reschedules have to know.
_MEMORY = "mlops.sensor"
#: And under this one until when they may wait, all of them together.
_UNTIL = "mlops.sensor.until"


class WaitingSensor(BaseSensorOperator):
    """Look once and, if nothing is found, wait in the triggerer, which occupies no worker.

    `poke_interval` and `timeout` are Airflow's own. Retries of a task remember what its first try saw, and share its
    `timeout`. Besides Airflow's own variables, templates can use `{{ as_of }}`, the `as_of` of the run, as in
    operators.

    :param deferrable: whether to wait in the triggerer. Otherwise the sensor waits in the worker, as set by `mode`.
    """

    template_fields: Sequence[str] = ()

    def __init__(self, *, deferrable: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.deferrable = deferrable

    @abstractmethod
    def look(self, memory: dict[str, Any]) -> PollResult:
        """Look once; it may take its time."""

    @abstractmethod
    def trigger(self, memory: dict[str, Any]) -> PollingTrigger:
        """Return what looks on in the triggerer."""

    def settle(self, found: dict[str, Any]) -> dict[str, Any]:
        """Return the task's result, or skip it."""
        return found

    def execute(self, context: Context) -> Any:
        """Look, and wait."""
        if not self.deferrable:
            return super().execute(context)
        try:
            result = self.poke(context)
            trigger = self.trigger(self._memory(context))
        except AirflowFailException as error:
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(str(error)) from error
            raise
        if isinstance(result, PokeReturnValue):
            return result.xcom_value
        left = self._left(context)
        if left <= timedelta(0):
            message = f"The timeout of this sensor, {self.timeout:g} s for all its tries, is over."
            if self.soft_fail or self.never_fail:
                raise AirflowSkipException(message)
            raise AirflowSensorTimeout(message)
        return self.defer(trigger=trigger, method_name="execute_complete", timeout=left)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Take what the trigger tells."""
        if failure := event.get("failure"):
            raise AirflowFailException(failure)
        return self.settle(event["found"])

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Look once; a service that is away is waited for."""
        memory = self._memory(context)
        try:
            look = self.look(memory)
        except TransientServiceError as error:
            self.log.warning("Looking again in %.1f s: %s", self.poke_interval, error)
            if not memory:
                # What changes from now on was not there when this sensor started.
                self._remember(context, {"started": datetime.now(UTC).isoformat()})
            return False
        except MLOpsError as error:
            raise AirflowFailException(str(error)) from error
        if look.found is not None:
            return PokeReturnValue(is_done=True, xcom_value=self.settle(look.found))
        self.log.info("%s", look.missing)
        if look.memory != memory:
            self._remember(context, look.memory)
        return False

    def _left(self, context: Context) -> timedelta:
        """Return how long the task may wait: as `timeout` says, from when its first try deferred.

        So says Airflow: retrying does not reset a sensor's timeout. And one that is over is tried again by Airflow when
        the end of the worker that deferred is heard of late (apache/airflow issue 72716): it must not wait anew.
        A task that was cleared has tries of its own.
        """
        first_try = context["ti"].max_tries - (self.retries or 0) + 1
        stored = context["task_state_store"].get(_UNTIL)
        if isinstance(stored, dict) and stored.get("first_try") == first_try:
            return datetime.fromisoformat(str(stored["until"])) - datetime.now(UTC)
        timeout = timedelta(seconds=self.timeout)
        until = (datetime.now(UTC) + timeout).isoformat()
        context["task_state_store"].set(_UNTIL, {"first_try": first_try, "until": until})
        return timeout

    def _memory(self, context: Context) -> dict[str, Any]:
        stored = context["task_state_store"].get(_MEMORY)
        return stored if isinstance(stored, dict) else {}

    def _remember(self, context: Context, memory: dict[str, Any]) -> None:
        context["task_state_store"].set(_MEMORY, memory)

    def _do_render_template_fields(
        self, parent: Any, template_fields: Any, context: Context, jinja_env: Any, seen_oids: set[int]
    ) -> None:
        """Render `{{ as_of }}` besides Airflow's own variables. Airflow calls this for mapped instances as well."""
        from airflow_mlops_provider.as_of import as_of_text
        from airflow_mlops_provider.run_context import resolve_as_of

        values: Any = context
        try:
            values["as_of"] = as_of_text(resolve_as_of(context))
        except MLOpsError as error:
            raise AirflowFailException(str(error)) from error
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
