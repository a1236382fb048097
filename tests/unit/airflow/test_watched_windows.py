from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.sdk import DAG, Param
from watched_world import BAD, POLICY, World, date, sent

from airflow_mlops_provider.assets import predictions_asset
from airflow_mlops_provider.effects.events import Teller, events_of
from airflow_mlops_provider.operators.data import IngestDataOperator
from airflow_mlops_provider.results import MAX_XCOM_BYTES


def test_each_window_reads_the_source_of_its_own_day(world: World) -> None:
    world.write(22)
    world.promote(14)
    days = world.source.parent / "days"
    days.mkdir()
    (days / "2024-01-16.csv").write_bytes(world.source.read_bytes())
    data = world.data(source={"uri": f"{days}/{{{{ as_of }}}}.csv"})
    assert world.watch(15, 16, dag=world.dag(data=data))["watch"].state == "success"
    first, second = (world.decision(entry).reasons[1] for entry in world.registry.decisions("warm"))
    assert first.startswith("log_loss is ")
    assert second.startswith("the live metric cannot be judged: ")
    assert "2024-01-17.csv" in second


def test_labels_that_come_after_probation_do_not_put_it_off(world: World) -> None:
    # The training saw no label of the two days before it: those that came since are as good as those to come.
    world.label_delay = "2 days"
    world.write(105)
    world.promote(98)
    world.promote(100, BAD)
    policy = {**POLICY, "probation": {"length": "2 days"}}
    ended = world.watch(101, 102, dag=world.dag(monitoring=policy))
    assert world.decisions == [(101, "keep", "healthy", False), (102, "roll_back", "probation", False)]
    assert ended["roll_back"].state == "success"


def test_windows_that_were_scored_while_the_run_waited_are_decided_too(world: World, supervisor: Any) -> None:
    world.write(20)
    world.promote(14)
    for day in (15, 16, 17):
        supervisor.asset_events.append(sent(predictions_asset("warm"), world.scored(day).extra))
    ended = world.watch(15, dag=world.dag(inlets=[predictions_asset("warm")]))
    assert ended["watch"].state == "success"
    assert [day for day, *_ in world.decisions] == [15, 16, 17]
    requested = {one.after for one in ended["watch"].messages if one.type == "GetAssetEventByAsset"}
    assert requested == {datetime(2026, 1, 1, tzinfo=UTC)}


def test_labels_that_are_late_are_said_and_do_not_stop_the_watch(world: World) -> None:
    world.write(20)
    world.promote(14)
    world.write(20, labelled=15)
    ended = world.watch(17)
    assert ended["watch"].state == "success"
    (decision,) = map(world.decision, world.registry.decisions("warm"))
    assert (decision.action, decision.rule) == ("keep", "healthy")
    assert decision.reasons[1].startswith("the live metric cannot be judged: ")
    assert "good" in decision.reasons[1]


def test_a_run_by_hand_decides_the_window_of_its_as_of(world: World) -> None:
    world.write(20)
    world.promote(14)
    dag = world.dag()
    ended = world.worker.run(dag.task_dict["watch"], conf={"as_of": "2024-01-17T00:00:00Z"})
    assert ended.state == "success"
    assert world.decisions == [(16, "keep", "healthy", False)]


def test_a_month_of_windows_fits_into_an_xcom(world: World) -> None:
    import json

    world.write(46, turns=15)
    world.promote(14)
    ended = world.watch(*range(16, 46))
    assert len(world.decisions) == 30
    assert sum(action == "retrain" and not suppressed for _, action, _, suppressed in world.decisions) == 2
    assert all(world.decision(one).why for one in world.registry.decisions("warm") if one.value["suppressed"])
    assert len(json.dumps(ended["watch"].xcom)) < MAX_XCOM_BYTES
    [requested] = ended["retrain"].messages[-1].outlet_events
    assert len(requested["extra"]["windows"]) == 2


def test_broken_data_is_an_incident_with_one_message_and_an_all_clear_and_no_retraining(world: World) -> None:
    world.write(21, broken=(15, 16))
    world.promote(14)
    for day in range(15, 20):
        ended = world.watch(day)
        assert {name: one.state for name, one in ended.items()} == {
            "watch": "success", "retrain": "skipped", "roll_back": "skipped"
        }  # fmt: skip
    assert [(day, action) for day, action, *_ in world.decisions] == [
        (15, "keep"), (16, "incident"), (17, "incident"), (18, "keep"), (19, "keep")
    ]  # fmt: skip
    decided = [world.decision(entry) for entry in world.registry.decisions("warm")]
    assert [one.incident for one in decided] == [None, "begins", "lasts", "over", None]
    assert decided[1].reasons == ["warmth: 60.0% of the values are missing (at most 30% allowed, usually 0.0%)"]
    assert decided[3].reasons[0] == "the incident of 2024-01-17 is over"
    events = [one for one in events_of(world.registry, "warm", "warm", [], Teller()) if one.kind != "promoted"]
    assert [(one.kind, one.title) for one in events] == [
        ("incident", "warm: broken data in the window up to 2024-01-17"),
        ("incident_over", "warm: the incident is over in the window up to 2024-01-19"),
    ]
    assert "warmth: 60.0% of the values are missing (at most 30% allowed" in events[0].text


