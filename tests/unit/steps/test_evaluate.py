from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression as SklearnLogistic
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from airflow_mlops_provider.data.tables import TableInfo, read_table, table_info, write_table
from airflow_mlops_provider.evaluation.report import EvaluationReport, SplitSignature, lineage_of
from airflow_mlops_provider.exceptions import ArtifactError, DataError, MLOpsError
from airflow_mlops_provider.job import Champion, StepRequest
from airflow_mlops_provider.modeling.predictions import predictions_frame, write_predictions
from airflow_mlops_provider.modeling.splits import read_split
from airflow_mlops_provider.results import MAX_XCOM_BYTES, StepResult
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.spec import Columns
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from pathlib import Path

AS_OF = datetime(2013, 6, 1, tzinfo=UTC)
LOGISTIC = {"estimator": "sklearn.linear_model.LogisticRegression"}
STUMP = {"estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 1}, "encode": "ordinal"}
RIDGE = {"estimator": "sklearn.linear_model.Ridge"}
MEAN = {"estimator": "sklearn.dummy.DummyRegressor"}
QUICK = {
    "bootstrap": {"resamples": 40},
    "importance": {"repeats": 2, "rows": 100},
    "latency_calls": 10,
    "min_slice_rows": 20,
}


def rows_of(task: str, rows: int = 400, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    height = generator.normal(size=rows)
    frame = pd.DataFrame(
        {
            "key": np.arange(rows),
            "height": height,
            "noise": generator.normal(size=rows),
            "town": pd.Categorical(generator.choice(["Ams", "Ber", "Cph"], size=rows, p=[0.6, 0.35, 0.05])),
        }
    )
    signal = height + generator.normal(scale=0.7, size=rows)
    if task == "binary":
        frame["target"] = (signal > 0.4).astype("int64")
    elif task == "multiclass":
        frame["target"] = pd.cut(signal, [-9, -0.5, 0.5, 9], labels=["low", "mid", "top"]).astype(str)
    else:
        frame["target"] = 10 + 3 * signal
    return frame


@dataclass
class World:
    """A dataset, its split, and candidates trained on it by the real steps."""

    store: ArtifactStore
    task: str = "binary"
    dataset: list[StepResult] = field(default_factory=list)
    split: list[StepResult] = field(default_factory=list)

    def load(
        self, frame: pd.DataFrame, split: str = "random", roles: dict[str, Any] | None = None, **preparation: Any
    ) -> World:
        self.ingest(frame, roles or {})
        section = {"split": {"by": split, "holdout": 0.4, "folds": 4}, **preparation}
        self.split = [self.run("prepare", section, dataset=self.dataset)]
        return self

    def ingest(self, frame: pd.DataFrame, roles: dict[str, Any]) -> None:
        usual = {"target": "target", "numeric": ["height", "noise"], "categorical": ["town"], "keys": ["key"]}
        table = pa.Table.from_pandas(frame, preserve_index=False)
        info = TableInfo(task=self.task, columns=Columns(**usual | roles))
        ref = write_table(self.store, [table.slice(0, 250), table.slice(250)], table.schema, info)
        self.dataset = [self.result("ingest", {"dataset": ref})]

    def train(self, **candidates: dict[str, Any]) -> list[StepResult]:
        return [
            self.run("train", {"name": name, "candidate": candidate}, dataset=self.dataset, split=self.split)
            for name, candidate in candidates.items()
        ]

    def evaluate(
        self, models: list[StepResult], metrics: list[str], *, champion: Champion | None = None, **changes: Any
    ) -> StepResult:
        asked = changes.pop("candidates", [str(model.facts["candidate"]) for model in models])
        section = {"evaluation": QUICK | changes, "metrics": metrics, "candidates": asked}
        inputs = {"dataset": self.dataset, "split": self.split, "models": models}
        return self.run("evaluate", section, champion=champion, **inputs)

    def report(self, *args: Any, **kwargs: Any) -> EvaluationReport:
        return self.read(self.evaluate(*args, **kwargs))

    def read(self, result: StepResult) -> EvaluationReport:
        return EvaluationReport.model_validate(self.store.read_json(result.artifacts["evaluation"]))

    def run(self, step: str, section: dict[str, Any], champion: Champion | None = None, **inputs: Any) -> StepResult:
        request = StepRequest(
            step=step, pipeline="towns", as_of=AS_OF, seed=3, section=section, inputs=inputs, champion=champion
        )
        return run_step(request, self.store)

    def result(self, step: str, artifacts: dict[str, Any]) -> StepResult:
        key = hashlib.sha256(step.encode()).hexdigest()
        return StepResult(step=step, pipeline="towns", key=key, as_of=AS_OF, artifacts=artifacts)

    def held_out(self, model: StepResult) -> tuple[np.ndarray, np.ndarray]:
        """Return the truth and the stored scores of the held-out rows."""
        said = predictions_frame(self.store, model.artifacts["predictions"])
        target = read_table(self.store, self.dataset[0].artifacts["dataset"], ["target"])["target"].to_numpy()
        return target[said["row"]], said.drop(columns=["row", "fold"]).to_numpy()

    def saying(self, model: StepResult, scores: np.ndarray) -> StepResult:
        """Return the model's result with other stored predictions."""
        said = predictions_frame(self.store, model.artifacts["predictions"])
        ref = write_predictions(
            self.store, said["row"].to_numpy(np.int32), said["fold"].to_numpy(np.int8), np.asarray(scores, float)
        )
        return model.model_copy(update={"artifacts": {**model.artifacts, "predictions": ref}})


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path))


