"""`airflow mlops reconcile`: aliases made to show what the ledger says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.commands.champions import send_notifications
from airflow_mlops_provider.commands.terminal import WRONG, by_registry, command, find_pipelines, print_rows

if TYPE_CHECKING:
    from argparse import Namespace

    from airflow_mlops_provider.registry import Reconciliation, Registry
    from airflow_mlops_provider.spec import Pipeline


@command
def reconcile(args: Namespace) -> None:
    """Set each alias that differs from the ledger's head, or report it with --dry-run."""
    found: list[tuple[str, Reconciliation]] = [
        (
            pipeline.name,
            _notified(pipeline, registry, registry.reconcile(pipeline.model_name, repair=not args.dry_run)),
        )
        for registry, members in by_registry(find_pipelines(args.pipelines))
        for pipeline in members
    ]
    print_rows(
        [_row(name, one) for name, one in found],
        args.output,
        [{"pipeline": name, **one.model_dump(mode="json")} for name, one in found],
    )
    if any(not one.agrees and not one.repaired for _, one in found):
        raise SystemExit(WRONG)


def _notified(pipeline: Pipeline, registry: Registry, found: Reconciliation) -> Reconciliation:
    """Tell the pipeline's notifiers of a repair, and say so in its reason."""
    head = registry.head(pipeline.model_name) if found.repaired and pipeline.notifications.on_event else None
    if head is None:
        return found
    from uuid import uuid4

    from airflow_mlops_provider.effects.events import reconciled

    key = uuid4().hex
    event = reconciled(
        pipeline.name,
        pipeline.model_name,
        {"version": head.version, "reason": found.reason, "key": key},
        as_of=head.order_key,
        run=None,
    )
    messages = send_notifications(pipeline, "airflow mlops reconcile", key, more=[event])
    return found.model_copy(update={"reason": f"{found.reason}{messages}"})


def _row(name: str, found: Reconciliation) -> dict[str, Any]:
    return {
        "pipeline": name,
        "champion": found.champion,
        "alias": found.alias,
        "outcome": "agrees" if found.agrees else "repaired" if found.repaired else "DIFFERS",
        "why": "; ".join([found.reason, *found.remarks]),
    }
