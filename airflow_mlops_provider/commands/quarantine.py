"""`airflow mlops quarantine`: a version that shall never serve again, or may again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.commands.champions import current_user
from airflow_mlops_provider.commands.rollback import directly
from airflow_mlops_provider.commands.terminal import (
    command,
    find_pipeline,
    print_rows,
    registry_of,
    version_number,
)

if TYPE_CHECKING:
    from argparse import Namespace


@command
def quarantine(args: Namespace) -> None:
    """Write into the ledger that a version may not be promoted, or may be again; the champion is rolled back."""
    version = version_number(args.version, "VERSION")
    pipeline = find_pipeline(args.pipeline)
    registry, model = registry_of(pipeline), pipeline.model_name
    history = registry.history(model)
    if history and history[-1].version == version and not args.lift:
        came = directly(pipeline, "previous", args.reason, history[-1].seq)
    else:
        # One effect for each head: a request that is repeated after the quarantine was lifted is another effect.
        head = history[-1].seq if history else 0
        done = registry.quarantine(
            model,
            version,
            reason=args.reason,
            idem=f"airflow mlops quarantine {pipeline.name} {version} {args.lift} {head}",
            approver=current_user(),
            lift=args.lift,
        )
        came = {"outcome": done.status, "why": done.reason}
    print_rows([{"pipeline": pipeline.name, "version": version, **came}], args.output)