@pytest.fixture
def world(store: ArtifactStore) -> World:
    return World(store).load(rows_of("binary"))


def champion_of(model: StepResult, **changes: Any) -> Champion:
    values: dict[str, Any] = {"seq": 1, "version": 7, "digest": "d", "model": model.artifacts["model"]}
    return Champion(**values | {"order_key": AS_OF, "metrics": {}} | changes)


METRICS = ["roc_auc", "log_loss", "brier"]


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
    assert result.facts["lineage"] == lineage_of(reversed(models))


def test_a_lost_candidate_is_reported(world: World) -> None:
    result = world.evaluate(world.train(logistic=LOGISTIC), METRICS, candidates=["logistic", "forest"])
    assert result.facts["lost"] == ["forest"]
    assert world.read(result).lost == ["forest"]


def test_the_facts_fit_into_xcom_however_many_candidates_are_lost(world: World) -> None:
    asked = [f"candidate-with-a-name-as-long-as-it-may{index:02}" for index in range(50)]
    result = world.evaluate(world.train(logistic=LOGISTIC), METRICS, candidates=["logistic", *asked], slices=["town"])
    assert result.facts["lost_count"] == 50
    assert len(json.dumps(result.xcom())) < MAX_XCOM_BYTES * 3 / 4


def test_no_candidate_is_an_error_that_says_what_is_missing(world: World) -> None:
    with pytest.raises(MLOpsError, match="no trained candidate"):
        world.evaluate([], METRICS)


def test_predictions_of_other_rows_are_refused(world: World) -> None:
    (model,) = world.train(logistic=LOGISTIC)
    other = World(world.store).load(rows_of("binary", rows=300, seed=5))
    with pytest.raises(ArtifactError, match="candidate 'logistic' are not of the held-out rows"):
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


# ---------------------------------------------------------------- slices


def test_every_slice_with_enough_rows_is_measured_and_the_worst_is_named(world: World) -> None:
    (model,) = world.train(logistic=LOGISTIC)
    result = world.evaluate([model], METRICS, slices=["town"])
    report = world.read(result)
    assert {item.value for item in report.slices} == {"Ams", "Ber"}
    assert report.too_small == {"town": 1}
    worst = min(report.slices, key=lambda item: item.metrics["roc_auc"] or 0)
    assert report.worst_slices["roc_auc"].value == worst.value
    assert report.worst_slices["log_loss"].metric == max(item.metrics["log_loss"] or 0 for item in report.slices)
    assert result.facts["worst_slice"]["value"] == worst.value
    truth, scores = world.held_out(model)
    towns = rows_of("binary")["town"].iloc[predictions_frame(world.store, model.artifacts["predictions"])["row"]]
    inside = (towns == "Ber").to_numpy()
    (slice_,) = [item for item in report.slices if item.value == "Ber"]
    assert slice_.rows == inside.sum()
    assert slice_.metrics["roc_auc"] == pytest.approx(roc_auc_score(truth[inside], scores[inside, 1]), abs=1e-9)


