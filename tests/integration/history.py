"""A model's past, made by the steps and effects of its DAGs, in the time that these take alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from airflow_mlops_provider import effects
from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.backtest import Steps, training
from airflow_mlops_provider.effects.decisions import decide_window
from airflow_mlops_provider.effects.watching import Watcher, champion_pair
from airflow_mlops_provider.pipelines import load_pipeline
from airflow_mlops_provider.registry import Registry, ledger
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.spec import Pipeline
    from local_airflow import LocalAirflow


@dataclass(frozen=True)
class Past:
    """What one pipeline of an Airflow did before a test."""

    pipeline: Pipeline
    registry: Registry
    steps: Steps

    @classmethod
    def of(cls, airflow: LocalAirflow, file: Path) -> Past:
        """Return the past of a pipeline file: nothing yet."""
        pipeline = load_pipeline(file)
        steps = Steps(pipeline, ArtifactStore(airflow.artifacts.as_uri()), AllowList())
        return cls(pipeline, Registry.connect(airflow.mlflow_uri), steps)

    def published(self, as_of: datetime) -> StepResult:
        """Train on what was known at a moment, and register the best candidate."""
        model, steps = self.pipeline.model_name, self.steps
        models = training.candidates(steps, as_of)
        evaluation = training.evaluated(steps, as_of, self.registry.history(model), models)
        return effects.publish(self.registry, steps.store, evaluation, model=model, tags={})

    def promoted(self, as_of: datetime, at: datetime) -> None:
        """Train, and make the best candidate champion; what is made up is the time at which it became so."""
        published, model = self.published(as_of), self.pipeline.model_name
        gate = training.judged(self.steps, published)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ledger, "datetime", type("At", (datetime,), {"now": lambda _: at}))
            caller = ("by hand", as_of.isoformat())
            done = effects.promote(self.registry, self.steps.store, published, gate, model=model, caller=caller)
        assert not done.skipped, done.reason

    def watched(self, as_of: datetime) -> None:
        """Score the window that ends at a moment, measure it, and decide it."""
        pipeline, pair = self.pipeline, champion_pair(self.registry.history(self.pipeline.model_name))
        assert pair is not None
        assert pipeline.scoring is not None
        assert pipeline.monitoring is not None
        watcher = Watcher(
            pipeline=pipeline.name,
            task=pipeline.task,
            data=pipeline.data,
            scoring=pipeline.scoring,
            monitoring=pipeline.monitoring,
            metrics=pipeline.metrics,
            compute=self.steps.run,
            validation=pipeline.validation,
        )
        scored = watcher.score(as_of, pair)
        drift = watcher.drift(scored, pair)
        decide_window(
            self.registry,
            pipeline.model_name,
            pipeline.monitoring,
            scored.window,
            pair=pair,
            drift=drift.facts,
            live=watcher.live(as_of, pair),
            caller=("by hand", as_of.isoformat()),
            evidence=drift.artifacts,
        )
