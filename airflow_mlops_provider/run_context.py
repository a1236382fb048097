"""What a DAG run asks for: its `as_of` and its overrides, read once from Airflow's context."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping


def resolve_as_of(context: Mapping[str, Any], given: str | None = None) -> datetime:
    """Return the moment before which a run sees data, always in UTC.

    In this order: the operator's own argument, the run's Param `as_of`, its partition key, the latest `as_of` in the
    extra of the asset events that triggered it, the logical date that a manual run was given, the end of its data
    interval, its `run_after`. Nothing reads the clock.

    :raises SpecError: when what is given is not a date and time.
    """
    params: Mapping[str, Any] = context.get("params") or {}
    for source, text in (("argument as_of", given), ("Param as_of", params.get("as_of"))):
        if text:
            return parse_as_of(str(text), source)
    run: Any = context["dag_run"]
    if key := getattr(run, "partition_key", None):
        return parse_as_of(key, "partition key")
    if asked := event_moments(context):
        return max(asked)
    if run.run_type == "manual" and run.logical_date is not None:
        # `airflow dags trigger --logical-date` gives the run the interval of today, whatever date was asked for.
        return _utc(run.logical_date)
    return _utc(context.get("data_interval_end") or run.run_after)


def event_moments(context: Mapping[str, Any]) -> list[datetime]:
    """Return the `as_of` of each asset event that triggered the run; Airflow coalesces several into one run."""
    events: Mapping[Any, Any] = context.get("triggering_asset_events") or {}
    return [
        parse_as_of(str(event.extra["as_of"]), "asset event")
        for asset in events
        for event in events[asset]
        if "as_of" in (event.extra or {})
    ]


def parse_as_of(text: str, source: str) -> datetime:
    """Return a date, or a date and time, as UTC. Without a zone it is UTC.

    >>> parse_as_of("2013-03-01", "argument")
    datetime.datetime(2013, 3, 1, 0, 0, tzinfo=datetime.timezone.utc)
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise SpecError(
            f"{source} is not a date and time", got=text, expected="such as 2013-03-01T00:00:00Z"
        ) from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else _utc(moment)


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
