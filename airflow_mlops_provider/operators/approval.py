"""A person's word before a challenger becomes champion, by Airflow's own human-in-the-loop tasks."""

from __future__ import annotations

from contextvars import copy_context
from datetime import UTC, datetime
from functools import partial
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import BaseNotifier, Param
from airflow.sdk.exceptions import AirflowSkipException

from airflow_mlops_provider.exceptions import MLOpsError
from airflow_mlops_provider.links import MlflowRunLink, MlflowVersionLink
from airflow_mlops_provider.operators.model import ModelOperator
from airflow_mlops_provider.operators.step import Result, allow_list, failing_for_good, flag, parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from airflow.sdk import Context

    from airflow_mlops_provider.effects import Question
    from airflow_mlops_provider.effects.events import Event
    from airflow_mlops_provider.hooks.mlflow import MlflowHook
    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.spec import EventNotifier

_APPROVE, _REJECT = "Approve", "Reject"
#: How long a question may wait for its notifiers to take the message, in seconds; most take less than one.
_PATIENCE = 30.0


class _Notifying(BaseNotifier):
    """The notifier that `HITLOperator` calls after it has stored a question, before it waits for the answer.

    `HITLOperator` does not get the notifiers of the pipeline file themselves, because it calls its notifiers in each
    try, one after another, and one that raises an exception would fail the task.
    """

    def __init__(self, send: Callable[[Context], None]) -> None:
        super().__init__()
        self._notify = send

    def notify(self, context: Context) -> None:
        self._notify(context)


