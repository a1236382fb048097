"""Why monitoring requested a training run, which is recorded in MLflow and in the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.assets import retrain_asset
from airflow_mlops_provider.run_context import events_of, parse_as_of, resolve_as_of

if TYPE_CHECKING:
    from collections.abc import Mapping


def read_retrain_event(context: Mapping[str, Any], pipeline: str) -> tuple[str, list[str]] | None:
    """Return why monitoring requested this run, and the columns that drifted; None when it did not.

    Whoever starts a run by hand may give its Param `reason`: that is the reason then, with the user's name.

    Where the run answers several requests, the result has the reason of the latest and the columns of all. Requests
    that came while the run waited are seen when their asset is among the task's inlets; another run answers those for
    a later `as_of` than this run's.
    """
    if by_hand := (context.get("params") or {}).get("reason"):
        user = getattr(context.get("dag_run"), "triggering_user_name", None)
        return f"“{by_hand}”{f', requested by {user}' if user else ''}", []
    as_of = resolve_as_of(context, context["task"].as_of)
    requests = []
    for event in events_of(context, retrain_asset(pipeline)):
        extra = event.extra or {}
        moment = parse_as_of(extra["as_of"], "asset event") if "as_of" in extra else as_of
        if extra.get("reason") and moment <= as_of:
            requests.append((moment, extra))
    if not requests:
        return None
    requests.sort(key=lambda request: request[0])
    columns = dict.fromkeys(str(name) for _, extra in requests for name in extra.get("columns") or [])
    return str(requests[-1][1]["reason"]), list(columns)


def retrain_tags(context: Mapping[str, Any], pipeline: str) -> dict[str, str]:
    """Return why monitoring requested the run; nothing when it did not."""
    request = read_retrain_event(context, pipeline)
    if request is None:
        return {}
    reason, columns = request
    return {"mlops.retrain_reason": reason, "mlops.retrain_columns": ", ".join(columns)}
