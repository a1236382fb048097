"""Calibrated probabilities and decision thresholds, from training to live monitoring, on scikit-learn's tumours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn import metrics
from sklearn.datasets import load_breast_cancer

from airflow_mlops_provider.data.tables import read_table, table_schema
from airflow_mlops_provider.evaluation.report import EvaluationReport
from airflow_mlops_provider.exceptions import DataError, ModelError, SpecError
from airflow_mlops_provider.job import Champion, StepRequest
from airflow_mlops_provider.modeling.calibration import fitted_and_validation_rows
from airflow_mlops_provider.modeling.model_file import ModelInfo, load_model
from airflow_mlops_provider.modeling.predictions import feature_frame
from airflow_mlops_provider.modeling.splits import read_split
from airflow_mlops_provider.modeling.threshold import threshold_of
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.spec import Candidate

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.storage import ArtifactStore

AS_OF = datetime(2013, 3, 1, tzinfo=UTC)
FEATURES = ["mean radius", "mean texture", "mean smoothness"]
ROLES: dict[str, Any] = {"target": "tumour", "keys": ["id"], "timestamp": "at", "numeric": FEATURES}
TREE = {"estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 4, "min_samples_leaf": 5}}
METRICS = ["log_loss", "f1", "recall", "precision", "accuracy"]
COSTLY = {"cost": {"false_positive": 1, "false_negative": 20}}


def tumours() -> pd.DataFrame:
    """Return 569 tumours with classes of text, one an hour."""
    bunch = load_breast_cancer(as_frame=True)
    frame = bunch.frame[FEATURES].copy()
    frame["tumour"] = np.where(bunch.target == 0, "malignant", "benign")
    frame["id"] = [f"t{index:03}" for index in range(len(frame))]
    frame["at"] = [AS_OF - timedelta(hours=600 - index) for index in range(len(frame))]
    return frame


class World:
    """The tumours, split, and what the steps say of them."""

    def __init__(self, store: ArtifactStore, ingested: Callable[..., StepResult], step: Callable[..., StepResult]):
        self.store, self.step = store, step
        self.frame = tumours()
        self.dataset = ingested(self.frame, **ROLES)

    def train(self, candidate: dict[str, Any], by: str = "time", **changes: Any) -> StepResult:
        section = {"split": {"by": by, "holdout": 0.3, "folds": 3, **changes}}
        self.split = self.step("prepare", section, dataset=self.dataset)
        section = {"name": "one", "candidate": candidate}
        return self.step("train", section, dataset=self.dataset, split=self.split)

    def evaluate(self, model: StepResult) -> StepResult:
        section = {
            "metrics": METRICS,
            "candidates": ["one"],
            "evaluation": {"bootstrap": {"resamples": 20}, "importance": {"repeats": 1}, "latency_calls": 10},
        }
        return self.step("evaluate", section, dataset=self.dataset, split=self.split, models=model)

    def report(self, evaluation: StepResult) -> EvaluationReport:
        return EvaluationReport.model_validate(self.store.read_json(evaluation.artifacts["evaluation"]))

    def ask(self, step: str, champion: Champion, section: dict[str, Any]) -> StepResult:
        inputs = {"dataset": [self.dataset]}
        request = StepRequest(
            step=step, pipeline="tests", as_of=AS_OF, section=section, inputs=inputs, champion=champion
        )
        return run_step(request, self.store)

    def champion(self, model: StepResult, evaluation: StepResult) -> Champion:
        return Champion(
            seq=1,
            version=1,
            digest=str(model.facts["digest"]),
            model=model.artifacts["model"],
            order_key=AS_OF,
            reference=evaluation.artifacts["reference"],
            evaluation=evaluation.artifacts["evaluation"],
        )


@pytest.fixture
def world(store: ArtifactStore, ingested: Callable[..., StepResult], step: Callable[..., StepResult]) -> World:
    return World(store, ingested, step)


@pytest.mark.parametrize(
    "settings",
    [
        {"calibrate": "isotonic", "threshold": COSTLY},
        {"calibrate": "sigmoid", "threshold": {"recall": 0.95}},
        {"threshold": {"precision": 0.9}},
        {"threshold": 0.15},
    ],
    ids=str,
)
def test_a_threshold_lies_in_the_model_and_decides_wherever_it_predicts(settings: dict[str, Any], world: World) -> None:
    model = world.train({**TREE, **settings})
    evaluation = world.evaluate(model)
    pipeline = load_model(world.store, model.artifacts["model"])
    threshold = threshold_of(pipeline)
    answers = pipeline.predict(feature_frame(world.frame, read_split_columns(world)))
    held = read_split(world.store, world.split.artifacts["split"], world.split.artifacts["assignment"]).fold == 1
    report, champion = world.report(evaluation), world.champion(model, evaluation)

    info = ModelInfo.model_validate(world.store.read_json(model.artifacts["model_info"]))
    assert info.threshold == threshold == model.facts["threshold"] == report.challenger.threshold
    assert threshold != 0.5

    expected = metrics.f1_score(world.frame["tumour"][held], answers[held], pos_label="malignant")
    assert report.challenger.metrics["f1"] == pytest.approx(expected)
    assert report.predictions.shares["malignant"] == pytest.approx((answers[held] == "malignant").mean())
    assert report.challenger.calibration is not None
    low, high = report.intervals["f1"].low, report.intervals["f1"].high
    assert low is not None
    assert high is not None
    assert low <= expected <= high

    scored = world.ask("score", champion, {})
    message = read_table(world.store, scored.artifacts["predictions"])
    assert message["prediction"].tolist() == answers.tolist()
    assert scored.facts["threshold"] == threshold
    schema = table_schema(world.store, scored.artifacts["predictions"])
    assert float(schema.metadata[b"threshold"]) == threshold

    reference = read_table(world.store, evaluation.artifacts["reference"], ["prediction"])["prediction"]
    assert reference[held].tolist() == answers[held].tolist()

    live = world.ask("live", champion, {"metrics": ["f1"]}).facts["champion"]
    assert live == pytest.approx(metrics.f1_score(world.frame["tumour"], answers, pos_label="malignant"))


def read_split_columns(world: World) -> Any:
    return read_split(world.store, world.split.artifacts["split"], world.split.artifacts["assignment"]).plan.columns


def test_a_costly_miss_lowers_the_threshold_and_makes_another_model(world: World) -> None:
    cheap = {"cost": {"false_positive": 20, "false_negative": 1}}
    low, high = (world.train({**TREE, "threshold": rule}) for rule in (COSTLY, cheap))

    thresholds: list[Any] = [one.facts["threshold"] for one in (low, high)]
    assert thresholds[0] < thresholds[1]
    assert low.facts["digest"] != high.facts["digest"]
    shares = [world.report(world.evaluate(model)).predictions.shares["malignant"] for model in (low, high)]
    assert shares[0] > shares[1]


def test_training_again_gives_the_same_calibrated_model(world: World) -> None:
    candidate: dict[str, Any] = {**TREE, "calibrate": "isotonic", "threshold": COSTLY}
    first = world.train(candidate, by="random")
    # Another share of the holdout would be another key; the seed of the split is not that of the validation part.
    plan = read_split(world.store, world.split.artifacts["split"], world.split.artifacts["assignment"])
    again = world.train({**candidate, "params": {**TREE["params"], "splitter": "best"}}, by="random")

    assert first.key != again.key
    assert first.facts["digest"] == again.facts["digest"]
    assert plan.plan.by == "random"


@pytest.mark.parametrize(
    ("by", "embargo"), [("time", 0), ("time", 30), ("random", None)], ids=["time", "embargo", "random"]
)
def test_the_validation_part_is_of_the_training_rows_and_the_last_of_them_by_time(
    by: str, embargo: int | None, world: World
) -> None:
    candidate: dict[str, Any] = {**TREE, "threshold": COSTLY, "validation": 0.25}
    model = world.train(candidate, by=by, embargo=None if embargo is None else timedelta(hours=embargo))
    split = read_split(world.store, world.split.artifacts["split"], world.split.artifacts["assignment"])
    trains, dataset = split.train_mask(1), world.dataset.artifacts["dataset"]

    fitted, stored = fitted_and_validation_rows(
        Candidate.model_validate(candidate), world.store, dataset, split.plan, trains, seed=7
    )

    assert not ((fitted | stored) & ~trains).any()
    assert not (fitted & stored).any()
    assert stored.sum() == pytest.approx(0.25 * trains.sum(), rel=0.25)
    at = world.frame["at"]
    assert (at[stored].min() > at[fitted].max()) == (by == "time")
    # One row an hour: those whose label comes only when the validation part has begun are in neither.
    assert (trains & ~fitted & ~stored).sum() == (embargo or 0)
    if embargo:
        assert at[stored].min() - at[fitted].max() == timedelta(hours=embargo + 1)
    tree = load_model(world.store, model.artifacts["model"])["model"].estimator.estimator
    assert tree.tree_.n_node_samples[0] == fitted.sum(), "the stored model was fitted on no other row"


def test_an_embargo_that_leaves_nothing_to_fit_on_is_named(world: World) -> None:
    candidate = {**TREE, "calibrate": "isotonic", "validation": 0.6}
    with pytest.raises(DataError, match=r"no rows are left to fit on.*more than 6 days, 16:00:00 before it"):
        world.train(candidate, embargo=timedelta(hours=160))


def test_each_fold_of_a_cross_validation_decides_by_its_own_threshold(world: World) -> None:
    model = world.train({**TREE, "threshold": COSTLY}, by="cross_validation")
    report = world.report(world.evaluate(model))

    message = read_table(world.store, model.artifacts["predictions"])
    assert message.groupby("fold")["threshold"].nunique().tolist() == [1, 1, 1]
    called = np.where(message["p_1"] >= message["threshold"], "malignant", "benign")
    recall = metrics.recall_score(world.frame["tumour"], called, pos_label="malignant")
    assert report.challenger.metrics["recall"] == pytest.approx(recall)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"calibrate": "isotonic", "validation": 0.01}, "the validation part .* has .* rows of class"),
        ({"threshold": {"precision": 0.999}, "params": {"max_depth": 1}}, "no threshold reaches a precision of 0.999"),
    ],
)
def test_what_cannot_be_settled_is_named(settings: dict[str, Any], words: str, world: World) -> None:
    with pytest.raises(ModelError, match=words):
        world.train({**TREE, **settings})


@pytest.mark.parametrize(
    ("task", "settings", "words"),
    [
        ("multiclass", {"threshold": 0.3}, "a threshold is for binary tasks"),
        ("regression", {"calibrate": "sigmoid"}, "calibrate is for classifiers"),
    ],
)
def test_a_task_without_two_classes_has_no_threshold(
    task: str,
    settings: dict[str, Any],
    words: str,
    ingested: Callable[..., StepResult],
    step: Callable[..., StepResult],
) -> None:
    frame = tumours().assign(tumour=lambda table: np.arange(len(table)) % 3)
    dataset = ingested(frame, task=task, **ROLES)
    split = step("prepare", {"split": {"by": "random"}}, dataset=dataset)
    with pytest.raises(SpecError, match=words):
        step("train", {"name": "one", "candidate": {**TREE, **settings}}, dataset=dataset, split=split)
