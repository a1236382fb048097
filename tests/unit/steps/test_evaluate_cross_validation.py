from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from evaluated_world import LOGISTIC, MEAN, METRICS, RIDGE, STUMP, World, champion_of, rows_of
from sklearn.datasets import load_breast_cancer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression as SklearnLogistic
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from airflow_mlops_provider.evaluation.report import EvaluationReport
from airflow_mlops_provider.modeling.splits import read_split

if TYPE_CHECKING:
    from airflow_mlops_provider.job import Champion
    from airflow_mlops_provider.storage import ArtifactStore


def test_under_cross_validation_the_champion_is_compared_by_its_recorded_metrics(store: ArtifactStore) -> None:
    world = World(store).load(rows_of("binary"), split="cross_validation")
    (model,) = world.train(logistic=LOGISTIC)
    recorded = champion_of(model, metrics={"roc_auc": 0.6})
    report = world.report([model], METRICS, champion=recorded)
    assert report.rows.model_dump() == {"total": 400, "training": 400, "holdout": 400}
    assert len(report.challenger.folds["roc_auc"]) == 4
    folds = [value for value in report.challenger.folds["roc_auc"] if value is not None]
    assert min(folds) < (report.challenger.metrics["roc_auc"] or 0) < max(folds)
    assert report.champion is not None
    assert report.champion.compared == "recorded"
    assert report.champion.metrics == {"roc_auc": 0.6, "log_loss": None, "brier": None}
    assert report.champion.differences["roc_auc"].value == pytest.approx(
        (report.challenger.metrics["roc_auc"] or 0) - 0.6
    )
    assert len(report.champion.differences["roc_auc"].quantiles) == 1001
    assert report.champion.differences["log_loss"].value is None
    assert report.importance is not None
    assert report.importance.in_sample


def test_a_cross_validation_tells_each_fold_and_how_far_their_mean_can_be_trusted(store: ArtifactStore) -> None:
    frame = rows_of("binary").assign(at=pd.date_range("2013-01-01", periods=400, freq="12h", tz="UTC"))
    world = World(store)
    world.ingest(frame, {"timestamp": "at"})
    split = {"by": "cross_validation", "kind": "time_series", "folds": 4}
    world.split = [world.run("prepare", {"split": split}, dataset=world.dataset)]
    models = world.train(logistic=LOGISTIC, stump=STUMP)
    result = world.evaluate(models, ["roc_auc", "log_loss"])
    report = world.read(result)
    found = read_split(store, *(world.split[0].artifacts[name] for name in ("split", "assignment")))
    for scores in report.candidates.values():
        values, mean = scores.folds["roc_auc"], scores.fold_means["roc_auc"]
        assert mean.mean == pytest.approx(np.mean(values))
        # Nadeau & Bengio (2003) by hand: 80 rows held out, 80 to 320 trained on.
        ratio = np.mean([80 / found.train_mask(number).sum() for number in range(1, 5)])
        half = 3.182446 * np.std(values, ddof=1) * np.sqrt(1 / 4 + ratio)
        assert [mean.low, mean.high] == pytest.approx([mean.mean - half, mean.mean + half], abs=1e-5)
    assert len(report.fold_intervals["log_loss"]) == 4
    assert all(span.low < span.high for span in report.fold_intervals["log_loss"])
    assert (report.rows.training, report.rows.holdout) == (400, 320)
    assert result.facts["folds"]["mean"] == pytest.approx(report.challenger.fold_means["roc_auc"].mean)
    shown = store.fetch(result.artifacts["report"]).read_text(encoding="utf-8")
    assert "roc_auc over 4 folds" in shown
    assert f"{report.challenger.fold_means['roc_auc'].low:.5g} to " in shown


@pytest.mark.parametrize(("kind", "group"), [("stratified", None), ("stratified_grouped", "ward")])
def test_folds_of_real_patients_agree_with_scikit_learn(kind: str, group: str | None, store: ArtifactStore) -> None:
    frame = load_breast_cancer(as_frame=True).frame.rename(columns=str.title).rename(columns={"Target": "target"})
    frame = frame.assign(patient=np.arange(len(frame)), ward=[f"ward {number % 40}" for number in range(len(frame))])
    numeric = [name for name in frame if name.startswith("Mean")]
    world = World(store)
    world.ingest(frame, {"numeric": numeric, "categorical": [], "keys": ["patient", "ward"]})
    split = {"by": "cross_validation", "kind": kind, "folds": 4, "group": group}
    world.split = [world.run("prepare", {"split": split}, dataset=world.dataset)]
    report = world.report(world.train(logistic=LOGISTIC), ["roc_auc"])
    found = read_split(store, *(world.split[0].artifacts[name] for name in ("split", "assignment")))
    model = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), SklearnLogistic())
    parts = [(np.flatnonzero(found.train_mask(k)), np.flatnonzero(found.holdout_mask(k))) for k in range(1, 5)]
    theirs = cross_val_score(model, frame[numeric], frame["target"], scoring="roc_auc", cv=parts)
    assert report.challenger.folds["roc_auc"] == pytest.approx(theirs, abs=1e-6)
    mean = report.challenger.fold_means["roc_auc"]
    assert 0.95 < mean.low < mean.mean < mean.high
    if group is not None:
        assert frame.groupby("ward").apply(lambda own: len(set(found.fold[own.index])), include_groups=False).max() == 1


