"""The model that serves: fitted on all rows, with what the judged one settled on rows of its own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from evaluated_world import LOGISTIC, RIDGE, World, rows_of
from sklearn.base import BaseEstimator, ClassifierMixin

from airflow_mlops_provider.data.tables import read_table, table_info
from airflow_mlops_provider.modeling.model_file import load_model
from airflow_mlops_provider.modeling.refit_report import RefitReport
from airflow_mlops_provider.modeling.threshold import threshold_of

if TYPE_CHECKING:
    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.storage import ArtifactStore

BOOSTING = {
    "estimator": "sklearn.ensemble.HistGradientBoostingClassifier",
    "params": {"early_stopping": True, "max_iter": 200, "min_samples_leaf": 5},
    "encode": "ordinal",
}


def refitted(world: World, candidate: dict[str, Any], *, metric: str = "log_loss", **section: Any) -> StepResult:
    [judged] = world.train(one=candidate)
    section = {"name": "one", "candidate": candidate, "metric": metric, **section}
    return world.run("refit", section, dataset=world.dataset, split=world.split, models=[judged])


def report_of(world: World, result: StepResult) -> RefitReport:
    return world.store.read_document(result.artifacts["refit"], RefitReport)


def dated(rows: int = 400) -> pd.DataFrame:
    days = pd.date_range("2013-01-01", periods=rows, freq="6h", tz="UTC").as_unit("us")
    return rows_of("binary", rows).assign(moment=days)


@pytest.fixture
def in_time(store: ArtifactStore) -> World:
    return World(store).load(dated(), "time", {"timestamp": "moment"})


def test_it_is_fitted_on_all_rows(in_time: World) -> None:
    tree = {"estimator": "sklearn.tree.DecisionTreeClassifier", "encode": "ordinal"}  # knows its rows by heart

    result = refitted(in_time, tree, metric="brier")

    report = report_of(in_time, result)
    model = load_model(in_time.store, result.artifacts["model"])
    frame = dated()
    assert (model.predict(frame[["height", "noise", "town"]].astype({"town": str})) == frame["target"]).all()
    assert (report.refitted, report.rows, report.judged_rows) == (True, 400, 240)
    assert report.trained_to == datetime(2013, 4, 10, 18, tzinfo=UTC)
    assert report.judged_to == datetime(2013, 3, 1, 18, tzinfo=UTC)
    assert result.facts["trained_to"] == "2013-04-10T18:00:00Z"
    assert report.model != report.judged
    assert report.beside is not None
    assert report.beside.refitted == 0
    assert 0 < report.beside.moved <= report.beside.moved_p95


def test_equal_inputs_give_equal_bytes(world: World) -> None:
    forest = {"estimator": "sklearn.ensemble.RandomForestClassifier", "params": {"n_estimators": 5, "n_jobs": -1}}
    first = refitted(world, forest)
    section = {"name": "one", "candidate": forest, "metric": "log_loss"}
    again = world.run(
        "refit", section, recompute=True, dataset=world.dataset, split=world.split, models=world.train(one=forest)
    )
    assert (again.key, again.artifacts) == (first.key, first.artifacts)


def test_calibration_and_threshold_are_those_of_the_judged_model(world: World) -> None:
    candidate = {**LOGISTIC, "calibrate": "isotonic", "threshold": {"recall": 0.8}}
    [judged] = world.train(one=candidate)

    result = refitted(world, candidate)

    before, now = (load_model(world.store, one.artifacts["model"]) for one in (judged, result))
    assert threshold_of(now) == threshold_of(before) == judged.facts["threshold"]
    [[old], [new]] = [model.named_steps["model"].estimator.estimator.calibrated_classifiers_ for model in (before, now)]
    np.testing.assert_array_equal(old.calibrators[0].X_thresholds_, new.calibrators[0].X_thresholds_)
    base, anew = (one.estimator.estimator for one in (old, new))
    assert not np.array_equal(base.coef_, anew.coef_)
    plain = refitted(world, LOGISTIC)
    np.testing.assert_array_equal(
        anew.coef_, load_model(world.store, plain.artifacts["model"]).named_steps["model"].coef_
    )


def test_a_new_category_reaches_a_calibrated_model(store: ArtifactStore) -> None:
    frame = dated()
    frame["town"] = frame["town"].astype(str)
    frame.loc[380:, "town"] = "Dub"  # of the holdout alone
    world = World(store).load(frame, "time", {"timestamp": "moment"})
    result = refitted(world, {**LOGISTIC, "calibrate": "sigmoid"})
    model = load_model(store, result.artifacts["model"])
    assert result.failure is None
    assert model.predict_proba(frame[["height", "noise", "town"]]).shape == (400, 2)


def test_a_boosting_goes_as_many_rounds_as_the_judged_one(world: World) -> None:
    [judged] = world.train(one=BOOSTING)

    result = refitted(world, BOOSTING)

    before, now = (load_model(world.store, one.artifacts["model"]).named_steps["model"] for one in (judged, result))
    assert now.n_iter_ == before.n_iter_ < 200
    assert (now.early_stopping, now.do_early_stopping_) == (False, False)


def test_the_parameters_of_a_search_are_taken_over(world: World) -> None:
    search = {"method": "grid", "metric": "log_loss", "space": {"C": [0.001, 10.0]}}
    [judged] = world.train(one={**LOGISTIC, "search": search})
    now = load_model(world.store, refitted(world, {**LOGISTIC, "search": search}).artifacts["model"])
    assert now.named_steps["model"].C == load_model(world.store, judged.artifacts["model"]).named_steps["model"].C != 1


@pytest.mark.parametrize(
    ("split", "refit", "says"),
    [
        ("cross_validation", "all", "after a cross-validation it is fitted on all rows already"),
        ("random", "none", "training.refit is none"),
    ],
)
def test_where_nothing_is_fitted_anew_the_judged_model_serves(
    store: ArtifactStore, split: str, refit: str, says: str
) -> None:
    world = World(store).load(rows_of("binary"), split)
    [judged] = world.train(one=LOGISTIC)

    result = refitted(world, LOGISTIC, refit=refit)

    report = report_of(world, result)
    assert result.artifacts["model"] == report.judged == judged.artifacts["model"]
    assert (report.refitted, report.trained_to, report.rows) == (False, None, report.judged_rows)
    assert says in str(result.facts["reason"])


def test_without_a_refit_it_says_what_the_judged_model_saw(in_time: World) -> None:
    assert report_of(in_time, refitted(in_time, LOGISTIC, refit="none")).trained_to == datetime(
        2013, 3, 1, 18, tzinfo=UTC
    )


def test_a_regression_is_refitted(store: ArtifactStore) -> None:
    world = World(store, "regression").load(rows_of("regression"))
    report = report_of(world, refitted(world, RIDGE, metric="rmse"))
    assert report.beside is not None
    assert (report.beside.metric, report.beside.changed) == ("rmse", None)


class Turning(ClassifierMixin, BaseEstimator):
    """Learns a sign, until it sees more than 300 rows: then it is what `then` says."""

    def __init__(self, then: str = "constant") -> None:
        self.then = then

    def fit(self, x: Any, y: Any) -> Turning:
        self.classes_ = np.unique(y)
        self.turned_ = len(y) > 300
        self.n_features_in_ = x.shape[1]
        return self

    def predict_proba(self, x: Any) -> Any:
        values = 1 / (1 + np.exp(-2 * np.asarray(x)[:, 0]))
        if self.turned_:
            values = {"constant": np.full(len(values), 0.5), "missing": values * np.nan, "worse": 1 - values}[self.then]
        return np.column_stack([1 - values, values])


@pytest.mark.parametrize(
    ("then", "says"),
    [
        ("constant", "predicts the same for every row"),
        ("missing", "makes no prediction for some rows"),
        ("worse", "is worse on rows that it was fitted on"),
    ],
)
def test_a_broken_model_is_red(world: World, monkeypatch: pytest.MonkeyPatch, then: str, says: str) -> None:
    from airflow_mlops_provider.allow_list import AllowList
    from airflow_mlops_provider.modeling import model_file

    monkeypatch.setattr(AllowList, "load", lambda self, name: Turning)
    monkeypatch.setattr(AllowList, "check", lambda self, name: None)
    monkeypatch.setattr(AllowList, "fingerprint", lambda self, name: "")
    monkeypatch.setattr(model_file, "TRUSTED_TYPES", model_file.TRUSTED_TYPES | {f"{__name__}.Turning"})

    result = refitted(world, {"estimator": "turning.Turning", "params": {"then": then}})

    assert result.failure is not None
    assert says in result.failure.what
    assert "training.refit to none" in str(result.failure.hint)


def test_a_model_that_was_constant_when_it_was_judged_is_not_broken(world: World) -> None:
    assert refitted(world, {"estimator": "sklearn.dummy.DummyClassifier"}).failure is None


def test_a_model_too_large_is_red(world: World) -> None:
    failure = refitted(world, LOGISTIC, max_mb=0.001).failure
    assert failure is not None
    assert "is too large" in failure.what


def test_the_reference_holds_what_serves_says_of_all_rows_beside_what_was_judged(in_time: World) -> None:
    result = refitted(in_time, LOGISTIC)
    ref = report_of(in_time, result).reference
    assert ref is not None
    found = read_table(in_time.store, ref)
    model = load_model(in_time.store, result.artifacts["model"])
    expected = model.predict_proba(found[["height", "noise", "town"]].astype({"town": str}))[:, 1]
    assert found["serving_p_1"].to_numpy() == pytest.approx(expected)
    assert found["p_1"].notna().sum() == 160, "the judged model's are of the held-out rows"
    assert table_info(in_time.store, ref).columns.timestamp == "moment"
    unchanged = refitted(in_time, LOGISTIC, refit="none")
    assert report_of(in_time, unchanged).reference is None
