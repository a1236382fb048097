from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, Asset, BaseOperator, Param

from airflow_mlops_provider.assets import retrain_asset
from airflow_mlops_provider.exceptions import SpecError, TransientServiceError
from airflow_mlops_provider.operators.retrain_event import read_retrain_event
from airflow_mlops_provider.operators.training import FindChampionOperator
from airflow_mlops_provider.run_context import MAX_EVENTS, event_moments, parse_as_of, resolve_as_of, sent_events

if TYPE_CHECKING:
    from collections.abc import Callable


def day(number: int) -> datetime:
    return datetime(2013, 3, number, tzinfo=UTC)


def event(name: str, **extra: Any) -> dict[str, Any]:
    return {
        "asset": {"name": name, "uri": f"mlops://{name}/retrain", "extra": {}},
        "extra": extra,
        "source_task_id": "decide",
        "source_dag_id": "flights_monitoring",
        "source_run_id": "one",
        "source_map_index": -1,
        "source_aliases": [],
        "timestamp": datetime(2026, 1, 1, tzinfo=UTC),
    }


def sent(asset: Asset, at: datetime, number: int, **extra: Any) -> Any:
    from airflow.sdk.api.datamodels._generated import AssetEventResponse, AssetResponse

    return AssetEventResponse(
        id=number,
        timestamp=at,
        extra={"as_of": day(number).isoformat(), **extra},
        asset=AssetResponse(name=asset.name, uri=asset.uri, group="asset"),
        created_dagruns=[],
    )


@pytest.fixture
def context(worker: Any) -> Callable[..., Any]:
    def build(**run: Any) -> Any:
        with DAG("tested", schedule=None, params={"as_of": Param(None, type=["null", "string"], format="date-time")}):
            task = BaseOperator(task_id="task")
        return worker.context(task, **run)

    return build


# Each row holds all that the rows below it hold, and one source more that comes before them.
SOURCES = [
    ("run_after", {"run_after": day(1), "run_type": "scheduled"}, day(1)),
    ("interval", {"data_interval_start": day(1), "data_interval_end": day(2), "logical_date": day(1)}, day(2)),
    ("logical date of a manual run", {"run_type": "manual", "logical_date": day(3)}, day(3)),
    ("asset event", {"consumed_asset_events": [event("a", as_of="2013-03-04")]}, day(4)),
    ("partition key", {"partition_key": "2013-03-05"}, day(5)),
    ("Param", {"conf": {"as_of": "2013-03-06T00:00:00Z"}}, day(6)),
]


@pytest.mark.parametrize("number", range(len(SOURCES)), ids=[name for name, _, _ in SOURCES])
def test_each_source_of_as_of_comes_before_those_below_it(context: Callable[..., Any], number: int) -> None:
    run: dict[str, Any] = {}
    for _, settings, _ in SOURCES[: number + 1]:
        run |= settings

    assert resolve_as_of(context(**run)) == SOURCES[number][2]


def test_the_operators_own_argument_comes_before_all(context: Callable[..., Any]) -> None:
    run = {key: value for _, settings, _ in SOURCES for key, value in settings.items()}

    assert resolve_as_of(context(**run), "2013-03-07") == day(7)


def test_a_scheduled_run_sees_its_whole_interval(context: Callable[..., Any]) -> None:
    run = context(run_type="scheduled", logical_date=day(1), data_interval_start=day(1), data_interval_end=day(2))

    assert resolve_as_of(run) == day(2)


def test_coalesced_events_are_all_seen_and_the_latest_decides(context: Callable[..., Any]) -> None:
    events = [event("a", as_of="2013-03-02"), event("b", as_of="2013-03-09"), event("a", as_of="2013-03-08")]
    run = context(run_type="asset_triggered", consumed_asset_events=events)

    assert sorted(event_moments(run)) == [day(2), day(8), day(9)]
    assert resolve_as_of(run) == day(9)