def test_the_baseline_of_a_cross_validation_knows_only_the_other_folds(store: ArtifactStore) -> None:
    world = World(store, "regression").load(rows_of("regression"), split="cross_validation")
    report = world.report(world.train(mean=MEAN), ["rmse", "r2"])
    assert report.baseline.metrics == pytest.approx(report.challenger.metrics)


def judged_champion(world: World, candidate: dict[str, Any], metrics: list[str]) -> Champion:
    """A champion that the same steps made of the world's data."""
    models = world.train(one=candidate)
    result = world.evaluate(models, metrics, bootstrap={"resamples": 2000})
    report = world.read(result)
    return champion_of(
        models[0],
        metrics=report.challenger.metrics,
        evaluation=result.artifacts["evaluation"],
        reference=result.artifacts["reference"],
    )


@pytest.mark.parametrize(
    ("task", "weak", "metrics"),
    [
        ("binary", {**STUMP, "threshold": {"recall": 0.8}, "validation": 0.25}, ["roc_auc", "f1"]),
        ("regression", MEAN, ["rmse"]),
    ],
)
def test_two_cross_validations_are_compared_by_what_their_folds_said_of_common_rows(
    store: ArtifactStore, task: str, weak: dict[str, Any], metrics: list[str]
) -> None:
    world, frame = World(store, task), rows_of(task, 600)
    champion = judged_champion(world.load(frame.head(500), "cross_validation"), weak, metrics)
    then = store.read_document(champion.evaluation, EvaluationReport)
    world.load(frame.iloc[100:], "cross_validation")
    strong = LOGISTIC if task == "binary" else RIDGE
    report = world.report(world.train(two=strong), metrics, champion=champion)
    beside = report.champion
    assert beside is not None
    assert (beside.compared, beside.common) == ("paired", 400)
    found = beside.differences[metrics[0]]
    assert found.quantiles[25] > 0, "the better one is seen to be better"
    own, theirs = report.intervals[metrics[0]].error, beside.intervals[metrics[0]].error
    assert found.error is not None
    assert own is not None
    assert theirs is not None
    assert found.error < (own**2 + theirs**2) ** 0.5, "paired"
    for name in metrics:
        assert beside.metrics[name] == pytest.approx(then.challenger.metrics[name], rel=0.2)
    same = world.load(frame.head(500), "cross_validation").report(world.train(two=weak), metrics, champion=champion)
    assert same.champion is not None
    assert same.champion.metrics == pytest.approx(then.challenger.metrics), "of all rows, thresholds and all"
    assert {name: one.value for name, one in same.champion.differences.items()} == pytest.approx(
        dict.fromkeys(metrics, 0), abs=1e-12
    )


def test_where_few_rows_are_common_the_recorded_metric_is_compared_with_the_error_of_both(
    store: ArtifactStore,
) -> None:
    world, frame = World(store), rows_of("binary", 800)
    champion = judged_champion(world.load(frame.head(400), "cross_validation"), LOGISTIC, ["roc_auc"])
    then = store.read_document(champion.evaluation, EvaluationReport).intervals["roc_auc"].error
    report = world.load(frame.iloc[300:], "cross_validation").report(
        world.train(two=LOGISTIC), ["roc_auc"], champion=champion, bootstrap={"resamples": 2000}
    )
    beside, own = report.champion, report.intervals["roc_auc"].error
    assert beside is not None
    assert then is not None
    assert own is not None
    assert (beside.compared, beside.common) == ("recorded", None)
    found = beside.differences["roc_auc"]
    half = (found.quantiles[975] - found.quantiles[25]) / 2 / 1.96
    assert half == pytest.approx((own**2 + then**2) ** 0.5, rel=0.2)
    assert half > 1.1 * max(own, then)


def test_the_classes_of_a_champion_are_read_where_some_rows_were_never_held_out(store: ArtifactStore) -> None:
    world = World(store)
    frame = rows_of("binary", 700).assign(at=pd.date_range("2013-01-01", periods=700, freq="12h", tz="UTC"))
    split, roles = {"by": "cross_validation", "kind": "time_series", "folds": 4}, {"timestamp": "at"}
    candidate = {**STUMP, "threshold": {"recall": 0.8}, "validation": 0.25}
    champion = judged_champion(world.load(frame.head(600), split, roles), candidate, ["f1"])
    report = world.load(frame, split, roles).report(world.train(two=LOGISTIC), ["f1"], champion=champion)
    assert report.champion is not None
    assert report.champion.common is not None
    assert (report.champion.metrics["f1"] or 0) == pytest.approx(champion.metrics["f1"], abs=0.1)


def test_a_row_that_is_not_known_by_all_features_of_the_champion_is_not_taken_for_another(store: ArtifactStore) -> None:
    world, frame = World(store), rows_of("binary", 600)
    champion = judged_champion(world.load(frame, "cross_validation"), LOGISTIC, ["roc_auc"])
    fewer = {"numeric": [], "categorical": ["town"]}
    report = world.load(frame, "cross_validation", fewer).report(
        world.train(two=LOGISTIC), ["roc_auc"], champion=champion
    )
    assert report.champion is not None
    assert report.champion.compared == "recorded"


def test_rows_that_occur_twice_are_not_paired(store: ArtifactStore) -> None:
    world, frame = World(store), rows_of("binary", 400)
    doubled = pd.concat([frame, frame.head(100)]).reset_index(drop=True).assign(key=range(500))
    champion = judged_champion(world.load(doubled, "cross_validation"), LOGISTIC, ["roc_auc"])
    report = world.report(world.train(two=LOGISTIC), ["roc_auc"], champion=champion)
    assert report.champion is not None
    assert report.champion.common == 300
