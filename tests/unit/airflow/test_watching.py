from __future__ import annotations

import random
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, Param

from airflow_mlops_provider import effects
from airflow_mlops_provider.assets import (
    champion_alias,
    champion_asset,
    predictions_asset,
    retrain_alias,
    retrain_asset,
)
from airflow_mlops_provider.effects import watching
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.operators.data import IngestDataOperator
from airflow_mlops_provider.operators.decisions import DecideOperator, EvaluateLiveOperator
from airflow_mlops_provider.operators.watching import (
    RetrainOnDecisionOperator,
    RollbackOnDecisionOperator,
    WatchPredictionsOperator,
)
from airflow_mlops_provider.registry import Registry
from airflow_mlops_provider.results import MAX_XCOM_BYTES
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_mlops_provider.results import StepResult

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ROWS_A_DAY = 60
COLUMNS = {"target": "good", "timestamp": "at", "keys": ["id"], "numeric": ["warmth"], "categorical": ["colour"]}
GOOD = {"estimator": "sklearn.linear_model.LogisticRegression"}
BAD = {"estimator": "sklearn.dummy.DummyClassifier"}
POLICY = {
    "drift": {"min_rows": 50, "numeric_threshold": 0.5, "categorical_threshold": 0.3},
    "live": {"min_rows": 50, "margin": 0.3},
    "retraining": {"after": 2, "cooldown": "3 days", "budget": 2, "min_rows": 0},
}


def date(day: int) -> datetime:
    return START + day * DAY


@dataclass
class World:
    """A champion of a small world, its scored windows, and the tasks that watch them."""

    store: ArtifactStore
    registry: Registry
    source: Path
    worker: Any
    label_delay: str = "0 days"

    def write(self, days: int, *, turns: int | None = None, labelled: int | None = None) -> None:
        """Write rows of so many days; from `turns` on the world is another, from `labelled` on labels are missing."""
        chance = random.Random(3)
        lines = ["id,at,warmth,colour,good"]
        for number in range(days * ROWS_A_DAY):
            day = number // ROWS_A_DAY
            turned = turns is not None and day >= turns
            warmth, colour = chance.gauss(3 if turned else 0, 1), chance.choice(["red", "green"])
            good = int(warmth + chance.gauss(0, 0.5) > (3.5 if turned else 0))
            known = labelled is None or day < labelled
            at = START + number * DAY / ROWS_A_DAY
            lines.append(f"{number},{at.isoformat()},{warmth:.4f},{colour},{good if known else ''}")
        self.source.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def data(self, **changes: Any) -> dict[str, Any]:
        return {"source": {"uri": str(self.source)}, "columns": COLUMNS, "label_delay": self.label_delay, **changes}

    def step(self, name: str, section: dict[str, Any], day: int, champion: Any = None, **inputs: Any) -> StepResult:
        request = StepRequest(
            step=name, pipeline="warm", as_of=date(day), section=section, inputs=inputs, champion=champion
        )
        return run_step(request, self.store)

    def promote(self, day: int, candidate: dict[str, Any] = GOOD) -> None:
        """Train on what is known at a day and promote what comes of it, whatever it is worth."""
        dataset = [self.step("ingest", {"task": "binary", "data": self.data()}, day)]
        split = [self.step("prepare", {"split": {"by": "time", "holdout": 0.3}}, day, dataset=dataset)]
        trained = self.step("train", {"name": "one", "candidate": candidate}, day, dataset=dataset, split=split)
        inputs = effects.evaluation_inputs(self.store, [trained])
        asked = {"pipeline": "warm", "model": "warm", "as_of": date(day), "allow_older": False}
        rivals = effects.find_rivals(self.registry, self.store, **asked)
        champion = effects.rival_of(self.store, rivals, [trained])
        section = {"metrics": ["log_loss"], "candidates": ["one"]}
        evaluation = effects.compared(self.step("evaluate", section, day, champion, **inputs), champion)
        evaluation = effects.publish(self.registry, self.store, evaluation, model="warm", tags={})
        gate = self.step("gate", {"gates": [], "metrics": ["log_loss"]}, day, evaluation=[evaluation])
        done = effects.promote(self.registry, self.store, evaluation, gate, model="warm", caller=("train", str(day)))
        assert done.result.facts["status"] == "promoted"

    def scored(self, day: int) -> Any:
        """Score the day's window with the champion and return its event."""
        start = date(day) - DAY
        section = {"task": "binary", "data": self.data(), "purpose": "scoring", "start": start.isoformat()}
        dataset = self.step("ingest", section, day)
        reign = watching.reign_of(self.registry.history("warm"))
        assert reign is not None
        said = self.step("score", {}, day, reign.champion, dataset=[dataset])
        return event(
            predictions_asset("warm"),
            as_of=date(day).isoformat(),
            window_start=start.isoformat(),
            rows=dataset.facts["rows"],
            dataset=dataset.artifacts["dataset"].model_dump(mode="json"),
            predictions=said.artifacts["predictions"].model_dump(mode="json"),
        )

    def dag(self, **changes: Any) -> DAG:
        with DAG("warm_monitoring", schedule=None, params={"as_of": Param(None, type=["null", "string"])}) as dag:
            settings = {"task": "binary", "data": self.data(), "metrics": ["log_loss"], "monitoring": POLICY, **changes}
            watch = WatchPredictionsOperator(task_id="watch", pipeline="warm", **settings)
            RetrainOnDecisionOperator(
                task_id="retrain",
                pipeline="warm",
                decided=watch.output,
                inlets=[retrain_asset("warm")],
                outlets=[retrain_alias("warm")],
            )
            RollbackOnDecisionOperator(
                task_id="roll_back",
                pipeline="warm",
                decided=watch.output,
                inlets=[champion_asset("warm")],
                outlets=[champion_alias("warm")],
            )
        return dag

    def watch(self, *days: int, dag: DAG | None = None, **settings: Any) -> dict[str, Any]:
        """Run the monitoring tasks for the events of some days, and return how each ended."""
        events = [self.scored(day) for day in days]
        run = {"run_type": "asset_triggered", "consumed_asset_events": events, **settings}
        dag = dag or self.dag()
        return {name: self.worker.run(dag.task_dict[name], **run) for name in ("watch", "retrain", "roll_back")}

    @property
    def decisions(self) -> list[tuple[int, str, str, bool]]:
        return [
            ((one.as_of - START).days, one.action, one.rule, one.suppressed)
            for one in map(self.decision, self.registry.decisions("warm"))
        ]

    @staticmethod
    def decision(entry: Any) -> Any:
        from airflow_mlops_provider.monitoring.governor import Decision

        return Decision.model_validate(entry.value)


