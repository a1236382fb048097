"""A metric before its labels are there, on scikit-learn's tumours and digits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_digits

from airflow_mlops_provider.data.tables import read_table
from airflow_mlops_provider.exceptions import MLOpsError, SpecError
from airflow_mlops_provider.job import Champion, StepRequest
from airflow_mlops_provider.monitoring.estimate_report import EstimateReport
from airflow_mlops_provider.monitoring.live_report import LiveReport
from airflow_mlops_provider.runner import run_step

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.storage import ArtifactStore

AS_OF = datetime(2013, 3, 1, tzinfo=UTC)
METRICS = ["log_loss", "accuracy", "roc_auc", "f1"]
LOGISTIC = {"estimator": "sklearn.linear_model.LogisticRegression", "params": {"max_iter": 1000}}


def bunch(task: str) -> tuple[pd.DataFrame, list[str]]:
    """Return rows of text classes, twice over with noise so that there are enough, and their features."""
    loaded = load_breast_cancer(as_frame=True) if task == "binary" else load_digits(as_frame=True)
    if task == "binary":
        names, target = ["mean radius", "mean texture"], np.where(loaded.target == 0, "malignant", "benign")
    else:
        names, target = (
            list(loaded.data.columns[18:38]),
            np.array(["even", "odd", "three"])[loaded.target.to_numpy() % 3],
        )
    frame = loaded.data[names].assign(kind=target)
    frame = pd.concat([frame] * (3 if task == "binary" else 1), ignore_index=True)
    frame[names] += np.random.default_rng(0).normal(size=frame[names].shape)
    return frame.sample(frac=1, random_state=0).reset_index(drop=True), names


class World:
    """A champion, and windows that it scored."""

    def __init__(
        self,
        store: ArtifactStore,
        ingested: Callable[..., StepResult],
        step: Callable[..., StepResult],
        task: str,
        candidate: dict[str, Any],
    ) -> None:
        self.store, self.ingested, self.task = store, ingested, task
        frame, self.features = bunch(task)
        half = len(frame) * 2 // 3
        dataset = self.table(frame[:half])
        self.frame = frame[half:].reset_index(drop=True)
        split = step("prepare", {"split": {"by": "random", "holdout": 0.5}}, dataset=dataset)
        model = step("train", {"name": "one", "candidate": candidate}, dataset=dataset, split=split)
        section = {"metrics": METRICS, "candidates": ["one"], "evaluation": {"importance": None, "latency_calls": 10}}
        evaluation = step("evaluate", section, dataset=dataset, split=split, models=model)
        self.champion = Champion(
            seq=1,
            version=1,
            digest=str(model.facts["digest"]),
            model=model.artifacts["model"],
            order_key=AS_OF,
            metrics=evaluation.facts["metrics"],
            reference=evaluation.artifacts["reference"],
            evaluation=evaluation.artifacts["evaluation"],
        )

    def table(self, frame: pd.DataFrame) -> StepResult:
        return self.ingested(frame, task=self.task, target="kind", numeric=self.features)

    def run(self, step: str, section: dict[str, Any], champion: Champion | None, **inputs: StepResult) -> StepResult:
        request = StepRequest(
            step=step,
            pipeline="tests",
            as_of=AS_OF,
            section=section,
            inputs={role: [result] for role, result in inputs.items()},
            champion=champion,
        )
        result = run_step(request, self.store)
        result.xcom()
        return result

    def score(self, frame: pd.DataFrame | None = None) -> StepResult:
        return self.run("score", {}, self.champion, dataset=self.table(self.frame if frame is None else frame))

    def estimate(self, scored: StepResult, *, champion: Champion | None = None, **section: Any) -> EstimateReport:
        result = self.run("estimate", {"metrics": METRICS, **section}, champion or self.champion, predictions=scored)
        report = EstimateReport.model_validate(self.store.read_json(result.artifacts["estimate"]))
        assert (result.facts["fallen"], result.facts["judged"]) == (report.fallen, report.judged)
        page = self.store.fetch(result.artifacts["report"]).read_text()
        assert "No labels of the window were read" in page
        return report


@pytest.fixture
def make(store: ArtifactStore, ingested: Callable[..., StepResult], step: Callable[..., StepResult]) -> Any:
    def world(task: str = "binary", **settings: Any) -> World:
        return World(store, ingested, step, task, {**LOGISTIC, **settings})

    return world


@pytest.mark.parametrize(("task", "settings"), [("binary", {"threshold": {"recall": 0.9}}), ("multiclass", {})])
def test_the_labels_confirm_what_was_estimated_without_them(task: str, settings: dict[str, Any], make: Any) -> None:
    world = make(task, **settings)
    report = world.estimate(world.score(), confidence=0.99)

    section = {"metrics": METRICS, "estimated": {"confidence": 0.99}}
    live = world.run("live", section, world.champion, dataset=world.table(world.frame))
    measured = LiveReport.model_validate(world.store.read_json(live.artifacts["live"]))

    assert measured.champion is not None
    for name in METRICS:
        realised = measured.champion.metrics[name]
        assert report.estimates[name].holds(realised), (name, realised, report.estimates[name])
        assert measured.estimates[name].value == pytest.approx(report.estimates[name].value)
    assert measured.estimate_held is True
    assert live.facts["estimate_held"] is True
    assert live.facts["estimate"] == pytest.approx(report.estimates["log_loss"].value)
    assert not report.fallen


def test_rows_that_the_model_is_unsure_of_are_a_fall(make: Any) -> None:
    world = make()
    sure = world.estimate(world.score())
    message = read_table(world.store, world.score().artifacts["predictions"])["p_1"]
    doubtful = world.frame[message.between(0.2, 0.8)]
    window = pd.concat([doubtful] * (300 // len(doubtful) + 1), ignore_index=True)

    report = world.estimate(world.score(window))

    assert report.fallen
    assert not sure.fallen
    assert "is estimated at" in report.why
    assert "on the holdout" in report.why
    assert not world.estimate(world.score(window), margin=9.0).fallen


def test_what_cannot_be_estimated_says_why(make: Any) -> None:
    world = make()
    scored = world.score()
    other = world.champion.model_copy(update={"version": 2})
    old = world.champion.model_copy(update={"reference": None})

    for report, words in [
        (world.estimate(scored, min_rows=10_000), "rows, 10000 are needed"),
        (world.estimate(scored, champion=other), "the predictions come from version 1, but the champion is version 2"),
        (world.estimate(scored, champion=old), "before references were stored"),
    ]:
        assert not report.judged
        assert words in report.why

    with pytest.raises(MLOpsError, match="needs a champion"):
        world.run("estimate", {"metrics": METRICS}, None, predictions=scored)


def test_a_regression_has_nothing_to_estimate_from(make: Any, ingested: Callable[..., StepResult]) -> None:
    world = make()
    numbers = ingested(world.frame.assign(kind=1.0), task="regression", target="kind", numeric=world.features)
    scored = numbers.model_copy(update={"artifacts": {"predictions": numbers.artifacts["dataset"]}})

    with pytest.raises(SpecError, match="does not have"):
        world.run("estimate", {"metrics": ["rmse"]}, world.champion, predictions=scored)
