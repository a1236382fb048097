"""What a DAG run asks for: its `as_of` and its overrides, read once from Airflow's context."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.as_of import CLOCK_SKEW, as_of_text, in_utc
from airflow_mlops_provider.exceptions import SpecError, TransientServiceError
from airflow_mlops_provider.spec.frozen import YEARS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from airflow.sdk import Asset

log = logging.getLogger(__name__)

#: Events of an asset that a task reads at most, the latest ones: some years of daily ones.
MAX_EVENTS = 1000

#: Under this key of a task's state store lies the moment once requested, so that no later try or clearing changes it.
_REQUESTED = "mlops.as_of"


def resolve_as_of(context: Mapping[str, Any], given: str | None = None) -> datetime:
    """Return the moment before which a run sees data, always in UTC.

    In this order: the operator's own argument, the run's Param `as_of`, its partition key, the latest `as_of` in the
    extra of the asset events that triggered it, the logical date that a manual run was given, the end of its data
    interval, its `run_after`. Nothing reads the clock.

    When the asset whose events triggered the run is among the task's inlets, events that came while the run waited for
    its turn count as well; what a task has once found so, it keeps for its retries and for when it is cleared.

    :raises SpecError: when what is given is not a date and time, of no year that tables can hold, or still to come.
    """
    source, as_of = _found(context, given)
    return not_of_future(as_of, source, present(context))


def _found(context: Mapping[str, Any], given: str | None) -> tuple[str, datetime]:
    """Return which source says the run's `as_of`, and what it says."""
    for source, text in _requests(context, given):
        return source, parse_as_of(text, source)
    run: Any = context["dag_run"]
    if key := getattr(run, "partition_key", None):
        return "partition key", parse_as_of(key, "partition key")
    if requested := _requested_as_of(context):
        return "asset event", requested
    if run.run_type == "manual" and run.logical_date is not None:
        # `airflow dags trigger --logical-date` gives the run the interval of today, whatever date was requested.
        return "logical date", _within_years(run.logical_date, "logical date")
    end = context.get("data_interval_end") or run.run_after
    return "end of the data interval", _within_years(end, "end of the data interval")


def _requests(context: Mapping[str, Any], given: str | None) -> Iterator[tuple[str, object]]:
    """Yield the operator's own argument and the Param of the run, each with where it stands, when they are given."""
    params: Mapping[str, Any] = context.get("params") or {}
    for source, text in (("argument as_of", given), ("Param as_of", params.get("as_of"))):
        if text is not None and text != "":
            yield source, text


def requested_as_of(context: Mapping[str, Any], given: str | None = None) -> datetime | None:
    """Return the moment that the operator's own argument or the run's Param `as_of` names; None when neither does.

    :raises SpecError: it is not a date and time, or of no year that tables can hold.
    """
    return next((parse_as_of(text, source) for source, text in _requests(context, given)), None)


def not_of_future(as_of: datetime, source: str, limit: datetime) -> datetime:
    """Return an `as_of` that is not still to come: a model of the future would be newer than every later one.

    :param limit: the present as the run knows it, to which the difference of two clocks is added.
    :raises SpecError: it is still to come.
    """
    if as_of - limit > CLOCK_SKEW:
        raise SpecError(
            f"{source} is in the future: there is no data of that time yet",
            got=as_of_text(as_of),
            expected=f"at most {limit:%Y-%m-%dT%H:%M:%SZ}, when this run was due or began",
            hint="Start the run again with an as_of that is not in the future.",
        )
    return as_of


def present(context: Mapping[str, Any]) -> datetime:
    """Return the latest moment that a run may see: its `run_after`, or when the task began.

    A run waits for its turn, and takes in the events that come meanwhile: those are later than its `run_after`.
    """
    started = getattr(context.get("ti"), "start_date", None)
    due = in_utc(context["dag_run"].run_after)
    return due if started is None else max(due, in_utc(started))