class ApproveModelOperator(ModelOperator, HITLOperator):
    """Ask a person whether the challenger may become champion, and record the answer and rationale in the ledger.

    The task waits in Airflow's state `awaiting_input`, which occupies no worker. Its page shows the scorecard: the
    challenger's metrics with their intervals, beside those of the champion and the baseline, the worst slices, and
    every gate.
    If the person rejects the challenger, or nobody answers in time, the task succeeds and `PromoteModelOperator` is
    skipped with the reason. The task asks nobody and is skipped itself if the gates refused the challenger, if it is
    already the champion, or if the ledger holds a newer champion. A question is asked only once: a cleared task finds
    the answer in the ledger. `PromoteModelOperator` takes the answer as its `approval`.

    .. code-block:: python

        approve = ApproveModelOperator(
            task_id="approve", pipeline="churn", evaluation=publish.output, gate=gate.output, approvers=["anna"]
        )

    :param evaluation: the output of `PublishModelOperator`.
    :param gate: the output of `QualityGateOperator`.
    :param response_timeout: time for an answer, after which the challenger is rejected. Without it, the task waits
        indefinitely.
    :param approvers: ids of the Airflow users who may answer. Defaults to everyone who may act on the DAG.
    :param event_notifiers: the `notifications.on_event` section of a pipeline file. The notifiers of the event
        `approval_asked` send one message about the question, with a link to the page where it is answered. A notifier
        that does not accept the message neither fails nor delays the task.
    """

    template_fields: Sequence[str] = (*ModelOperator.template_fields, "evaluation", "gate")
    operator_extra_links = (MlflowRunLink(), MlflowVersionLink())
    step = "approve"

    def __init__(
        self,
        *,
        evaluation: Result,
        gate: Result,
        response_timeout: timedelta | None = None,
        approvers: list[str] | None = None,
        event_notifiers: list[dict[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            subject="Promote the challenger to champion?",
            options=[_APPROVE, _REJECT],
            defaults=_REJECT,
            params={"rationale": Param("", type="string", title="Rationale", description="Recorded in the ledger.")},
            response_timeout=response_timeout,
            assigned_users=[{"id": user, "name": user} for user in approvers or []] or None,
            **kwargs,
        )
        self.evaluation = evaluation
        self.gate = gate
        self.approvers = approvers
        self.event_notifiers = event_notifiers or []
        self.mlflow_links: dict[str, str] = {}

    def run(self, context: Context) -> StepResult:
        """Ask and wait, unless the question was answered before or there is none."""
        from airflow_mlops_provider import effects

        evaluation, gate = parsed(self.evaluation, "evaluation"), parsed(self.gate, "gate")
        hook = self.mlflow()
        self.mlflow_links = effects.links(hook.ui_url, self.model_name, evaluation.facts)
        question = effects.question(
            hook.registry(),
            self.store(),
            evaluation,
            gate,
            model=self.model_name,
            caller=_caller(context),
            allow_older=flag(context, "allow_older"),
            lift_quarantine=flag(context, "lift_quarantine"),
            url=self.mlflow_links.get(MlflowVersionLink.name),
            allow_list=allow_list(),
        )
        if isinstance(question, effects.NoQuestion):
            raise AirflowSkipException(f"No approval requested: {question.reason}")
        if isinstance(question, effects.Question):
            if self.event_notifiers:
                self.notifiers = [_Notifying(partial(self._notify, hook, evaluation, gate)), *self.notifiers]
            self._ask(context, question)
        self.log.info("%s", question.facts["sentence"])
        return question

    def _ask(self, context: Context, question: Question) -> NoReturn:
        self.subject, self.body = question
        HITLOperator.execute(self, context)
        raise AssertionError("a task that asks ends in waiting")

    def _notify(self, hook: MlflowHook, evaluation: StepResult, gate: StepResult, context: Context) -> None:
        """Tell each notifier in a thread of its own that the question waits, and wait for none for long."""
        from airflow_mlops_provider import effects
        from airflow_mlops_provider.spec import EventNotifier

        until = None if self.response_timeout is None else datetime.now(UTC) + self.response_timeout
        event = effects.approval_event(
            evaluation,
            gate,
            model=self.model_name,
            caller=_caller(context),
            until=until,
            approvers=self.approvers or (),
        )
        sending = {}
        for each in self.event_notifiers:
            named = EventNotifier.model_validate(each)
            # Not a pool, which waits for its threads when the task ends.
            thread = Thread(
                target=copy_context().run,
                args=(self._tell_one, context, hook, named, event),
                name=f"told {named.label}",
                daemon=True,
            )
            thread.start()
            sending[named.label] = thread
        deadline = monotonic() + _PATIENCE
        for label, thread in sending.items():
            thread.join(max(0.0, deadline - monotonic()))
            if thread.is_alive():
                self.log.warning("%s takes longer than %s s: the approval task does not wait for it", label, _PATIENCE)

    def _tell_one(self, context: Context, hook: MlflowHook, named: EventNotifier, event: Event) -> None:
        from airflow_mlops_provider.operators.notify import tell_of, teller_key

        try:
            tell_of(
                hook,
                self.pipeline,
                self.model_name,
                [named],
                [event],
                by=teller_key(*_caller(context)),
                started=context["dag_run"].start_date or datetime.now(UTC),
                context=context,
            )
        except MLOpsError as error:
            self.log.warning("%s was not notified: %s", named.label, error)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Keep the answer."""
        from airflow_mlops_provider import effects

        response = HITLOperator.execute_complete(self, context, event)
        user: Any = response["responded_by_user"] or {}
        approved = response["chosen_options"] == [_APPROVE]
        with failing_for_good():
            result = effects.answer(
                self.registry(),
                parsed(self.evaluation, "evaluation"),
                model=self.model_name,
                caller=_caller(context),
                reply="timed_out" if event.get("timedout") else "approved" if approved else "rejected",
                by=user.get("name") or user.get("id"),
                rationale=str(response["params_input"].get("rationale") or ""),
            )
            self.log.info("%s", result.facts["sentence"])
            return self.settle(context, result)


def _caller(context: Context) -> tuple[str, ...]:
    ti = context["ti"]
    return ti.dag_id, ti.run_id, ti.task_id, str(ti.map_index)