def test_a_slice_of_one_class_is_kept_with_the_reason(store: ArtifactStore) -> None:
    frame = rows_of("binary")
    frame.loc[frame["town"] == "Ber", "target"] = 0
    world = World(store).load(frame)
    report = world.report(world.train(logistic=LOGISTIC), METRICS, slices=["town"])
    (slice_,) = [item for item in report.slices if item.value == "Ber"]
    assert slice_.metrics["roc_auc"] is None
    assert slice_.undefined == {"roc_auc": "there is no row of class 1"}
    assert slice_.metrics["brier"] is not None
    assert report.worst_slices["roc_auc"].value == "Ams"


def test_rows_without_a_value_are_a_slice_of_their_own(store: ArtifactStore) -> None:
    frame = rows_of("binary")
    frame.loc[frame.index[:150], "town"] = None
    world = World(store).load(frame, missing={"max_share": 0.5})
    report = world.report(world.train(logistic=LOGISTIC), METRICS, slices=["town"])
    assert "(missing)" in {item.value for item in report.slices}


# ---------------------------------------------------------------- the champion


def test_a_champion_that_is_the_challenger_differs_by_nothing(world: World) -> None:
    (model,) = world.train(logistic=LOGISTIC)
    report = world.report([model], METRICS, champion=champion_of(model))
    assert report.champion is not None
    assert report.champion.compared == "paired"
    assert report.champion.metrics == pytest.approx(report.challenger.metrics)
    for name in METRICS:
        difference = report.champion.differences[name]
        assert difference.value == pytest.approx(0, abs=1e-12)
        assert difference.quantiles == pytest.approx([0.0] * 40, abs=1e-9)


def test_a_better_challenger_gains_on_the_same_resamples(world: World) -> None:
    logistic, stump = world.train(logistic=LOGISTIC, stump=STUMP)
    result = world.evaluate([logistic], METRICS, champion=champion_of(stump))
    champion = world.read(result).champion
    assert champion is not None
    truth, scores = world.held_out(stump)
    assert champion.metrics["roc_auc"] == pytest.approx(roc_auc_score(truth, scores[:, 1]), abs=1e-9)
    for name in METRICS:
        difference = champion.differences[name]
        assert difference.value is not None
        assert difference.value > 0
        assert difference.quantiles == sorted(difference.quantiles)
        assert difference.quantiles[0] < difference.value < difference.quantiles[-1]
    assert result.facts["champion"] == 7


def test_a_champion_may_use_a_feature_that_was_dropped_since(world: World) -> None:
    (model,) = world.train(logistic=LOGISTIC)
    frame = rows_of("binary")
    frame.loc[frame.index[::2], "noise"] = np.nan
    later = World(world.store).load(frame, missing={"max_share": 0.3, "over": "drop"})
    report = later.report(later.train(stump=STUMP), METRICS, champion=champion_of(model))
    assert report.champion is not None
    assert report.champion.unusable is None
    assert report.champion.metrics["roc_auc"] is not None


@pytest.mark.parametrize(
    ("change", "roles", "reason"),
    [
        (lambda frame: frame.drop(columns="noise"), {"numeric": ["height"]}, "needs feature 'noise' as numeric"),
        (
            lambda frame: frame.assign(height=pd.Categorical(frame["height"].round().astype(str))),
            {"numeric": ["noise"], "categorical": ["town", "height"]},
            "needs feature 'height' as numeric: got 'height' as categorical",
        ),
        (
            lambda frame: frame.assign(town=frame["town"].cat.codes.astype(float)),
            {"numeric": ["noise", "height", "town"], "categorical": []},
            "needs feature 'town' as categorical",
        ),
        (lambda frame: frame.assign(target=frame["target"].map({0: "no", 1: "yes"})), {}, "other classes"),
    ],
    ids=["column gone", "number now a category", "category now a number", "other classes"],
)
def test_a_champion_that_cannot_be_asked_is_unusable_with_the_reason(
    world: World, change: Any, roles: dict[str, Any], reason: str
) -> None:
    (model,) = world.train(logistic=LOGISTIC)
    later = World(world.store).load(change(rows_of("binary")), roles=roles)
    result = later.evaluate(later.train(stump=STUMP), METRICS, champion=champion_of(model))
    champion = later.read(result).champion
    assert champion is not None
    assert champion.unusable is not None
    assert reason in champion.unusable
    assert champion.differences == {}
    assert champion.metrics == dict.fromkeys(METRICS)
    assert result.facts["champion"] == 7


