"""What `promote`, `rollback` and `reconcile` share: who asks, the event of a new champion, and the messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.redaction import first_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.effects.events import Event
    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.spec import Pipeline


def current_user() -> str | None:
    """Return who runs the command, None when the system does not say."""
    from airflow.exceptions import AirflowConfigException
    from airflow.utils.platform import getuser

    try:
        return str(getuser())
    except AirflowConfigException:
        return None


def check_unpaused(dag_id: str) -> None:
    """Refuse a DAG whose run would wait for somebody to unpause it.

    :raises SpecError: it is paused, or Airflow does not know it.
    :raises TransientServiceError: Airflow's database does not answer.
    """
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy.exc import SQLAlchemyError

    from airflow_mlops_provider.exceptions import SpecError, TransientServiceError

    try:
        with create_session() as session:
            dag = session.get(DagModel, dag_id)
            state = "unknown to Airflow" if dag is None else "paused" if dag.is_paused else None
    except SQLAlchemyError as error:
        raise TransientServiceError(
            "Airflow's database does not answer", got=first_line(error), hint="Roll back with --direct."
        ) from error
    if state is not None:
        raise SpecError(f"DAG {dag_id!r} is {state}", hint="Unpause it once it is parsed, or roll back with --direct.")


def emit_champion_event(pipeline: Pipeline, result: StepResult) -> str:
    """Send the champion event of a ledger entry, once, as the tasks do; say what came of it.

    The ledger is written by then, and holds whatever becomes of the event.
    """
    from airflow.assets.manager import asset_manager
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select
    from sqlalchemy.exc import SQLAlchemyError

    from airflow_mlops_provider.assets import champion_asset
    from airflow_mlops_provider.run_context import MAX_EVENTS

    name = champion_asset(pipeline.model_name).name
    try:
        with create_session() as session:
            asset = session.scalar(select(AssetModel).where(AssetModel.name == name).limit(1))
            if asset is None:
                return f"No DAG uses the asset {name}, so no event was sent"
            events = select(AssetEvent.extra).where(AssetEvent.asset_id == asset.id)
            sent = session.scalars(events.order_by(AssetEvent.id.desc()).limit(MAX_EVENTS))
            if any((extra or {}).get("seq") == result.facts["seq"] for extra in sent):
                return f"The event {name} was already sent"
            extra = {"as_of": result.as_of.isoformat(), **result.facts}
            asset_manager.register_asset_change(asset=asset, extra=extra, session=session)
            return f"The event {name} was sent"
    except SQLAlchemyError as error:
        return f"The event {name} was not sent, because Airflow's database did not answer: {first_line(error)}"


def send_notifications(pipeline: Pipeline, *who: str, more: Sequence[Event] = ()) -> str:
    """Send the pipeline's notifiers the events that are new to them, and return the outcome; empty without any.

    The command's own change holds, whatever becomes of the messages: the next run sends those that are left.

    :param who: the command, and what it did.
    :param more: events that the registry does not hold.
    """
    from datetime import UTC, datetime

    from airflow_mlops_provider.effects.events import Teller
    from airflow_mlops_provider.exceptions import MLOpsError
    from airflow_mlops_provider.hooks.mlflow import MlflowHook
    from airflow_mlops_provider.operators.notify import notify_of_events, teller_key

    if not pipeline.notifications.on_event:
        return ""
    try:
        done = notify_of_events(
            MlflowHook(pipeline.promotion.conn_id),
            pipeline.name,
            pipeline.model_name,
            pipeline.notifications.on_event,
            results=[],
            teller=Teller(),
            by=teller_key(*who),
            started=datetime.now(UTC),
            context={},
            more=more,
        )
    except MLOpsError as error:
        return f". No message was sent: {error}"
    words = f". {len(done.sent)} message{'' if len(done.sent) == 1 else 's'} sent" if done.sent else ""
    # Without the notifier's error: a command's output is not masked, and the error may name a secret address.
    failed = ", ".join(dict.fromkeys(name for name, _ in done.failed))
    return words + (f". Not sent by {failed}: the next run tries again" if failed else "")