def event(asset: Any, **extra: Any) -> Any:
    from airflow.sdk.api.datamodels._generated import AssetEventDagRunReference, AssetReferenceAssetEventDagRun

    return AssetEventDagRunReference(
        asset=AssetReferenceAssetEventDagRun(name=asset.name, uri=asset.uri, extra={}),
        extra=extra,
        source_task_id=None,
        source_dag_id=None,
        source_run_id=None,
        source_map_index=None,
        source_aliases=[],
        timestamp=datetime(2026, 1, 1, tzinfo=UTC),
        partition_key=None,
    )


def sent(asset: Any, extra: dict[str, Any]) -> dict[str, Any]:
    """An event as the asset's history has it."""
    return {
        "id": 1,
        "timestamp": datetime(2026, 1, 1, tzinfo=UTC),
        "extra": extra,
        "asset": {"name": asset.name, "uri": asset.uri, "group": "asset"},
        "created_dagruns": [],
    }


@pytest.fixture
def world(worker: Any, mlflow_uri: str, connection: Callable[..., None], tmp_path: Path) -> World:
    connection("mlflow_default", conn_type="mlflow", host=mlflow_uri)
    store = ArtifactStore((tmp_path / "artifacts").as_uri())
    return World(store, Registry.connect(mlflow_uri), tmp_path / "warm.csv", worker)


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
    world.write(25, turns=15)
    world.promote(14)
    ended = world.watch(*range(15, 21))
    assert world.decisions == [
        (15, "keep", "healthy", False),
        (16, "retrain", "decay", True),
        (17, "retrain", "decay", False),
        (18, "retrain", "decay", True),
        (19, "retrain", "decay", True),
        (20, "retrain", "decay", False),
    ]
    assert ended["watch"].xcom["facts"]["retrain"] == ["2024-01-18", "2024-01-21"]
    [asked] = ended["retrain"].told[-1].outlet_events
    assert asked["dest_asset_key"] == {"name": "warm.retrain", "uri": "mlops://warm/retrain"}
    assert asked["extra"]["as_of"] == "2024-01-21T00:00:00+00:00", "the latest speaks for all"
    assert asked["extra"]["windows"] == ["2024-01-18", "2024-01-21"]
    assert asked["extra"]["reason"].startswith("decay: log_loss is ")
    assert "the predictions drifted; 1 of 2 features drifted, such as 'warmth'" in asked["extra"]["reason"]
    assert asked["extra"]["columns"] == ["warmth"]
    assert ended["roll_back"].state == "skipped"
    why = [world.decision(entry).why for entry in world.registry.decisions("warm")]
    assert why[1] == "1 bad window in a row, 2 are needed"
    assert why[3] == "1 bad window in a row, 2 are needed; cooldown of 3 days since the request of 2024-01-18"

    # Cleared: nothing is decided anew, and what was asked for is not asked for again.
    supervisor.asset_events.append(sent(retrain_asset("warm"), asked["extra"]))
    before = world.registry.decisions("warm")
    again = world.watch(*range(15, 21))
    assert again["watch"].xcom["facts"]["retrain"] == ["2024-01-18", "2024-01-21"], "they are still its own"
    assert again["retrain"].state == "success"
    assert again["retrain"].told[-1].outlet_events == []
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