@pytest.mark.parametrize(
    ("before", "paired"),
    [
        ({"by": "random", "holdout": 0.4}, True),
        ({"by": "random", "holdout": 0.3}, False),
        ({"by": "cross_validation", "folds": 4}, False),
    ],
)
def test_a_champion_of_another_split_has_seen_rows_that_are_held_out_now(
    store: ArtifactStore, before: dict[str, Any], paired: bool
) -> None:
    first = World(store).load(rows_of("binary"), **{"split": before["by"]})
    first.split = [first.run("prepare", {"split": before}, dataset=first.dataset)]
    (model,) = first.train(logistic=LOGISTIC)
    judged = first.evaluate([model], METRICS)
    champion = champion_of(model, metrics={"roc_auc": 0.6}, evaluation=judged.artifacts["evaluation"])
    now = World(store).load(rows_of("binary"))
    report = now.report(now.train(stump=STUMP), METRICS, champion=champion)
    assert report.champion is not None
    assert report.champion.compared == ("paired" if paired else "recorded")
    assert (report.champion.seen is None) == paired
    then = first.read(judged)
    # Asked on the very rows that it was measured on then, it says the same.
    assert report.champion.intervals == then.intervals
    assert report.champion.calibration == then.challenger.calibration
    assert (report.champion.candidate, report.champion.rows) == ("logistic", then.rows)
    assert report.champion.features == {"height": "numeric", "noise": "numeric", "town": "categorical"}


def test_by_time_only_a_champion_of_a_later_boundary_has_seen_the_holdout() -> None:
    early, late = (SplitSignature(by="time", holdout=0.2, boundary=day) for day in ("2013-01-01", "2013-02-01"))
    assert early.trained_on_holdout_of(late) is None
    assert early.trained_on_holdout_of(early) is None
    assert "2013-02-01" in str(late.trained_on_holdout_of(early))


# ---------------------------------------------------------------- cross-validation, other tasks


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
    assert len(report.champion.differences["roc_auc"].quantiles) == 40
    assert report.champion.differences["log_loss"].value is None
    assert report.importance is not None
    assert report.importance.in_sample


def test_a_cross_validation_tells_each_fold_and_how_far_their_mean_can_be_trusted(store: ArtifactStore) -> None:
    frame = rows_of("binary").assign(at=pd.date_range("2013-01-01", periods=400, freq="h", tz="UTC"))
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


# ---------------------------------------------------------------- the winner


def test_importance_finds_the_column_that_matters(world: World) -> None:
    report = world.report(world.train(logistic=LOGISTIC), METRICS)
    assert report.importance is not None
    assert set(report.importance.columns) == {"height", "noise", "town"}
    assert report.importance.columns["height"].mean > 0.1
    assert abs(report.importance.columns["noise"].mean) < 0.1
    assert report.importance.rows == 100


def test_importance_for_a_loss_is_positive_too(world: World) -> None:
    report = world.report(world.train(logistic=LOGISTIC), ["log_loss"])
    assert report.importance is not None
    assert report.importance.columns["height"].mean > 0.1


def test_importance_can_be_left_out(world: World) -> None:
    assert world.report(world.train(logistic=LOGISTIC), METRICS, importance=None).importance is None


def test_speed_and_size_are_measured(world: World) -> None:
    (model,) = world.train(logistic=LOGISTIC)
    report = world.report([model], METRICS)
    assert 0 < report.latency.p50_ms <= report.latency.p95_ms < 5000
    assert report.latency.rows_per_second > 100
    assert report.latency.calls == 10
    assert report.model_bytes == model.artifacts["model"].size


def test_a_forest_is_timed_on_one_thread_whatever_n_jobs_it_has(world: World) -> None:
    import threading

    forest = {"estimator": "sklearn.ensemble.RandomForestClassifier", "params": {"n_estimators": 20, "n_jobs": 4}}
    models = world.train(forest=forest)
    started: list[str] = []
    threading.setprofile(lambda *_: started.append(threading.current_thread().name))
    try:
        report = world.report(models, METRICS)
    finally:
        threading.setprofile(None)
    assert report.latency.p50_ms > 0
    assert started == []


