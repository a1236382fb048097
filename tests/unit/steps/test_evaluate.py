from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from evaluated_world import LOGISTIC, MEAN, METRICS, RIDGE, STUMP, World, champion_of, rows_of
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.metrics import log_loss, roc_auc_score

from airflow_mlops_provider.evaluation.report import training_id
from airflow_mlops_provider.exceptions import ArtifactError, DataError, MLOpsError
from airflow_mlops_provider.modeling.predictions import predictions_frame
from airflow_mlops_provider.results import MAX_XCOM_BYTES
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from pathlib import Path


def test_the_winner_is_the_best_by_the_first_metric(world: World) -> None:
    models = world.train(logistic=LOGISTIC, stump=STUMP)
    report = world.report(models, METRICS)
    assert report.winner == "logistic"
    for model, name in zip(models, ("logistic", "stump"), strict=True):
        truth, scores = world.held_out(model)
        assert report.candidates[name].metrics["roc_auc"] == pytest.approx(roc_auc_score(truth, scores[:, 1]), abs=1e-9)
        assert report.candidates[name].metrics["log_loss"] == pytest.approx(log_loss(truth, scores), abs=1e-9)
    for name in METRICS:
        low, high = report.intervals[name].low, report.intervals[name].high
        assert low is not None
        assert high is not None
        assert low < report.challenger.metrics[name] < high


def test_a_tie_goes_to_the_first_by_name(world: World) -> None:
    (model,) = world.train(zebra=LOGISTIC)
    twin = model.model_copy(update={"facts": {**model.facts, "candidate": "ant"}})
    assert world.report([model, twin], METRICS).winner == "ant"


def test_of_a_loss_less_is_better(world: World) -> None:
    models = world.train(logistic=LOGISTIC, stump=STUMP)
    report = world.report(models, ["log_loss"])
    assert report.winner == min(report.candidates, key=lambda name: report.candidates[name].metrics["log_loss"] or 9)


def test_later_tasks_need_only_this_result(world: World) -> None:
    models = world.train(logistic=LOGISTIC, stump=STUMP)
    result = world.evaluate(models, METRICS)
    assert result.artifacts["model"] == models[0].artifacts["model"]
    assert result.artifacts["model_info"] == models[0].artifacts["model_info"]
    assert result.facts["winner"] == "logistic"
    assert result.facts["metrics"] == world.read(result).challenger.metrics
    assert result.facts["lineage"] == training_id(reversed(models))


def test_a_lost_candidate_is_reported(world: World) -> None:
    result = world.evaluate(world.train(logistic=LOGISTIC), METRICS, candidates=["logistic", "forest"])
    assert result.facts["lost"] == ["forest"]
    assert world.read(result).lost == ["forest"]


def test_the_facts_fit_into_xcom_however_many_candidates_are_lost(world: World) -> None:
    requested = [f"candidate-with-a-name-as-long-as-it-may{index:02}" for index in range(50)]
    result = world.evaluate(
        world.train(logistic=LOGISTIC), METRICS, candidates=["logistic", *requested], slices=["town"]
    )
    assert result.facts["lost_count"] == 50
    assert len(json.dumps(result.xcom())) < MAX_XCOM_BYTES * 3 / 4


def test_no_candidate_is_an_error_that_says_what_is_missing(world: World) -> None:
    with pytest.raises(MLOpsError, match="no trained candidate"):
        world.evaluate([], METRICS)


def test_predictions_of_other_rows_are_refused(world: World) -> None:
    (model,) = world.train(logistic=LOGISTIC)
    other = World(world.store).load(rows_of("binary", rows=300, seed=5))
    with pytest.raises(ArtifactError, match="candidate 'logistic' are not for the held-out rows"):
        other.evaluate([model], METRICS)


def test_a_class_that_the_split_does_not_know_is_named(world: World) -> None:
    models = world.train(logistic=LOGISTIC)
    frame = rows_of("binary")
    frame.loc[17, "target"] = 2
    world.ingest(frame, {})
    with pytest.raises(DataError, match="row 18 of the dataset"):
        world.evaluate(models, METRICS)


# ---------------------------------------------------------------- baseline


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_the_baseline_is_scikit_learns_dummy(store: ArtifactStore, task: str) -> None:
    world = World(store, task).load(rows_of(task))
    models = world.train(logistic=LOGISTIC, dummy={"estimator": "sklearn.dummy.DummyClassifier"})
    report = world.report(models, ["log_loss", "brier", "roc_auc"])
    assert report.baseline.metrics == pytest.approx(report.candidates["dummy"].metrics)
    assert report.baseline.metrics["roc_auc"] == 0.5
    assert DummyClassifier().strategy == "prior"


def test_the_baseline_of_a_regression_is_the_training_mean(store: ArtifactStore) -> None:
    world = World(store, "regression").load(rows_of("regression"))
    report = world.report(world.train(ridge=RIDGE, mean=MEAN), ["rmse", "mae", "r2"])
    assert report.baseline.metrics == pytest.approx(report.candidates["mean"].metrics)
    assert DummyRegressor().strategy == "mean"
    assert report.winner == "ridge"


# ---------------------------------------------------------------- other tasks