def test_a_bad_model_is_rolled_back_once_on_the_next_labelled_window(world: World) -> None:
    world.write(22)
    world.promote(12)
    world.promote(14, BAD)
    same_day = world.watch(14)
    assert world.decisions == [(14, "keep", "healthy", False)], "its rows are those that it was trained on"
    assert same_day["roll_back"].state == "skipped"
    ended = world.watch(15, 16)
    assert world.decisions[1:] == [(15, "roll_back", "probation", False), (16, "keep", "rolled_back", False)]
    assert ended["roll_back"].state == "success"
    (entry, *_) = reversed(world.registry.history("warm"))
    assert (entry.action, entry.version, entry.quarantined) == ("rollback", 1, 2)
    assert entry.reason.startswith("2024-01-16: roll back (probation): log_loss is ")
    assert "that of version 1, the former champion" in entry.reason
    (champion,) = ended["roll_back"].told[-1].outlet_events
    assert champion["dest_asset_key"]["name"] == "warm.champion"
    # The same run again, and the days that follow, roll nothing back.
    assert world.watch(15, 16)["roll_back"].state == "success"
    later = world.watch(17, 18)
    assert later["roll_back"].state == "skipped"
    assert [entry.action for entry in world.registry.history("warm")] == ["promote", "promote", "rollback"]
    assert world.decisions[3:] == [(17, "keep", "healthy", False), (18, "keep", "healthy", False)]


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
    assert second.startswith("the live metric says nothing: ")
    assert "2024-01-17.csv" in second


def test_labels_that_come_after_probation_do_not_put_it_off(world: World) -> None:
    # The training saw no label of the five days before it: those that came since are as good as those to come.
    world.label_delay = "5 days"
    world.write(29)
    world.promote(19)
    world.promote(21, BAD)
    policy = {**POLICY, "probation": {"length": "2 days"}}
    ended = world.watch(22, dag=world.dag(monitoring=policy))
    assert world.decisions == [(22, "roll_back", "probation", False)]
    assert ended["roll_back"].state == "success"


def test_windows_that_were_scored_while_the_run_waited_are_decided_too(world: World, supervisor: Any) -> None:
    world.write(20)
    world.promote(14)
    for day in (15, 16, 17):
        supervisor.asset_events.append(sent(predictions_asset("warm"), world.scored(day).extra))
    ended = world.watch(15, dag=world.dag(inlets=[predictions_asset("warm")]))
    assert ended["watch"].state == "success"
    assert [day for day, *_ in world.decisions] == [15, 16, 17]
    asked = {one.after for one in ended["watch"].told if one.type == "GetAssetEventByAsset"}
    assert asked == {datetime(2026, 1, 1, tzinfo=UTC)}


def test_labels_that_are_late_are_said_and_do_not_stop_the_watch(world: World) -> None:
    world.write(20)
    world.promote(14)
    world.write(20, labelled=15)
    ended = world.watch(17)
    assert ended["watch"].state == "success"
    (decision,) = map(world.decision, world.registry.decisions("warm"))
    assert (decision.action, decision.rule) == ("keep", "healthy")
    assert decision.reasons[1].startswith("the live metric says nothing: ")
    assert "good" in decision.reasons[1]


def test_a_run_by_hand_decides_the_window_of_its_as_of(world: World) -> None:
    world.write(20)
    world.promote(14)
    dag = world.dag()
    ended = world.worker.run(dag.task_dict["watch"], conf={"as_of": "2024-01-17T00:00:00Z"})
    assert ended.state == "success"
    assert world.decisions == [(16, "keep", "healthy", False)]


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


def test_a_month_of_windows_fits_into_an_xcom(world: World) -> None:
    import json

    world.write(46, turns=15)
    world.promote(14)
    ended = world.watch(*range(16, 46))
    assert len(world.decisions) == 30
    assert sum(action == "retrain" and not suppressed for _, action, _, suppressed in world.decisions) == 2
    assert all(world.decision(one).why for one in world.registry.decisions("warm") if one.value["suppressed"])
    assert len(json.dumps(ended["watch"].xcom)) < MAX_XCOM_BYTES
    [asked] = ended["retrain"].told[-1].outlet_events
    assert len(asked["extra"]["windows"]) == 2


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
    (asked,) = ended["retrain"].told[-1].outlet_events
    assert asked["extra"]["as_of"] == "2024-01-18T00:00:00+00:00"