def test_what_came_while_the_run_waited_counts_where_its_asset_is_an_inlet(worker: Any) -> None:
    asset = Asset(name="a", uri="mlops://a/retrain")
    reported = event("a", as_of="2013-03-02")
    worker.supervisor.asset_events = [
        sent(asset, reported["timestamp"] + timedelta(minutes=n), n + 2) for n in (0, 3, 1)
    ]
    run = {"run_type": "asset_triggered", "consumed_asset_events": [reported]}

    def requested(*inlets: Asset) -> datetime:
        with DAG("tested", schedule=None):
            task = BaseOperator(task_id="task", inlets=list(inlets))
        return resolve_as_of(worker.context(task, **run))

    assert requested() == day(2)
    assert requested(Asset(name="b", uri="mlops://b/retrain")) == day(2)
    assert requested(asset) == day(5)
    [looked] = [message for message in worker.supervisor.messages if message.type == "GetAssetEventByAsset"]
    assert looked.after == reported["timestamp"], "not what earlier runs were told"

    worker.supervisor.asset_events.append(sent(asset, reported["timestamp"] + timedelta(hours=1), 9))
    assert requested(asset) == day(5), "a task that is tried again or cleared asks for what it asked for"


def test_of_years_of_events_the_latest_are_read_oldest_first(worker: Any) -> None:
    asset = Asset(name="a", uri="mlops://a/predictions")
    with DAG("tested", schedule=None):
        task = BaseOperator(task_id="task", inlets=[asset])
    began = datetime(2020, 1, 1, tzinfo=UTC)
    days = [began + timedelta(days=number) for number in range(1500)]
    worker.supervisor.asset_events = [sent(asset, at, 1) for at in days]
    run = worker.context(task, run_type="asset_triggered")

    assert [event.timestamp for event in sent_events(run, asset)] == days[-MAX_EVENTS:]
    assert [event.timestamp for event in sent_events(run, asset, after=days[-2])] == days[-2:]
    assert {message.limit for message in worker.supervisor.messages if message.type == "GetAssetEventByAsset"} == {1000}


def test_events_that_airflow_cannot_tell_are_left_to_the_next_run(
    worker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    asset = Asset(name="a", uri="mlops://a/retrain")
    with DAG("tested", schedule=None):
        task = BaseOperator(task_id="task", inlets=[asset])
    worker.supervisor.asset_events = None
    run = worker.context(task, run_type="asset_triggered", consumed_asset_events=[event("a", as_of="2013-03-02")])

    assert resolve_as_of(run) == day(2)
    assert "left to the next one. Airflow cannot return the events of a" in caplog.text
    with pytest.raises(TransientServiceError, match="while a run that was cleared"):
        sent_events(run, asset)


def test_the_reason_is_that_of_the_latest_request_and_the_columns_are_those_of_all(worker: Any) -> None:
    asset = retrain_asset("flights")
    reported = {**event("flights", as_of="2013-03-02", reason="drift: first", columns=["a"])}
    reported["asset"] |= {"name": asset.name, "uri": asset.uri}
    moments = {3: ("drift: second", ["b"]), 5: ("decay: third", ["c"]), 9: ("drift: too late", ["d"])}
    worker.supervisor.asset_events = [
        sent(asset, reported["timestamp"] + timedelta(minutes=number), number, reason=reason, columns=columns)
        for number, (reason, columns) in moments.items()
    ]

    def request(*inlets: Asset, as_of: str | None = None) -> tuple[str, list[str]] | None:
        with DAG("tested", schedule=None):
            task = FindChampionOperator(task_id="task", pipeline="flights", inlets=list(inlets), as_of=as_of)
        run = worker.context(task, run_type="asset_triggered", consumed_asset_events=[reported])
        return read_retrain_event(run, "flights")

    assert request() == ("drift: first", ["a"])
    assert request(asset, as_of="2013-03-05") == ("decay: third", ["a", "b", "c"]), "the run answers no later one"
    assert request(asset, as_of="2013-03-01") is None


def test_who_starts_a_run_by_hand_says_why(worker: Any) -> None:
    with DAG("tested", schedule=None, params={"reason": None}):
        task = FindChampionOperator(task_id="task", pipeline="flights")
    run = worker.context(task, conf={"reason": "new labels"})

    assert read_retrain_event(run, "flights") == ("“new labels”", [])


def test_an_event_without_as_of_falls_back_to_run_after(context: Callable[..., Any]) -> None:
    run = context(run_type="asset_triggered", consumed_asset_events=[event("a")], run_after=day(1))

    assert resolve_as_of(run) == day(1)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2013-03-01", day(1)),
        ("2013-03-01T06:00:00", day(1) + timedelta(hours=6)),
        ("2013-03-01T06:00:00Z", day(1) + timedelta(hours=6)),
        ("2013-03-01T06:00:00+02:00", day(1) + timedelta(hours=4)),
    ],
)
def test_a_naive_moment_is_utc_and_an_aware_one_is_converted(text: str, moment: datetime) -> None:
    parsed = parse_as_of(text, "argument")

    assert parsed == moment
    assert parsed.tzinfo is UTC


