"""The event of a new champion, which every operator that may make one sends in the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import AssetAlias

from airflow_mlops_provider.assets import champion_asset
from airflow_mlops_provider.failpoints import failpoint
from airflow_mlops_provider.run_context import sent_events

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

    from airflow_mlops_provider.results import StepResult


def announce_champion(task: BaseOperator, context: Context, model: str, result: StepResult) -> None:
    """Emit the champion event of a ledger entry through the aliases among the task's outlets.

    Once for each entry, and not again when the run is cleared, when the asset is among the task's inlets: only then
    can the events already sent be seen.

    :param result: result of the effect. Its facts, including the entry's `seq`, become the event's extra.
    """
    champion, seq = champion_asset(model), result.facts["seq"]
    if champion in task.inlets and any(
        # A run is cleared for years, and what it has sent came after it was due.
        (event.extra or {}).get("seq") == seq
        for event in sent_events(context, champion, after=context["dag_run"].run_after)
    ):
        return
    failpoint("champion.event.before")
    for outlet in task.outlets:
        if isinstance(outlet, AssetAlias):
            extra = {"as_of": result.as_of.isoformat(), **result.facts}
            context["outlet_events"][outlet].add(champion, extra=extra)
    failpoint("champion.event.after")
