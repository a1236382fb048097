"""The gate on predictions, on series whose time moves the target: a good model passes, a broken one never does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge

from airflow_mlops_provider.evaluation.gates import judge
from airflow_mlops_provider.evaluation.metrics import predictions_of
from airflow_mlops_provider.evaluation.probe_report import Latency, PredictionStats
from airflow_mlops_provider.evaluation.probes import prediction_stats
from airflow_mlops_provider.evaluation.report import CandidateScores, EvaluationReport, Rows, Scores
from airflow_mlops_provider.spec.gates import PredictionsGate

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.verdicts import Verdict
    from airflow_mlops_provider.spec.frozen import Task

ROWS, HELD_OUT = 1000, 200
#: As `init` drafts it.
DRAFTED = {"kind": "predictions", "max_shift": 0.75}


def judged(gate: dict[str, Any], stats: PredictionStats, task: Task = "regression") -> Verdict:
    scores = Scores(metrics={"a metric": 1.0})
    report = EvaluationReport(
        task=task,
        as_of=datetime(2026, 1, 1, tzinfo=UTC),
        metrics=["a metric"],
        split={"by": "time"},
        folds=1,
        rows=Rows(total=ROWS, training=ROWS - HELD_OUT, holdout=HELD_OUT),
        candidates={"it": CandidateScores(metrics=scores.metrics)},
        winner="it",
        intervals={},
        baseline=scores,
        latency=Latency(p50_ms=1, p95_ms=1, rows_per_second=1, calls=1, batch_rows=1),
        predictions=stats,
        model_bytes=1,
        lineage="",
    )
    [verdict] = judge([PredictionsGate.model_validate(gate)], report)
    return verdict


class Series:
    """A target that grows over its time, with a season and noise; the last fifth is held out."""

    def __init__(self, slope: float, seed: int, kind: str = "straight") -> None:
        chance = np.random.default_rng(seed)
        time = np.linspace(0, 1, ROWS)
        growth = {"straight": time, "doubling": (2 ** (4 * time) - 1) / 15, "step": (time > 0.8) * 1.0}[kind]
        season = np.sin(2 * np.pi * 12 * time)
        self.target = 100 + slope * growth + 5 * season + chance.normal(0, 2, ROWS)
        self.features = np.column_stack([growth, season, chance.normal(0, 1, ROWS)])

    def predictions(self, model: Any) -> NDArray[Any]:
        trained = model.fit(self.features[:-HELD_OUT], self.target[:-HELD_OUT])
        predictions: NDArray[Any] = trained.predict(self.features[-HELD_OUT:])
        return predictions

    def turned(self, predictions: NDArray[Any]) -> NDArray[Any]:
        """Return predictions that leave the training target on its other side, and three deviations further."""
        known = self.target[:-HELD_OUT]
        turned: NDArray[Any] = 2 * known.mean() - predictions
        return turned + 3 * known.std() * np.sign(known.mean() - predictions.mean())

    def verdict(self, predictions: NDArray[Any]) -> Verdict:
        beside = predictions_of("regression", self.target[-HELD_OUT:], predictions)
        return judged(DRAFTED, prediction_stats(beside, self.target[:-HELD_OUT]))


MODELS: dict[str, Callable[[], Any]] = {
    "ridge": lambda: Ridge(),
    "forest": lambda: RandomForestRegressor(20, random_state=0),
}


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("slope", [-400, -30, 0, 10, 30, 100, 1000])
@pytest.mark.parametrize("name", MODELS)
def test_a_good_model_of_a_series_that_grows_passes(name: str, slope: float, seed: int) -> None:
    series = Series(slope, seed)
    verdict = series.verdict(series.predictions(MODELS[name]()))
    assert verdict.passed, verdict


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", ["doubling", "step"])
def test_growth_may_be_of_any_shape(kind: str, name: str) -> None:
    series = Series(200, 1, kind)
    assert series.verdict(series.predictions(MODELS[name]())).passed


@pytest.mark.parametrize("slope", [-400, 0, 30, 1000])
@pytest.mark.parametrize(
    ("what", "broken"),
    [
        ("nothing but zero", lambda good, series: good * 0),
        ("another unit", lambda good, series: good * 100),
        ("another sign", lambda good, series: -good),
        ("the wrong way", lambda good, series: series.turned(good)),
        ("far above", lambda good, series: np.maximum(good, series.target.max()) + 2 * series.target.std()),
        ("far below", lambda good, series: np.minimum(good, series.target.min()) - 2 * series.target.std()),
        ("all over the place", lambda good, series: good + np.random.default_rng(0).normal(0, 5000, HELD_OUT)),
    ],
)
def test_a_broken_model_is_refused_however_the_series_grows(what: str, broken: Any, slope: float) -> None:
    series = Series(slope, 1)
    verdict = series.verdict(broken(series.predictions(Ridge()), series))
    assert not verdict.passed, (what, verdict)
    assert verdict.why == "predictions are far from the training target and from the held-out one"


def test_the_shift_of_rows_that_time_did_not_move_is_the_distance_from_the_training_target() -> None:
    chance = np.random.default_rng(0)
    target = chance.normal(0, 1, 500)
    stats = prediction_stats(predictions_of("regression", target, target + 2), target)
    assert stats.target_shift == 0
    assert stats.unexplained_shift == pytest.approx(stats.shift)
    assert stats.shift == pytest.approx(2 / target.std())


def test_the_words_name_what_time_explains() -> None:
    series = Series(1000, 1)
    verdict = series.verdict(series.predictions(Ridge()))
    assert verdict.got == "0 nulls, shift 0 beyond the target's own (of 2.112)"


def test_an_older_evaluation_is_judged_by_the_distance_that_it_holds() -> None:
    older = PredictionStats(rows=20, nulls=0, shift=0.8)
    assert not judged(DRAFTED, older).passed
    assert judged({**DRAFTED, "max_shift": 0.9}, older).passed


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("before", "after"), [(0.5, 0.9), (0.5, 0.05), (0.3, 0.02), (0.1, 0.6)])
def test_classes_whose_shares_time_changes(before: float, after: float, seed: int) -> None:
    chance = np.random.default_rng(seed)
    truth = np.concatenate([chance.random(ROWS) < before, chance.random(HELD_OUT) < after]).astype(int)
    features = (3.0 * truth + chance.normal(0, 1, len(truth)))[:, None]
    trained = LogisticRegression().fit(features[:ROWS], truth[:ROWS])
    good = trained.predict_proba(features[ROWS:])
    gate = {"kind": "predictions", "min_class_share": round(min(before, 1 - before) / 4, 3)}

    def verdict(scores: NDArray[Any]) -> Verdict:
        beside = predictions_of("binary", truth[ROWS:], scores, (0, 1))
        return judged(gate, prediction_stats(beside, truth[:ROWS]), "binary")

    assert verdict(good).passed, verdict(good)
    always = np.zeros_like(good)
    always[:, int(before < 0.5)] = 1
    assert not verdict(always).passed