def test_an_aware_interval_becomes_utc(context: Callable[..., Any]) -> None:
    berlin = timezone(timedelta(hours=1))
    start, end = datetime(2013, 3, 1, tzinfo=berlin), datetime(2013, 3, 2, tzinfo=berlin)
    moment = resolve_as_of(
        context(run_type="scheduled", logical_date=start, data_interval_start=start, data_interval_end=end)
    )

    assert moment == end
    assert moment.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("run", "given", "source"),
    [
        ({}, "last tuesday", "argument as_of"),
        ({"partition_key": "us-east"}, None, "partition key"),
        ({"consumed_asset_events": [event("a", as_of="soon")]}, None, "asset event"),
    ],
)
def test_what_is_no_moment_is_named_with_its_source(
    context: Callable[..., Any], run: dict[str, Any], given: str | None, source: str
) -> None:
    with pytest.raises(SpecError, match=f"{source} is not a date and time: got .*, expected such as 2013-03-01"):
        resolve_as_of(context(**run), given)


FUTURE = "2126-04-01T00:00:00Z"
NEXT_CENTURY = datetime(2126, 4, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("run", "given", "source"),
    [
        ({}, FUTURE, "argument as_of"),
        ({"conf": {"as_of": FUTURE}}, None, "Param as_of"),
        ({"conf": {"as_of": "2126-04-01T00:00:00+02:00"}}, None, "Param as_of"),
        ({"partition_key": "2126-04-01"}, None, "partition key"),
        ({"consumed_asset_events": [event("a", as_of=FUTURE)]}, None, "asset event"),
        ({"consumed_asset_events": [event("a", as_of="2013-03-01"), event("b", as_of=FUTURE)]}, None, "asset event"),
        ({"run_type": "manual", "logical_date": NEXT_CENTURY}, None, "logical date"),
        (
            {
                "run_type": "scheduled",
                "logical_date": day(1),
                "data_interval_start": day(1),
                "data_interval_end": NEXT_CENTURY,
            },
            None,
            "end of the data interval",
        ),
        ({"conf": {"as_of": "2149-12-31T23:59:59Z"}}, None, "Param as_of"),
        ({"conf": {"as_of": "2026-01-01T00:05:01Z"}}, None, "Param as_of"),
        ({"conf": {"as_of": "2026-01-01T14:00:00+08:00"}}, None, "Param as_of"),
    ],
)
def test_what_is_still_to_come_is_refused_with_its_source(
    context: Callable[..., Any], run: dict[str, Any], given: str | None, source: str
) -> None:
    with pytest.raises(SpecError, match=f"{source} is in the future: .* got .*, expected at most 2026-01-01T00:00:00Z"):
        resolve_as_of(context(**run), given)


@pytest.mark.parametrize(
    "run",
    [
        {"conf": {"as_of": "2026-01-01T00:04:59Z"}},
        {"conf": {"as_of": "2026-01-01T08:00:00+08:00"}},
        {"conf": {"as_of": "1900-01-01T00:00:00Z"}},
        {"conf": {"as_of": "2026-06-01T00:00:00Z"}, "run_after": datetime(2026, 6, 1, tzinfo=UTC)},
        {"consumed_asset_events": [event("a", as_of="2025-12-31")], "run_after": day(1)},
    ],
    ids=["clocks that differ", "midnight elsewhere", "the distant past", "a run due later", "came while it waited"],
)
def test_what_has_come_is_taken(context: Callable[..., Any], run: dict[str, Any]) -> None:
    assert resolve_as_of(context(**run)) <= datetime(2026, 6, 1, tzinfo=UTC)


def test_a_task_of_the_future_fails_at_once_and_computes_nothing(worker: Any, tmp_path: Any) -> None:
    with DAG("tested", schedule=None, params={"as_of": Param(None, type=["null", "string"], format="date-time")}):
        task = FindChampionOperator(task_id="task", pipeline="flights", retries=3)
    ended = worker.run(task, conf={"as_of": FUTURE})

    assert ended.state == "failed", "not up for another try"
    assert "Param as_of is in the future" in ended.message
    assert not (tmp_path / "artifacts").exists()
