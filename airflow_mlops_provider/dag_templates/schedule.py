"""When the DAGs of a pipeline run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from airflow.sdk import AssetOrTimeSchedule, CronDataIntervalTimetable
from airflow.sdk.exceptions import AirflowTimetableInvalid

from airflow_mlops_provider.assets import champion_asset, retrain_asset
from airflow_mlops_provider.exceptions import SpecError

if TYPE_CHECKING:
    from airflow.sdk import Asset

    from airflow_mlops_provider.spec import Pipeline, Schedule

#: A run may start for any interval after this when the pipeline file names no start.
_EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)

_CRON = "such as @daily or 0 6 * * *"

#: An answer is waited for this long when no next run may come.
_ANSWER_WITHIN = timedelta(days=1)
#: Of a schedule that are looked at to find its shortest.
_INTERVALS = 60

#: A run's `as_of`, for the tasks after `ingest`: as it found it, whatever events have come since.
AS_OF = "{{ (ti.xcom_pull(task_ids='ingest', map_indexes=-1) or {}).get('as_of', '') }}"


def training_schedule(pipeline: Pipeline) -> dict[str, Any]:
    """Return the DAG's own settings of when it runs: at cron intervals and at retrain requests.

    :raises SpecError: when the cron expression or the time zone is none. Airflow would find out in the scheduler only.
    """
    return _schedule(pipeline, retrain_asset(pipeline.name))


def response_timeout(pipeline: Pipeline) -> timedelta:
    """Return how long a person has to answer: as the pipeline says, else half of the schedule's shortest interval.

    :raises SpecError: when the next run would have to wait for the answer, since one run is active at a time.
    """
    timeout, schedule = pipeline.promotion.response_timeout, pipeline.schedule
    if schedule is None:
        return timeout or _ANSWER_WITHIN
    interval = _shortest_interval(_cron(pipeline.name, schedule))
    if timeout is not None and timeout >= interval:
        raise SpecError(
            f"{pipeline.name}: promotion.response_timeout would hold up the next run",
            got=str(timeout),
            expected=f"less than {interval}, the shortest interval of {schedule.cron}",
        )
    return timeout or interval / 2


def _shortest_interval(cron: CronDataIntervalTimetable) -> timedelta:
    """Return the shortest of the next intervals: `0 6 * * 1-5` has a longer one at each weekend."""
    from croniter import croniter

    moments = croniter(cron.expression, _EARLIEST)
    ends: list[datetime] = [moments.get_next(datetime) for _ in range(_INTERVALS)]
    return min(later - earlier for earlier, later in pairwise(ends))


def scoring_schedule(pipeline: Pipeline) -> dict[str, Any]:
    """Return the DAG's own settings of when it runs: at the same cron intervals, and when the champion changes.

    :raises SpecError: as `training_schedule`.
    """
    return _schedule(pipeline, champion_asset(pipeline.model_name))


def interval(name: str, schedule: Schedule, moment: datetime) -> timedelta:
    """Return the length of the last cron interval that is over at a moment.

    >>> from airflow_mlops_provider.spec import Schedule
    >>> interval("churn", Schedule(cron="0 5 * * 1"), datetime(2026, 2, 1, tzinfo=UTC))
    datetime.timedelta(days=7)

    :param name: of the pipeline, which errors tell.
    :raises SpecError: when the cron expression or the time zone is none.
    """
    from airflow.sdk.timezone import coerce_datetime
    from airflow.timetables.interval import CronDataIntervalTimetable as Intervals

    _zone(name, schedule)
    _cron(name, schedule)
    found = Intervals(schedule.cron, schedule.timezone).infer_manual_data_interval(run_after=coerce_datetime(moment))
    return timedelta(seconds=(found.end - found.start).total_seconds())


def _schedule(pipeline: Pipeline, asset: Asset) -> dict[str, Any]:
    schedule = pipeline.schedule
    if schedule is None:
        return {"schedule": [asset], "start_date": _EARLIEST, "catchup": False}
    zone = _zone(pipeline.name, schedule)
    start, end = _aware(schedule.start, zone) or _EARLIEST, _aware(schedule.end, zone)
    if end is not None and end < start:
        raise SpecError(
            f"{pipeline.name}: schedule.end is before its start", got=end.isoformat(), expected=f"after {start}"
        )
    return {
        "schedule": AssetOrTimeSchedule(timetable=_cron(pipeline.name, schedule), assets=[asset]),
        "start_date": start,
        "end_date": end,
        "catchup": schedule.catchup,
    }


def _cron(name: str, schedule: Schedule) -> CronDataIntervalTimetable:
    """Return a timetable of intervals; a plain cron string would give intervals of no length."""
    try:
        timetable = _timetable(schedule.cron, schedule.timezone)
    except (AirflowTimetableInvalid, ValueError) as error:
        raise SpecError(f"{name}: schedule.cron is not a cron expression", got=schedule.cron, expected=_CRON) from error
    if not _comes_again(timetable.expression):
        raise SpecError(f"{name}: schedule.cron has no next date", got=schedule.cron, expected=_CRON)
    return timetable


@cache
def _timetable(cron: str, timezone: str) -> CronDataIntervalTimetable:
    timetable = CronDataIntervalTimetable(cron, timezone=timezone)
    timetable.validate()
    return timetable


@cache
def _comes_again(expression: str) -> bool:
    """Return whether there is always a next date: Airflow stumbles where there is none, over all DAGs of a file."""
    from croniter import CroniterBadDateError, croniter

    years = len(expression.split()) > 6
    try:
        croniter(expression, _EARLIEST).get_next()
    except CroniterBadDateError:
        return False
    return not years


def _zone(name: str, schedule: Schedule) -> ZoneInfo:
    try:
        return ZoneInfo(schedule.timezone)
    except (KeyError, ValueError, OSError) as error:  # of the system's: America is a folder of zones
        raise SpecError(
            f"{name}: schedule.timezone is not a time zone", got=schedule.timezone, expected="such as Europe/Berlin"
        ) from error


def _aware(moment: datetime | None, zone: tzinfo) -> datetime | None:
    return moment.replace(tzinfo=zone) if moment is not None and moment.tzinfo is None else moment