def test_three_classes_are_judged(store: ArtifactStore) -> None:
    world = World(store, "multiclass").load(rows_of("multiclass"))
    (model,) = world.train(logistic=LOGISTIC)
    report = world.report([model], ["log_loss", "roc_auc", "f1"], champion=champion_of(model), slices=["town"])
    truth, scores = world.held_out(model)
    assert report.classes == ["low", "mid", "top"]
    assert report.challenger.metrics["log_loss"] == pytest.approx(log_loss(truth, scores), abs=1e-9)
    assert report.challenger.metrics["roc_auc"] == pytest.approx(
        roc_auc_score(truth, scores, multi_class="ovr"), abs=1e-9
    )
    assert set(report.predictions.shares) == {"low", "mid", "top"}
    assert report.champion is not None
    assert report.champion.differences["f1"].value == 0
    assert report.slices
    for one in report.slices:
        assert list(one.intervals) == ["log_loss"], "of the metric that decides"
        span = one.intervals["log_loss"]
        assert span.low is not None or span.why is not None
        assert span.low is None or span.low < one.metrics["log_loss"] < span.high


def test_a_regression_is_judged(store: ArtifactStore) -> None:
    from scipy.stats import wasserstein_distance

    world = World(store, "regression").load(rows_of("regression"))
    ridge, mean = world.train(ridge=RIDGE, mean=MEAN)
    report = world.report([ridge, mean], ["rmse", "median_absolute_error", "r2"], champion=champion_of(mean))
    truth, scores = world.held_out(ridge)
    assert report.challenger.metrics["rmse"] == pytest.approx(np.sqrt(np.mean((truth - scores[:, 0]) ** 2)), abs=1e-9)
    assert report.champion is not None
    assert (report.champion.differences["rmse"].value or 0) > 0
    stats = report.predictions
    train = np.delete(
        rows_of("regression")["target"].to_numpy(),
        predictions_frame(store, ridge.artifacts["predictions"])["row"],
    )
    assert stats.shift == pytest.approx(wasserstein_distance(scores[:, 0], train) / train.std())
    assert stats.target_mean == pytest.approx(train.mean())


# ---------------------------------------------------------------- what can be wrong with a model


def test_a_model_that_says_nan_is_reported_and_loses_to_any_other(world: World) -> None:
    logistic, stump = world.train(logistic=LOGISTIC, stump=STUMP)
    _, scores = world.held_out(logistic)
    scores[2] = np.nan
    report = world.report([world.saying(logistic, scores), stump], METRICS)
    assert report.winner == "stump"
    assert report.candidates["logistic"].metrics == dict.fromkeys(METRICS)
    assert "1 of" in report.candidates["logistic"].undefined["roc_auc"]


def test_alone_a_model_that_says_nan_wins_with_no_metric_and_every_number_stays_finite(world: World) -> None:
    (model,) = world.train(logistic=LOGISTIC)
    _, scores = world.held_out(model)
    result = world.evaluate([world.saying(model, np.full_like(scores, np.nan))], METRICS, champion=champion_of(model))
    report = world.read(result)
    assert report.winner == "logistic"
    assert report.challenger.metrics == dict.fromkeys(METRICS)
    assert report.predictions.nulls == len(scores)
    assert report.intervals["roc_auc"].low is None
    assert "not finite" in str(report.intervals["roc_auc"].why)
    assert report.champion is not None
    assert report.champion.differences["roc_auc"].value is None
    assert report.importance is not None
    assert "not finite" in str(report.importance.why)
    assert result.facts["metrics"] == {}


def test_constant_predictions_are_worth_a_coin(world: World) -> None:
    (model,) = world.train(dummy={"estimator": "sklearn.dummy.DummyClassifier"})
    report = world.report([model], METRICS)
    assert report.challenger.metrics["roc_auc"] == 0.5
    assert report.predictions.shares["1"] == 0
    assert (report.intervals["roc_auc"].low, report.intervals["roc_auc"].high) == (0.5, 0.5)


def test_ten_held_out_rows_are_enough_to_be_judged(store: ArtifactStore) -> None:
    frame = rows_of("binary", rows=30)
    frame["target"] = (np.arange(30) % 2).astype("int64")
    world = World(store).load(frame)
    report = world.report(world.train(logistic=LOGISTIC), METRICS, slices=["town"])
    assert report.rows.holdout < 20
    assert report.challenger.metrics["roc_auc"] is not None
    assert report.slices == []


def test_the_same_seed_gives_the_same_numbers(world: World, tmp_path: Path) -> None:
    models = world.train(logistic=LOGISTIC)
    first = world.report(models, METRICS)
    (tmp_path / "other").mkdir()
    twin = World(ArtifactStore(str(tmp_path / "other"))).load(rows_of("binary"))
    second = twin.report(twin.train(logistic=LOGISTIC), METRICS)
    assert first.intervals == second.intervals
    assert first.importance == second.importance


def test_importing_the_step_imports_nothing_heavy() -> None:
    code = (
        "import sys, airflow_mlops_provider.steps.evaluate;"
        "print([name for name in ('numpy', 'pandas', 'sklearn', 'scipy', 'pyarrow', 'skops') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
