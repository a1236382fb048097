"""`airflow mlops status`: where pipelines stand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.commands.terminal import by_registry, command, find_pipelines, moment, number, print_rows

if TYPE_CHECKING:
    from argparse import Namespace

    from airflow_mlops_provider.overview import ChampionSheet, PipelineOverview


@command
def status(args: Namespace) -> None:
    """Show of each pipeline who is champion and what monitoring thinks of it."""
    from airflow_mlops_provider.overview import pipeline_overviews

    pipelines = find_pipelines(args.pipelines)
    found = {
        overview.pipeline: overview
        for registry, members in by_registry(pipelines)
        for overview in pipeline_overviews(registry, members, decisions=1)
    }
    ordered = [found[pipeline.name] for pipeline in pipelines]
    remarks = any(overview.remarks for overview in ordered)
    print_rows(
        [
            {**_row(overview), **({"look at": "; ".join(overview.remarks) or "-"} if remarks else {})}
            for overview in ordered
        ],
        args.output,
        [overview.model_dump(mode="json") for overview in ordered],
    )


def _row(overview: PipelineOverview) -> dict[str, Any]:
    champion, last = overview.champion, overview.last_decision
    probation = "-"
    if champion is not None and champion.probation_until is not None:
        probation = f"until {moment(champion.probation_until)}" if champion.on_probation else "passed"
    return {
        "pipeline": overview.pipeline,
        "champion": "none" if champion is None else f"version {champion.version}",
        "since": "-" if champion is None else f"{moment(champion.promoted_at)} ({_age(champion)})",
        "data until": "-" if champion is None else moment(champion.as_of),
        "trained to": "-" if champion is None or champion.trained_to is None else moment(champion.trained_to),
        "metric": "-"
        if champion is None
        else f"{overview.metric} {number(champion.value)}{' (too good to be true?)' * bool(champion.remarks)}",
        "probation": probation,
        "alias": _alias(overview),
        "last decision": overview.trouble or ("-" if last is None else last.sentence()),
    }


def _age(champion: ChampionSheet) -> str:
    """Return for how long the champion has served. A terminal shows the present: nothing is decided by it."""
    age = datetime.now(UTC) - champion.promoted_at
    if age < timedelta(hours=1):
        return f"{age // timedelta(minutes=1)} min"
    return f"{age // timedelta(hours=1)} h" if age < timedelta(days=2) else f"{age.days} days"


def _alias(overview: PipelineOverview) -> str:
    if overview.alias_agrees:
        return "-" if overview.alias is None else "agrees"
    return "missing" if overview.alias is None else f"DIFFERS: version {overview.alias}"
