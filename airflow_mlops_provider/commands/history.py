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

    from airflow_mlops_provider.overview import Reign


@command
def history(args: Namespace) -> None:
    """Show who was champion, when and why; or who served at a moment."""
    from airflow_mlops_provider.overview import timeline
    from airflow_mlops_provider.run_context import parse_as_of

    served_at = parse_as_of(args.served_at, "--served-at") if args.served_at else None
    as_of = parse_as_of(args.as_of, "--as-of") if args.as_of else None
    pipeline = find_pipeline(args.pipeline)
    reigns = timeline(registry_of(pipeline).history(pipeline.model_name), served_at=served_at, as_of=as_of)
    metric = pipeline.metrics[0]
    print_rows(
        [_row(reign, metric) for reign in reigns], args.output, [reign.model_dump(mode="json") for reign in reigns]
    )


def _row(reign: Reign, metric: str) -> dict[str, Any]:
    notes = [f"version {reign.quarantined} into quarantine"] if reign.quarantined is not None else []
    notes += [f"quarantine of version {reign.lifted} lifted"] if reign.lifted is not None else []
    return {
        "entry": reign.seq,
        "version": f"{reign.version}{' (in quarantine)' if reign.in_quarantine else ''}",
        "action": reign.action,
        "served from": moment(reign.since),
        "to": "now" if reign.until is None else moment(reign.until),
        "data until": moment(reign.as_of),
        "trained to": "-" if reign.trained_to is None else moment(reign.trained_to),
        metric: number(reign.metrics.get(metric)),
        "by": reign.approver,
        "reason": "; ".join([reign.reason, *notes]),
    }
