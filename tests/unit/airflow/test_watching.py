from __future__ import annotations

import threading
from typing import Any

import pytest
from airflow.sdk import DAG
from watched_world import BAD, POLICY, World, date, sent

from airflow_mlops_provider.assets import retrain_alias, retrain_asset
from airflow_mlops_provider.operators.data import IngestDataOperator
from airflow_mlops_provider.operators.decisions import DecideOperator, EvaluateLiveOperator
from airflow_mlops_provider.operators.watching import (
    RetrainOnDecisionOperator,
    RollbackOnDecisionOperator,
    WatchPredictionsOperator,
)
from airflow_mlops_provider.registry import Registry


def test_quiet_windows_keep_the_champion_and_say_so(world: World, statsd: Any) -> None:
    world.write(20)
    world.promote(14)
    ended = world.watch(17, 16, 15)
    assert {name: task.state for name, task in ended.items()} == {
        "watch": "success",
        "retrain": "skipped",
        "roll_back": "skipped",
    }
    assert world.decisions == [(day, "keep", "healthy", False) for day in (15, 16, 17)]
    facts = ended["watch"].xcom["facts"]
    assert (facts["windows"], facts["new"], facts["retrain"]) == (3, 3, [])
    assert facts["summary"] == "3 windows: 3 keep"
    sent = {name: value for name, value in statsd.gauges().items() if ".warm" in name}
    metrics = [sent.pop(f"{name}.warm.log_loss") for name in ("live_metric", "holdout_metric")]
    assert sent == {
        "drift_share.warm": 0,
        "drifted_columns.warm": 0,
        "champion_version.warm": 1,
        "champion_age_seconds.warm": 3 * 86400,
    }
    assert all(0 < metric < 0.7 for metric in metrics), "log_loss of a model that knows something"


def test_drifted_windows_lead_to_one_request_with_its_reason(world: World, supervisor: Any) -> None:
    world.write(55, turns=45)
    world.promote(44)
    ended = world.watch(*range(45, 51))
    assert world.decisions == [
        (45, "keep", "healthy", False),
        (46, "retrain", "decay", True),
        (47, "retrain", "decay", False),
        (48, "retrain", "decay", True),
        (49, "retrain", "decay", True),
        (50, "retrain", "decay", False),
    ]
    assert ended["watch"].xcom["facts"]["retrain"] == ["2024-02-17", "2024-02-20"]
    [requested] = ended["retrain"].messages[-1].outlet_events
    assert requested["dest_asset_key"] == {"name": "warm.retrain", "uri": "mlops://warm/retrain"}
    assert requested["extra"]["as_of"] == "2024-02-20T00:00:00+00:00", "the latest speaks for all"
    assert requested["extra"]["windows"] == ["2024-02-17", "2024-02-20"]
    assert requested["extra"]["reason"].startswith("decay: log_loss is ")
    assert "the predictions drifted; 1 of 2 features drifted, such as 'warmth'" in requested["extra"]["reason"]
    assert requested["extra"]["columns"] == ["warmth"]
    assert ended["roll_back"].state == "skipped"
    why = [world.decision(entry).why for entry in world.registry.decisions("warm")]
    assert why[1] == "1 bad window in a row, 2 are needed"
    assert why[3] == "1 bad window in a row, 2 are needed; cooldown of 3 days since the request of 2024-02-17"

    # Cleared: nothing is decided anew, and what was asked for is not asked for again.
    supervisor.asset_events.append(sent(retrain_asset("warm"), requested["extra"]))
    before = world.registry.decisions("warm")
    again = world.watch(*range(45, 51))
    assert again["watch"].xcom["facts"]["retrain"] == ["2024-02-17", "2024-02-20"], "they are still its own"
    assert again["retrain"].state == "success"
    assert again["retrain"].messages[-1].outlet_events == []
    assert world.registry.decisions("warm") == before


def test_what_another_run_decided_is_not_asked_for_again(world: World) -> None:
    world.write(20, turns=15)
    world.promote(14)
    first = world.watch(16, 17)
    assert first["retrain"].state == "success"
    with DAG("by_hand", schedule=None) as dag:
        watch = WatchPredictionsOperator(
            task_id="watch", pipeline="warm", task="binary", data=world.data(), metrics=["log_loss"]
        )
        RetrainOnDecisionOperator(task_id="retrain", pipeline="warm", decided=watch.output)
        RollbackOnDecisionOperator(task_id="roll_back", pipeline="warm", decided=watch.output)
    ended = world.watch(16, 17, dag=dag)
    assert ended["watch"].xcom["facts"]["new"] == 0
    assert ended["retrain"].state == "skipped"