def test_the_next_training_does_without_the_rows_of_an_incident(world: World) -> None:
    world.write(21, broken=(15, 16))
    world.promote(14)
    world.watch(*range(15, 20))

    def excluded(**incident: Any) -> Any:
        with DAG("warm_training", schedule=None, params={"as_of": Param(None, type=["null", "string"])}) as dag:
            IngestDataOperator(
                task_id="ingest",
                pipeline="warm",
                task="binary",
                data=world.data(window="10 days"),
                monitoring={"incident": incident},
            )
        ended = world.worker.run(dag.task_dict["ingest"], conf={"as_of": "2024-01-21T00:00:00Z"})
        assert ended.state == "success", ended.message
        return ended.xcom["facts"]["excluded"].get("incident")

    assert excluded() == 120
    assert excluded(repaired=["2024-01-17T00:00:00Z"]) == 60
    assert excluded(leave_out=False) is None


def test_rows_of_an_incident_are_not_judged_when_their_labels_come(world: World) -> None:
    world.label_delay = "2 days"
    world.write(24, broken=(17,))
    world.promote(14)
    world.watch(*range(17, 23))
    decided = {one.as_of: one for one in map(world.decision, world.registry.decisions("warm"))}
    broken, later = decided[date(18)], decided[date(20)]
    assert broken.action == "incident"
    assert (later.action, later.rule) == ("keep", "healthy")
    assert "the live metric cannot be judged" in " ".join(later.reasons), "these are the rows of the incident"
    assert {one.action for as_of, one in decided.items() if as_of != date(18)} == {"keep"}


@pytest.mark.parametrize(
    ("purpose", "window", "delay", "as_of"), [("training", "P2D", "3 days", 20), ("live", "P2D", "0 days", 17)]
)
def test_a_window_of_its_own_is_read_without_the_rows_of_incidents(
    world: World, purpose: str, window: str, delay: str, as_of: int
) -> None:
    world.write(21, broken=(15,))
    world.promote(14)
    world.watch(15, 16)
    with DAG("warm_alone", schedule=None) as dag:
        IngestDataOperator(
            task_id="read",
            pipeline="warm",
            task="binary",
            data=world.data(label_delay=delay),
            purpose=purpose,
            window=window,
            # What is not to be judged is no question of what is learned.
            monitoring={"incident": {"leave_out": purpose == "training"}},
        )
    ended = world.worker.run(dag.task_dict["read"], run_after=date(as_of))
    assert (ended.xcom["facts"]["rows"], ended.xcom["facts"]["excluded"]["incident"]) == (60, 60)


def test_a_window_that_claims_to_begin_long_ago_takes_no_more_than_its_length_out_of_training(world: World) -> None:
    world.write(21, broken=(15,))
    world.promote(14)
    reported = world.scored(16)
    reported.extra["window_start"] = "1970-01-01T00:00:00"
    watch = world.dag(scoring={}).task_dict["watch"]
    ended = world.worker.run(watch, run_type="asset_triggered", consumed_asset_events=[reported])
    assert ended.state == "success", ended.message
    [decision] = [world.decision(one) for one in world.registry.decisions("warm")]
    assert (decision.action, decision.start) == ("incident", date(15))


def test_an_event_that_tells_no_window_does_not_stop_the_others(world: World) -> None:
    world.write(20)
    world.promote(14)
    good, odd = world.scored(15), world.scored(16)
    odd.extra["window_start"] = odd.extra["as_of"]
    run = {"run_type": "asset_triggered", "consumed_asset_events": [odd, good]}
    assert world.worker.run(world.dag().task_dict["watch"], **run).state == "success"
    assert [day for day, *_ in world.decisions] == [15]


def test_a_window_keeps_its_length_where_the_operator_is_given_no_scoring(world: World) -> None:
    world.write(21, broken=(14, 15, 16))
    world.promote(14)
    reported = world.scored(17)
    reported.extra["window_start"] = date(14).isoformat()
    run = {"run_type": "asset_triggered", "consumed_asset_events": [reported]}
    assert world.worker.run(world.dag().task_dict["watch"], **run).state == "success"
    [decision] = [world.decision(one) for one in world.registry.decisions("warm")]
    assert (decision.action, decision.start) == ("incident", date(14))
