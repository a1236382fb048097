from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from scipy import stats

from airflow_mlops_provider.evaluation.bootstrap import interval, quantiles, resample
from airflow_mlops_provider.evaluation.draws import Draws
from airflow_mlops_provider.evaluation.metrics import Predictions, measure, predictions_of
from airflow_mlops_provider.evaluation.resampled_metrics import statistics_of
from airflow_mlops_provider.evaluation.resampling import group_units, row_units
from airflow_mlops_provider.evaluation.statistic import Statistic
from airflow_mlops_provider.spec import CLASSIFICATION_METRICS, REGRESSION_METRICS


def classified(classes: int, rows: int = 60, decimals: int = 1, seed: int = 0) -> Predictions:
    # Scores of one decimal: ties everywhere, which is where ranking metrics go wrong.
    generator = np.random.default_rng(seed)
    truth = generator.integers(classes, size=rows)
    raw = (generator.random((rows, classes)) + 0.7 * np.eye(classes)[truth]).round(decimals)
    raw[:, 0] += 0.05
    task = "binary" if classes == 2 else "multiclass"
    return predictions_of(task, truth, raw / raw.sum(axis=1, keepdims=True), tuple(range(classes)))


def valued(rows: int = 60, seed: int = 0, decimals: int = 0) -> Predictions:
    generator = np.random.default_rng(seed)
    truth = generator.normal(100, 15, rows).round(decimals)
    return predictions_of("regression", truth, (truth + generator.normal(0, 5, rows)).round(decimals))


CASES = [
    *((name, classified(2)) for name in CLASSIFICATION_METRICS),
    *((name, classified(2, decimals=9)) for name in ("roc_auc", "average_precision")),
    *((name, classified(3)) for name in CLASSIFICATION_METRICS),
    *((name, classified(10, rows=200)) for name in ("f1", "roc_auc")),
    *((name, valued()) for name in REGRESSION_METRICS),
    *((name, valued(61, decimals=9)) for name in REGRESSION_METRICS),
]


