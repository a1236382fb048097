from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from airflow.sdk import AssetOrTimeSchedule, CronDataIntervalTimetable
from minimal_pipeline import dag_of

from airflow_mlops_provider.exceptions import SpecError


def test_a_schedule_gives_daily_intervals_besides_retrain_requests() -> None:
    dag = dag_of(
        schedule={"cron": "@daily", "timezone": "Europe/Berlin", "start": datetime(2013, 2, 1), "catchup": True}
    )

    assert isinstance(dag.timetable, AssetOrTimeSchedule)
    assert dag.timetable.timetable == CronDataIntervalTimetable("@daily", timezone="Europe/Berlin")
    assert [asset.name for asset in dag.timetable.asset_condition.objects] == ["churn.retrain"]
    # Without a zone of its own a start is a moment of the schedule's zone.
    assert dag.start_date == datetime(2013, 2, 1, tzinfo=ZoneInfo("Europe/Berlin"))
    assert dag.catchup


def test_without_a_schedule_it_runs_on_request_only() -> None:
    dag = dag_of()

    assert [asset.name for asset in dag.timetable.asset_condition.objects] == ["churn.retrain"]
    assert not dag.catchup
    assert dag.end_date is None


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ({"cron": "nonsense"}, "churn: schedule.cron is not a cron expression: got nonsense, expected such as @daily"),
        ({"cron": "61 * * * *"}, "churn: schedule.cron is not a cron expression: got 61"),
        ({"timezone": "Mars/Olympus"}, "churn: schedule.timezone is not a time zone: got Mars/Olympus"),
        ({"timezone": "../etc"}, "churn: schedule.timezone is not a time zone: got ../etc"),
    ],
)
def test_a_wrong_schedule_is_an_error_at_once(schedule: dict[str, str], words: str) -> None:
    with pytest.raises(SpecError) as raised:
        dag_of(schedule=schedule)

    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("cron", "requested", "waits"),
    [
        ("@daily", None, timedelta(hours=12)),
        ("0 6 * * 1-5", None, timedelta(hours=12)),
        ("@hourly", "00:20:00", timedelta(minutes=20)),
        (None, None, timedelta(days=1)),
        (None, "72:00:00", timedelta(days=3)),
    ],
)
def test_a_person_has_less_time_to_answer_than_the_next_run_has_to_come(
    cron: str | None, requested: str | None, waits: timedelta
) -> None:
    schedule = {"schedule": {"cron": cron}} if cron else {}
    promotion = {"approval": "human", "response_timeout": requested, "approvers": ["anna"]}
    dag = dag_of(**schedule, promotion=promotion)
    approve, promote = dag.get_task("approve"), dag.get_task("promote")
    assert (approve.response_timeout, approve.defaults) == (waits, ["Reject"])
    assert approve.assigned_users == [{"id": "anna", "name": "anna"}]
    assert "approve" in promote.upstream_task_ids
    assert dag_of(**schedule).task_dict.keys() == dag.task_dict.keys() - {"approve"}


def test_an_answer_that_would_keep_the_next_run_waiting_is_an_error() -> None:
    with pytest.raises(SpecError, match="promotion.response_timeout would hold up the next run: got 1 day"):
        dag_of(schedule={"cron": "@daily"}, promotion={"approval": "human", "response_timeout": "24:00:00"})


def test_a_start_that_names_its_zone_keeps_it() -> None:
    dag = dag_of(schedule={"timezone": "Europe/Berlin", "start": datetime(2013, 2, 1, tzinfo=UTC)})

    assert dag.start_date == datetime(2013, 2, 1, tzinfo=UTC)
