"""`airflow mlops history`: the ledger as a timeline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.commands.terminal import (
    command,
    find_pipeline,
    moment,
    number,
    print_rows,
    registry_of,
)

if TYPE_CHECKING:
    from argparse import Namespace

    from airflow_mlops_provider.overview import Tenure


@command
def history(args: Namespace) -> None:
    """Show who was champion, when and why; or who served at a moment."""
    from airflow_mlops_provider.overview import timeline
    from airflow_mlops_provider.run_context import parse_as_of

    served_at = parse_as_of(args.served_at, "--served-at") if args.served_at else None
    as_of = parse_as_of(args.as_of, "--as-of") if args.as_of else None
    pipeline = find_pipeline(args.pipeline)
    tenures = timeline(registry_of(pipeline).history(pipeline.model_name), served_at=served_at, as_of=as_of)
    metric = pipeline.metrics[0]
    print_rows(
        [_row(tenure, metric) for tenure in tenures],
        args.output,
        [tenure.model_dump(mode="json") for tenure in tenures],
    )


def _row(tenure: Tenure, metric: str) -> dict[str, Any]:
    notes = [f"version {tenure.quarantined} into quarantine"] if tenure.quarantined is not None else []
    notes += [f"quarantine of version {tenure.lifted} lifted"] if tenure.lifted is not None else []
    return {
        "entry": tenure.seq,
        "version": f"{tenure.version}{' (in quarantine)' if tenure.in_quarantine else ''}",
        "action": tenure.action,
        "served from": moment(tenure.promoted_at),
        "to": "now" if tenure.until is None else moment(tenure.until),
        "data until": moment(tenure.as_of),
        "trained to": "-" if tenure.trained_to is None else moment(tenure.trained_to),
        metric: number(tenure.metrics.get(metric)),
        "by": tenure.approver,
        "reason": "; ".join([tenure.reason, *notes]),
    }