def test_prediction_shares_stand_beside_those_of_the_training_target(world: World) -> None:
    (model,) = world.train(logistic=LOGISTIC)
    stats = world.report([model], METRICS).predictions
    _, scores = world.held_out(model)
    assert stats.shares["1"] == pytest.approx((scores[:, 1] > 0.5).mean())
    assert stats.expected_shares["1"] == pytest.approx(scores[:, 1].mean())
    assert stats.shift == pytest.approx(abs(stats.expected_shares["1"] - stats.target_shares["1"]))


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


def test_a_cached_result_is_returned_for_the_same_champion_only(world: World) -> None:
    logistic, stump = world.train(logistic=LOGISTIC, stump=STUMP)
    assert not world.evaluate([logistic], METRICS, champion=champion_of(stump)).cached
    assert world.evaluate([logistic], METRICS, champion=champion_of(stump)).cached
    assert not world.evaluate([logistic], METRICS, champion=champion_of(stump, version=8)).cached


def test_importing_the_step_imports_nothing_heavy() -> None:
    code = (
        "import sys, airflow_mlops_provider.steps.evaluate;"
        "print([name for name in ('numpy', 'pandas', 'sklearn', 'scipy', 'pyarrow', 'skops') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


# ------------------------------------------------------------------------------------------------ the reference


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("split", ["random", "cross_validation"])
def test_the_reference_is_the_data_and_what_the_winner_said_of_rows_held_out(
    store: ArtifactStore, task: str, split: str
) -> None:
    frame = rows_of(task)
    world = World(store, task).load(frame, split)
    models = world.train(one=RIDGE if task == "regression" else LOGISTIC)
    metric = {"regression": "rmse"}.get(task, "log_loss")
    result = world.evaluate(models, [metric])
    found = read_table(store, result.artifacts["reference"])
    assert found["height"].tolist() == frame["height"].tolist()
    assert found["target"].tolist() == frame["target"].tolist()
    info = table_info(store, result.artifacts["reference"])
    assert (info.task, info.columns.features, info.columns.keys) == (task, ["height", "noise", "town"], [])
    held_out = np.arange(len(frame)) if split == "cross_validation" else held_out_rows(world)
    assert np.flatnonzero(found["prediction"].notna()).tolist() == list(held_out)
    said = predictions_frame(store, models[0].artifacts["predictions"])
    names = [name for name in said if name.startswith(("p_", "prediction"))]
    assert found[names].dropna().to_numpy() == pytest.approx(said[names].to_numpy())
    if task != "regression":
        classes = np.array(sorted(frame["target"].unique()))
        assert found["prediction"].dropna().tolist() == classes[said[names].to_numpy().argmax(axis=1)].tolist()


def held_out_rows(world: World) -> list[int]:
    split = world.split[0].artifacts
    return np.flatnonzero(read_split(world.store, split["split"], split["assignment"]).fold).tolist()


def test_a_large_reference_is_a_sample_spread_over_the_rows(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_mlops_provider.evaluation.reference.MAX_ROWS", 60)
    frame = rows_of("binary")
    world = World(store).load(frame)
    result = world.evaluate(world.train(one=LOGISTIC), ["log_loss"])
    found = read_table(store, result.artifacts["reference"])
    positions = [frame["height"].tolist().index(height) for height in found["height"]]
    assert (len(positions), positions[0]) == (60, 0)
    assert positions == sorted(set(positions))
    assert max(np.diff(positions)) <= len(frame) // 60 + 1
    held_out = set(held_out_rows(world))
    assert [position in held_out for position in positions] == found["prediction"].notna().tolist()


def test_equal_trainings_have_equal_references(tmp_path: Path) -> None:
    refs = []
    for name in ("a", "b"):
        world = World(ArtifactStore(str(tmp_path / name))).load(rows_of("binary"))
        refs.append(world.evaluate(world.train(one=STUMP), ["log_loss"]).artifacts["reference"].sha256)
    assert refs[0] == refs[1]
