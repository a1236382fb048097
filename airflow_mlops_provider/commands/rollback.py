"""`airflow mlops rollback`: an earlier champion serves again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.commands.champions import (
    check_unpaused,
    current_user,
    emit_champion_event,
    send_notifications,
)
from airflow_mlops_provider.commands.terminal import command, find_pipeline, print_rows, registry_of

if TYPE_CHECKING:
    from argparse import Namespace

    from airflow_mlops_provider.spec import Pipeline


@command
def rollback(args: Namespace) -> None:
    """Start the rollback DAG, or with --direct write the ledger here; say what will serve."""
    from airflow_mlops_provider.effects.rollback import parse_target
    from airflow_mlops_provider.exceptions import RegistryError
    from airflow_mlops_provider.registry.rollback import resolve

    target = parse_target(args.to)
    pipeline = find_pipeline(args.pipeline)
    history = registry_of(pipeline).history(pipeline.model_name)
    if not args.reason.strip():
        raise RegistryError("--reason is empty", hint="Describe what is wrong with the champion.")
    if not history:
        raise RegistryError(f"model {pipeline.model_name!r} cannot be rolled back: it never had a champion")
    # Resolved before anything is started, so that an impossible target is reported here and at once.
    found = resolve(history, pipeline.model_name, target)
    done = directly(pipeline, args.to, args.reason, history[-1].seq) if args.direct else _by_dag(pipeline, args)
    row = {"pipeline": pipeline.name, "from version": history[-1].version, "to version": found.version, **done}
    print_rows([row], args.output)


def _by_dag(pipeline: Pipeline, args: Namespace) -> dict[str, Any]:
    """Start the pipeline's rollback DAG: Airflow records who started it, and its task sends the champion event."""
    from airflow.api.client import get_current_api_client
    from airflow.sdk.exceptions import AirflowException

    from airflow_mlops_provider.exceptions import SpecError

    dag_id = f"{pipeline.name}_rollback"
    check_unpaused(dag_id)
    try:
        run: Any = get_current_api_client().trigger_dag(
            dag_id=dag_id, conf={"to": args.to, "reason": args.reason}, triggering_user_name=current_user()
        )
    except (AirflowException, ValueError) as error:
        raise SpecError(
            f"Airflow did not start {dag_id}",
            got=str(error),
            hint="Roll back with --direct.",
        ) from error
    return {"outcome": "started", "why": f"run {run['dag_run_id']} of {dag_id}; it will write the ledger entry"}


def directly(pipeline: Pipeline, to: str, reason: str, head: int) -> dict[str, Any]:
    """Write the rollback into the ledger, send its event and messages; return what came of it, for a table."""
    from airflow_mlops_provider import effects
    from airflow_mlops_provider.hooks.object_storage import ObjectStorageHook

    done = effects.roll_back(
        registry_of(pipeline),
        ObjectStorageHook().store(),
        pipeline=pipeline.name,
        model=pipeline.model_name,
        to=to,
        reason=reason,
        caller=("airflow mlops rollback", pipeline.name, str(head)),
        approver=current_user(),
        expected_head=head,
    )
    if done.skipped:
        return {"outcome": "not done", "why": done.reason}
    messages = send_notifications(pipeline, "airflow mlops rollback", pipeline.name, str(done.result.facts["seq"]))
    return {"outcome": "rolled back", "why": f"{done.reason}. {emit_champion_event(pipeline, done.result)}{messages}"}
