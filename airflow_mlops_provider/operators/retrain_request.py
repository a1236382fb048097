"""What monitoring asked a training run for, which ends in MLflow and in the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.assets import retrain_asset

if TYPE_CHECKING:
    from collections.abc import Mapping


def retrain_request(context: Mapping[str, Any], pipeline: str) -> tuple[str, list[str]] | None:
    """Return why monitoring asked for this run, and the columns that drifted; None when it did not.

    Of several requests that Airflow coalesced, the reason of the latest and the columns of all.
    """
    events: Mapping[Any, Any] = context.get("triggering_asset_events") or {}
    extras = [event.extra or {} for asset in events if asset == retrain_asset(pipeline) for event in events[asset]]
    asked = sorted((extra for extra in extras if extra.get("reason")), key=lambda extra: str(extra.get("as_of")))
    if not asked:
        return None
    columns = dict.fromkeys(str(name) for extra in asked for name in extra.get("columns") or [])
    return str(asked[-1]["reason"]), list(columns)


def retrain_tags(context: Mapping[str, Any], pipeline: str) -> dict[str, str]:
    """Return why monitoring asked for the run; nothing when it did not."""
    request = retrain_request(context, pipeline)
    if request is None:
        return {}
    reason, columns = request
    return {"mlops.retrain_reason": reason, "mlops.retrain_columns": ", ".join(columns)}