def event_moments(context: Mapping[str, Any]) -> list[datetime]:
    """Return the `as_of` of each asset event that triggered the run; Airflow coalesces several into one run."""
    events: Mapping[Any, Any] = context.get("triggering_asset_events") or {}
    return [moment for asset in events for moment in _moments(events[asset])]


def events_of(context: Mapping[str, Any], asset: Asset) -> list[Any]:
    """Return the events of an asset that triggered the run, and those that came since when it is among the inlets.

    While a run waits for its turn, Airflow queues one row for all events: the run is told the first of them, and
    nobody the others until a next run comes, which is told them then. So when they cannot be read, those that the run
    was told have to do.
    """
    triggering: Mapping[Any, Any] = context.get("triggering_asset_events") or {}
    known = list(triggering.get(asset, []))
    if known and asset in context["task"].inlets:
        first = min(event.timestamp for event in known)
        try:
            known += sent_events(context, asset, after=first)
        except TransientServiceError as error:
            log.warning("Events that came while this run waited are left to the next one. %s", error)
    return known


def sent_events(context: Mapping[str, Any], asset: Asset, *, after: datetime | None = None) -> list[Any]:
    """Return the latest events of an asset among the task's inlets, oldest first.

    Airflow keeps events for years: no more than the last `MAX_EVENTS` are read.

    :param after: the earliest moment at which they were sent; however long ago when left out.
    :raises TransientServiceError: Airflow 3.3 cannot tell them while a run that one of them started has not begun.
    """
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType

    events = context["inlet_events"][asset]
    try:
        latest = (events if after is None else events.after(after.isoformat())).ascending(False).limit(MAX_EVENTS)
        return list(latest)[::-1]
    except AirflowRuntimeError as error:
        if error.error.error is not ErrorType.API_SERVER_ERROR:
            raise
        raise TransientServiceError(
            f"Airflow cannot return the events of {asset.name}",
            got=str(error),
            hint="It cannot while a run that was cleared, or started by one of these events, is queued.",
        ) from error


def _requested_as_of(context: Mapping[str, Any]) -> datetime | None:
    """Return the latest `as_of` that events ask for; None when none does."""
    known = event_moments(context)
    triggering: Mapping[Any, Any] = context.get("triggering_asset_events") or {}
    watched = [asset for asset in triggering if asset in context["task"].inlets] if known else []
    if not watched:
        return max(known, default=None)
    store = context["task_state_store"]
    if stored := store.get(_REQUESTED):
        return parse_as_of(stored, "task state")
    from airflow.sdk.execution_time.context import NEVER_EXPIRE

    latest = max(known + [moment for asset in watched for moment in _moments(events_of(context, asset))])
    store.set(_REQUESTED, latest.isoformat(), retention=NEVER_EXPIRE)
    return latest


def _moments(events: Iterable[Any]) -> list[datetime]:
    extras = [event.extra or {} for event in events]
    return [parse_as_of(extra["as_of"], "asset event") for extra in extras if "as_of" in extra]


def parse_as_of(text: object, source: str) -> datetime:
    """Return a date, or a date and time, as UTC. Without a zone it is UTC.

    :param text: a person or another program may have put anything there.
    :param source: where it stands, for errors.
    :raises SpecError: it is neither, or of no year that tables can hold.

    >>> parse_as_of("2013-03-01", "argument")
    datetime.datetime(2013, 3, 1, 0, 0, tzinfo=datetime.timezone.utc)
    """
    try:
        moment = datetime.fromisoformat(text)  # type: ignore[arg-type]  # what is no text is a TypeError
    except (ValueError, TypeError) as error:
        raise SpecError(
            f"{source} is not a date and time", got=text, expected="such as 2013-03-01T00:00:00Z"
        ) from error
    return _within_years(moment, source)


def _within_years(moment: datetime, source: str) -> datetime:
    """Return a moment in UTC. Of another year, what comes a label's delay later or a window earlier might be none."""
    if moment.year not in YEARS:
        raise SpecError(
            f"{source} is out of range", got=moment.isoformat(), expected=f"a moment from {YEARS[0]} to {YEARS[-1]}"
        )
    return in_utc(moment)
