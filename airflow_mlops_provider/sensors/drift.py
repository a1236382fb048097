"""Waiting for monitoring's verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from airflow_mlops_provider.exceptions import SpecError
from airflow_mlops_provider.sensors.waiting import WaitingSensor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_mlops_provider.triggers.decision import DecisionTrigger
    from airflow_mlops_provider.triggers.polling import PollResult

_VERDICTS: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "any": lambda _: True,
    "bad": lambda decision: bool(decision["bad"]),
    # A window that could not be judged is neither bad nor good.
    "good": lambda decision: decision["rule"] == "healthy" and not decision["bad"],
    "keep": lambda decision: decision["action"] == "keep",
    "retrain": lambda decision: decision["action"] == "retrain" and not decision["suppressed"],
    "roll_back": lambda decision: decision["action"] == "roll_back",
    "incident": lambda decision: decision["action"] == "incident",
}


class DriftSensor(WaitingSensor):
    """Wait until monitoring has decided a window of a pipeline.

    A decision is final. If it does not match `verdict`, the task is skipped with the reason, and so are the tasks that
    depend on it. The sensor returns the decision: `model`, `as_of`, `action`, `rule`, `bad`, `suppressed`, `why`,
    `reason`, `columns`, `champion`, `at`.

    .. code-block:: python

        drifted = DriftSensor(
            task_id="drifted", pipeline="churn", window="{{ as_of }}", verdict="bad", timeout=24 * 3600
        )

    :param pipeline: name of the monitored pipeline.
    :param window: the window's `as_of`, which is the end of the scored time.
    :param verdict: decision to accept. `any` accepts all. `bad` means that drift or decay was found, `good` that it was
        looked for and not found. `keep`, `retrain`, `roll_back` and `incident` name what follows, where `retrain` means
        a request that was not suppressed.
    :param model: name of the registered model. Defaults to the pipeline's name.
    :param mlflow_conn_id: id of the `mlflow` connection.
    """

    template_fields: Sequence[str] = ("pipeline", "window", "verdict", "model", "mlflow_conn_id")

    def __init__(
        self,
        *,
        pipeline: str,
        window: str,
        verdict: str = "any",
        model: str | None = None,
        mlflow_conn_id: str = "mlflow_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pipeline = pipeline
        self.window = window
        self.verdict = verdict
        self.model = model
        self.mlflow_conn_id = mlflow_conn_id

    def look(self, memory: dict[str, Any]) -> PollResult:
        """Read the decisions."""
        from airflow_mlops_provider.hooks.mlflow import MlflowHook
        from airflow_mlops_provider.triggers.decision import look_for_decision

        question = self._question()
        return look_for_decision(MlflowHook(self.mlflow_conn_id).registry(), **question, memory=memory)

    def trigger(self, memory: dict[str, Any]) -> DecisionTrigger:
        """Return what reads on in the triggerer."""
        from airflow_mlops_provider.triggers.decision import DecisionTrigger

        return DecisionTrigger(
            **self._question(), mlflow_conn_id=self.mlflow_conn_id, poke_interval=self.poke_interval, memory=memory
        )

    def settle(self, found: dict[str, Any]) -> dict[str, Any]:
        """Skip the task when the decision is another one."""
        if not _VERDICTS[self.verdict](found):
            suppressed = f" (suppressed: {found['why']})" if found["suppressed"] else ""
            raise AirflowSkipException(
                f"Window {found['as_of']} of {found['model']} is not {self.verdict}: "
                f"{found['action']}{suppressed}, by the rule {found['rule']}: {found['reason']}"
            )
        return found

    def _question(self) -> dict[str, Any]:
        from airflow_mlops_provider.run_context import parse_as_of

        if self.verdict not in _VERDICTS:
            raise SpecError("verdict is unknown", got=self.verdict, expected=", ".join(_VERDICTS))
        window = parse_as_of(self.window, "window").replace(microsecond=0)
        return {"model": self.model or self.pipeline, "window": window.isoformat()}
