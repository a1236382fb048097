"""`airflow mlops promote`: a registered version becomes champion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.commands.champions import current_user, emit_champion_event, send_notifications
from airflow_mlops_provider.commands.terminal import (
    WRONG,
    command,
    find_pipeline,
    print_rows,
    registry_of,
    version_number,
)

if TYPE_CHECKING:
    from argparse import Namespace


@command
def promote(args: Namespace) -> None:
    """Hold a version against today's gates and champion, and write it into the ledger."""
    from airflow.sdk import conf

    from airflow_mlops_provider.effects.by_hand import HandApproval, promote_by_hand
    from airflow_mlops_provider.hooks.object_storage import ObjectStorageHook
    from airflow_mlops_provider.operators.step import allow_list

    version = version_number(args.version, "VERSION")
    pipeline = find_pipeline(args.pipeline)
    done = promote_by_hand(
        registry_of(pipeline),
        ObjectStorageHook().store(),
        pipeline,
        version,
        reason=args.reason,
        approver=current_user(),
        approval=HandApproval(args.approve_as, conf.getboolean("mlops", "approve_on_command_line", fallback=False)),
        allow_list=allow_list(),
        despite_gates=args.despite_gates,
        allow_older=args.allow_older,
        lift_quarantine=args.lift_quarantine,
    )
    why = done.reason
    if done.mine and not done.skipped:
        messages = send_notifications(pipeline, "airflow mlops promote", pipeline.name, str(done.result.facts["seq"]))
        why += f". {emit_champion_event(pipeline, done.result)}{messages}"
    outcome = "not promoted" if done.skipped else str(done.result.facts["status"])
    print_rows([{"pipeline": pipeline.name, "version": version, "outcome": outcome, "why": why}], args.output)
    if done.skipped:
        raise SystemExit(WRONG)
