"""A small world that turns: its champion, its scored windows, and the tasks that watch them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

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
from airflow_mlops_provider.operators.watching import (
    RetrainOnDecisionOperator,
    RollbackOnDecisionOperator,
    WatchPredictionsOperator,
)
from airflow_mlops_provider.runner import run_step

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from airflow_mlops_provider.registry import Registry
    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.storage import ArtifactStore

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

    def write(
        self, days: int, *, turns: int | None = None, labelled: int | None = None, broken: Sequence[int] = ()
    ) -> None:
        """Write rows of so many days; from `turns` on the world is another, from `labelled` on labels are missing.

        :param broken: days in which most of the warmth is missing.
        """
        chance = random.Random(3)
        lines = ["id,at,warmth,colour,good"]
        for number in range(days * ROWS_A_DAY):
            day = number // ROWS_A_DAY
            turned = turns is not None and day >= turns
            warmth, colour = chance.gauss(3 if turned else 0, 1), chance.choice(["red", "green"])
            good = int(warmth + chance.gauss(0, 0.5) > (3 if turned else 0))
            known = labelled is None or day < labelled
            at = START + number * DAY / ROWS_A_DAY
            shown = "" if day in broken and number % 5 < 3 else f"{warmth:.4f}"
            lines.append(f"{number},{at.isoformat()},{shown},{colour},{good if known else ''}")
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
        requested = {"pipeline": "warm", "model": "warm", "as_of": date(day), "allow_older": False}
        comparable = effects.find_comparable_champions(self.registry, self.store, **requested)
        champion = effects.champion_to_compare(self.store, comparable, [trained])
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
        pair = watching.champion_pair(self.registry.history("warm"))
        assert pair is not None
        message = self.step("score", {}, day, pair.champion, dataset=[dataset])
        return event(
            predictions_asset("warm"),
            as_of=date(day).isoformat(),
            window_start=start.isoformat(),
            rows=dataset.facts["rows"],
            dataset=dataset.artifacts["dataset"].model_dump(mode="json"),
            predictions=message.artifacts["predictions"].model_dump(mode="json"),
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
