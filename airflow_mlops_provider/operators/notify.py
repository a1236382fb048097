"""Messages about events, at the end of a DAG."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf

from airflow_mlops_provider.exceptions import MLOpsError, TransientServiceError
from airflow_mlops_provider.operators.model import ModelOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from airflow_mlops_provider.effects.events import Event, Teller
    from airflow_mlops_provider.effects.notices import Notified
    from airflow_mlops_provider.hooks.mlflow import MlflowHook
    from airflow_mlops_provider.operators.step import Result
    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.spec import EventNotifier

#: The clocks of two machines differ by less.
_CLOCKS = timedelta(minutes=1)


class NotifyOperator(ModelOperator):
    """Send messages about the new events of a model: each notifier sends each event once.

    Events are read from the ledger and from the decisions of monitoring. So the task also sends those that happened
    outside a run, or in a run whose own messages failed. The results of the tasks before it add what is stored nowhere
    else: failed gates, and an alias that was corrected. A new notifier does not send what happened before its first
    run.

    If a notifier fails, the task is retried, and nothing else is affected. As a teardown, the task runs whatever
    happened to the tasks before it, and leaves the state of the run to them.

    .. code-block:: python

        notify = NotifyOperator(
            task_id="notify",
            pipeline="churn",
            results=[gate.output, promote.output],
            notifiers=[
                {
                    "notifier": "airflow.providers.smtp.notifications.smtp.SmtpNotifier",
                    "params": {"to": "ml@example.org"},
                    "events": ["gate_failed", "promoted"],
                }
            ],
        ).as_teardown()

    :param notifiers: the `notifications.on_event` section of a pipeline file. Their templates can use `event`, and the
        names, moments and texts of Airflow's context.
    :param results: the outputs of the tasks before it: gate, publish, promote, watch, rollback, as far as they exist.
    """

    # Not `notifiers`: their templates are rendered for each event.
    template_fields: Sequence[str] = (*ModelOperator.template_fields, "results")
    step = "notify"

    def __init__(self, *, notifiers: list[dict[str, Any]], results: list[Result] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.notifiers = notifiers
        self.results = results or []

    def run(self, context: Context) -> StepResult:
        """Tell, and fail for another try when a notifier did not take a message.

        :raises SpecError: a notifier's name, arguments or templates are wrong.
        :raises TransientServiceError: a message was not taken, or MLflow cannot be reached.
        """
        from airflow_mlops_provider.effects.events import Teller
        from airflow_mlops_provider.operators.notifiers import event_notifier
        from airflow_mlops_provider.results import StepResult
        from airflow_mlops_provider.run_context import resolve_as_of
        from airflow_mlops_provider.spec import EventNotifier

        notifiers = [EventNotifier.model_validate(each) for each in self.notifiers]
        for each in notifiers:
            event_notifier(self.pipeline, each)  # a mistake shows at the first run, not at the first event
        ti, dag_run = context["ti"], context["dag_run"]
        by = teller_key(ti.dag_id, ti.run_id, ti.task_id)
        notified = notify_of_events(
            self.mlflow(),
            self.pipeline,
            self.model_name,
            notifiers,
            results=[StepResult.model_validate(value) for value in self.results if value],
            teller=Teller(run=(ti.dag_id, ti.run_id), upstream=tuple(sorted(self.upstream_task_ids))),
            by=by,
            started=dag_run.start_date or datetime.now(UTC),
            context=context,
        )
        if notified.failed:
            raise _failure(notified)
        if notified.left:
            self.log.info("Another run is about to send: %s", "; ".join(title for _, title in notified.left))
        return StepResult(
            step="notify",
            pipeline=self.pipeline,
            key=by,
            as_of=resolve_as_of(context, self.as_of),
            facts={"sent": len(notified.sent), "left": len(notified.left)},
        )


def teller_key(*who: str) -> str:
    """Return what a teller is known by: DAG, run and task, or the command and what it did."""
    return hashlib.sha256(json.dumps(who).encode()).hexdigest()


def _failure(notified: Notified) -> MLOpsError:
    """Return the error of messages that were not taken; worth another try when one of them is."""
    errors = [error for _, error in notified.failed]
    kind = TransientServiceError if any(isinstance(error, TransientServiceError) for error in errors) else MLOpsError
    return kind(
        f"{len(errors)} of {len(errors) + len(notified.sent)} messages could not be sent",
        got="; ".join(str(error) for error in errors),
        hint="The next run sends the rest. For a message about gates or an alias, clear this task.",
    )


def notify_of_events(
    hook: MlflowHook,
    pipeline: str,
    model: str,
    notifiers: Sequence[EventNotifier],
    *,
    results: Sequence[StepResult],
    teller: Teller,
    by: str,
    started: datetime,
    context: Mapping[str, Any],
    more: Sequence[Event] = (),
) -> Notified:
    """Tell notifiers of the events of a model; a task does so at the end of a run, a command after its effect.

    :param more: events that are neither in the registry nor in the results.
    :raises SpecError, RegistryError, TransientServiceError: as `notify`, or a notifier is wrong.
    """
    from airflow_mlops_provider.effects.events import events_of

    events = [*events_of(hook.registry(), pipeline, model, results, teller), *more]
    return tell_of(hook, pipeline, model, notifiers, events, by=by, started=started, context=context)


def tell_of(
    hook: MlflowHook,
    pipeline: str,
    model: str,
    notifiers: Sequence[EventNotifier],
    events: Sequence[Event],
    *,
    by: str,
    started: datetime,
    context: Mapping[str, Any],
) -> Notified:
    """Tell notifiers of these events of a model, and of no other.

    :raises SpecError, RegistryError, TransientServiceError: as `notify`, or a notifier is wrong.
    """
    from airflow_mlops_provider.effects.events import WebAddresses
    from airflow_mlops_provider.effects.notices import notify
    from airflow_mlops_provider.operators.notifiers import send

    return notify(
        hook.registry(),
        pipeline,
        model,
        notifiers,
        events,
        by=by,
        started=started - _CLOCKS,
        places=WebAddresses(airflow=conf.get("api", "base_url", fallback=None) or None, mlflow=hook.ui_url),
        send=lambda named, event: send(pipeline, named, event, context),
    )