@pytest.mark.parametrize(("name", "predictions"), CASES, ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("groups", [None, 9], ids=["rows", "groups"])
def test_counts_give_what_the_repeated_rows_give(groups: int | None, name: str, predictions: Predictions) -> None:
    generator = np.random.default_rng(7)
    if groups is None:
        drawn = list(generator.integers(predictions.rows, size=(20, predictions.rows)))
    else:  # of unequal sizes, so that no two resamples have as many rows
        group = generator.integers(groups, size=predictions.rows) ** 2 // groups
        picked = [generator.integers(group.max() + 1, size=group.max() + 1) for _ in range(20)]
        drawn = [np.concatenate([np.flatnonzero(group == one) for one in each]) for each in picked]
    counts = np.array([np.bincount(rows, minlength=predictions.rows) for rows in drawn])
    function = statistics_of([name], predictions)[name]
    found = [function(counts)]
    units = row_units(predictions.rows) if groups is None else group_units(group, "group")
    if (of_units := function.of_units(units)) is not None:
        first = np.unique(units.codes, return_index=True)[1]
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append(of_units(counts[:, first].astype(float)))
    assert len(found) == 1 + (name not in ("median_absolute_error", "max_error"))
    for values in found:
        for rows, value in zip(drawn, values, strict=True):
            expected = measure(name, predictions.take(rows)).value
            if expected is None:
                assert not np.isfinite(value)
            else:
                assert value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", ["roc_auc", "average_precision", "f1", "precision", "recall", "balanced_accuracy"])
def test_a_resample_without_a_class_is_undefined(name: str) -> None:
    predictions = predictions_of("binary", np.array([0, 0, 1]), np.array([[0.8, 0.2], [0.3, 0.7], [0.1, 0.9]]), (0, 1))
    function = statistics_of([name], predictions)[name]
    with np.errstate(divide="ignore", invalid="ignore"):
        assert not np.isfinite(function(np.array([[2, 1, 0]])))[0]
        assert not np.isfinite(function(np.array([[0, 0, 3]])))[0]


def test_a_resample_of_one_target_value_has_no_r2() -> None:
    predictions = predictions_of("regression", np.array([1e9, 1e9 + 1, 3.0]), np.array([1e9, 1e9, 2.0]))
    function = statistics_of(["r2"], predictions)["r2"]
    with np.errstate(divide="ignore", invalid="ignore"):
        assert not np.isfinite(function(np.array([[3, 0, 0]])))[0]


def test_predictions_that_are_not_finite_have_no_statistic() -> None:
    predictions = predictions_of("regression", np.array([1.0, 2.0]), np.array([1.0, np.nan]))
    assert statistics_of(["rmse"], predictions) == {}


def test_the_interval_is_that_of_scipy() -> None:
    predictions = valued(400)
    function = statistics_of(["mae"], predictions)["mae"]
    ours = interval(resample({"mae": function}, row_units(predictions.rows), 4000, 3)["mae"], 0.9)
    errors = np.abs(predictions.truth - predictions.scores)
    theirs = stats.bootstrap(
        (errors,), np.mean, confidence_level=0.9, n_resamples=4000, method="percentile", rng=3
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.low == pytest.approx(theirs.low, abs=0.05 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.05 * width)


def test_the_same_seed_gives_the_same_resamples_however_many_statistics() -> None:
    predictions = classified(2)
    auc, loss = statistics_of(["roc_auc"], predictions)["roc_auc"], statistics_of(["log_loss"], predictions)["log_loss"]
    units = row_units(predictions.rows)
    alone = resample({"auc": auc}, units, 50, 1)["auc"].values
    together = resample({"loss": loss, "auc": auc}, units, 50, 1)["auc"].values
    other = resample({"auc": auc}, units, 50, 2)["auc"].values
    assert np.array_equal(alone, together)
    assert not np.array_equal(alone, other)


def test_only_whole_groups_are_drawn_and_a_few_say_nothing() -> None:
    groups = np.array([7, 3, 7, 9, 3, 7, 1, 0, 2], np.uint64)
    drawn: list[np.ndarray] = []
    it = Statistic(lambda counts: drawn.append(counts.copy()) or counts.sum(axis=1))
    resample({"it": it}, group_units(groups, "customer"), 200, 0)
    counts = np.concatenate(drawn)
    for group in np.unique(groups):
        of_group = counts[:, groups == group]
        assert (of_group == of_group[:, :1]).all()
    firsts = [0, 1, 3, 6, 7, 8]
    whole, without, resampled = np.split(counts[:, firsts], [1, 7])
    assert (whole == 1).all()
    assert (without.sum(axis=1) == 5).all(), "the jackknife leaves one out"
    assert (resampled.sum(axis=1) == 6).all(), "as many groups as there are"
    assert resampled.max() > 2
    span = interval(resample({"it": it}, group_units(groups % 4, "customer"), 200, 0)["it"], 0.95)
    assert (span.low, span.high) == (None, None)
    assert span.why == "the rows come from 4 groups by customer: at least 5 are needed for an interval"


def test_the_group_bootstrap_covers_what_the_row_bootstrap_misses() -> None:
    generator = np.random.default_rng(0)
    # Mean absolute errors of two models, and their difference: what a customer adds is the same on all of its rows.
    truth = [np.sqrt(2.5 / np.pi), np.sqrt(5 / np.pi), np.sqrt(5 / np.pi) - np.sqrt(2.5 / np.pi)]
    covered = np.zeros((2, 3))
    for seed in range(150):
        groups = np.repeat(np.arange(100), generator.integers(5, 25, size=100))
        own, added = (generator.normal(size=100)[groups] + generator.normal(0, 0.5, len(groups)) for _ in range(2))
        scored_rows = [predictions_of("regression", np.zeros(len(groups)), scores) for scores in (own, own + added)]
        statistics = {number: statistics_of(["mae"], one)["mae"] for number, one in enumerate(scored_rows)}
        for how, together in enumerate((None, groups)):
            units = row_units(len(groups)) if together is None else group_units(together, "customer")
            values = resample(statistics, units, 400, seed)
            spans = [interval(drawn, 0.95) for drawn in (values[0], values[1], values[0].gain_over("mae", values[1]))]
            covered[how] += [span.low <= it <= span.high for span, it in zip(spans, truth, strict=True)]
    rows, together = covered / 150
    assert (rows < 0.6).all(), rows
    assert ((together > 0.9) & (together < 0.98)).all(), together


def test_a_model_does_not_differ_from_itself_on_any_resample() -> None:
    predictions = classified(2)
    ours, theirs = (
        statistics_of(["roc_auc"], predictions)["roc_auc"],
        statistics_of(["roc_auc"], predictions)["roc_auc"],
    )
    found = resample({"a": ours, "b": theirs}, row_units(predictions.rows), 30, 0)
    assert quantiles(found["a"].gain_over("roc_auc", found["b"])) == ([0.0] * 1001, None)


def test_too_few_defined_resamples_give_no_interval() -> None:
    values = Draws(0.5, np.array([0.5] * 9 + [np.nan] * 11), np.full(20, 0.5))
    found = interval(values, 0.95)
    assert (found.low, found.high, found.resamples) == (None, None, 9)
    assert found.why is not None
    assert "9 of 20 resamples" in found.why
    assert quantiles(values) == ([], found.why)


def test_quantiles_stay_few_however_many_resamples_there_are() -> None:
    values = np.random.default_rng(0).normal(size=5000)
    stored, why = quantiles(Draws(0.0, values, np.random.default_rng(1).normal(size=400)))
    assert why is None
    assert len(stored) == 1001
    assert stored == sorted(stored)
    # Wider by Student's t of 399 degrees of freedom, and for 400 units.
    wider = stats.t.ppf(0.975, 399) / stats.norm.ppf(0.975) * np.sqrt(400 / 399)
    assert np.quantile(stored, [0.025, 0.975]) == pytest.approx(wider * np.quantile(values, [0.025, 0.975]), rel=1e-2)


@pytest.mark.parametrize("groups", [None, 30_000])
def test_four_metrics_of_sixty_five_thousand_rows_take_a_second_or_two(groups: int | None) -> None:
    generator = np.random.default_rng(0)
    truth = (generator.random(65_000) < 0.2).astype(int)
    score = np.clip(0.2 + 0.1 * truth + 0.1 * generator.standard_normal(65_000), 0.01, 0.99)
    predictions = predictions_of("binary", truth, np.column_stack([1 - score, score]), (0, 1))
    names = ("roc_auc", "log_loss", "average_precision", "brier")
    prepared = statistics_of(names, predictions)
    units = row_units(65_000) if groups is None else group_units(generator.integers(groups, size=65_000), "customer")
    # Processor time, since the machine may be busy; 2 s when it is quiet, nearly all of it the average precision.
    started = time.process_time()
    resample(prepared, units, 2000, 0)
    assert time.process_time() - started < 10


def test_the_confusion_of_eight_classes_takes_little_memory() -> None:
    predictions = classified(8, rows=50_000)
    tracemalloc.start()
    try:
        resample(statistics_of(["f1"], predictions), group_units(np.arange(50_000) // 2, "pair"), 20, 0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16_000_000