def test_a_bad_model_is_rolled_back_once_when_its_windows_say_so(world: World) -> None:
    world.write(58)
    world.promote(42)
    world.promote(44, BAD)
    same_day = world.watch(44)
    assert world.decisions == [(44, "keep", "healthy", False)], "its rows are those that it was trained on"
    assert same_day["roll_back"].state == "skipped"
    ended = world.watch(45, 46)
    assert world.decisions[1:] == [(45, "roll_back", "probation", False), (46, "keep", "rolled_back", False)]
    assert ended["roll_back"].state == "success"
    (entry, *_) = reversed(world.registry.history("warm"))
    assert (entry.action, entry.version, entry.quarantined) == ("rollback", 1, 2)
    assert entry.reason.startswith("2024-02-15: roll back (probation): log_loss is ")
    assert "for version 1, the former champion" in entry.reason
    (champion,) = ended["roll_back"].messages[-1].outlet_events
    assert champion["dest_asset_key"]["name"] == "warm.champion"
    # The same run again, and the days that follow, roll nothing back.
    assert world.watch(45, 46)["roll_back"].state == "success"
    later = world.watch(47, 48)
    assert later["roll_back"].state == "skipped"
    assert [entry.action for entry in world.registry.history("warm")] == ["promote", "promote", "rollback"]
    assert world.decisions[3:] == [(47, "keep", "healthy", False), (48, "keep", "healthy", False)]


def test_without_a_champion_there_is_nothing_to_watch(world: World) -> None:
    world.write(20)
    ended = world.worker.run(world.dag().task_dict["watch"], conf={"as_of": "2024-01-17T00:00:00Z"})
    assert ended.state == "success"
    assert world.decisions == [(16, "keep", "nothing_new", False)]


def test_an_alias_that_was_moved_by_hand_is_repaired(world: World, mlflow_uri: str) -> None:
    from mlflow import MlflowClient

    world.write(20)
    world.promote(12)
    world.promote(14)
    client = MlflowClient(mlflow_uri)
    client.set_registered_model_alias("warm", "champion", "1")
    found = world.watch(16)["watch"].xcom["facts"]["reconciled"]
    assert int(client.get_registered_model("warm").aliases["champion"]) == 2
    assert (found["version"], found["reason"]) == (2, "the alias named version 1, the ledger 2")
    # For whoever is told of it, a try that was killed after the repair is followed by one that still knows.
    assert world.watch(16, try_number=2)["watch"].xcom["facts"]["reconciled"] == found
    assert "reconciled" not in world.watch(16)["watch"].xcom["facts"]


def test_a_promotion_that_is_under_way_is_no_wrong_alias(world: World, mlflow_uri: str) -> None:
    from mlflow import MlflowClient

    world.write(20)
    world.promote(12)
    world.promote(14)
    client = MlflowClient(mlflow_uri)
    client.set_registered_model_alias("warm", "champion", "1")
    promoter = threading.Timer(1, client.set_registered_model_alias, ("warm", "champion", "2"))
    # The first look falls before the alias is written, as that of a watcher between a promotion's two writes.
    before = Registry.reconcile
    looks: list[bool] = []

    def looking(registry: Registry, model: str, *, repair: bool = True) -> Any:
        found = before(registry, model, repair=repair)
        if not looks:
            promoter.start()
        looks.append(found.agrees)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Registry, "reconcile", looking)
        assert "reconciled" not in world.watch(16)["watch"].xcom["facts"]
    promoter.join()
    assert looks == [False, True]


def test_one_window_by_operators_of_their_own(world: World, statsd: Any) -> None:
    world.write(20, turns=15)
    world.promote(14)
    with DAG("warm_alone", schedule=None) as dag:
        labelled = IngestDataOperator(
            task_id="labelled", pipeline="warm", task="binary", data=world.data(), purpose="live", window="P1D"
        )
        live = EvaluateLiveOperator(
            task_id="live", pipeline="warm", dataset=labelled.output, metrics=["log_loss"], monitoring=POLICY
        )
        decide = DecideOperator(
            task_id="decide",
            pipeline="warm",
            live=live.output,
            monitoring={**POLICY, "retraining": {"after": 1, "min_rows": 0}},
        )
        RetrainOnDecisionOperator(
            task_id="retrain", pipeline="warm", decided=decide.output, outlets=[retrain_alias("warm")]
        )
    run = {"run_after": date(17)}
    ended = {name: world.worker.run(dag.task_dict[name], **run) for name in ("labelled", "live", "decide", "retrain")}
    assert [task.state for task in ended.values()] == ["success"] * 4
    assert ended["live"].xcom["facts"]["decayed"]
    sent = statsd.gauges()
    assert sent["live_metric.warm.log_loss"] > sent["holdout_metric.warm.log_loss"]
    assert sent["champion_age_seconds.warm"] == 3 * 86400
    assert world.decisions == [(17, "retrain", "decay", False)]
    (requested,) = ended["retrain"].messages[-1].outlet_events
    assert requested["extra"]["as_of"] == "2024-01-18T00:00:00+00:00"
