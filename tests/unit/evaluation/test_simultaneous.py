"""Intervals of many slices hold all at once."""

from __future__ import annotations

import numpy as np

from airflow_mlops_provider.evaluation.bootstrap import interval, resample
from airflow_mlops_provider.evaluation.metrics import predictions_of
from airflow_mlops_provider.evaluation.resampled_metrics import statistics_of
from airflow_mlops_provider.evaluation.resampling import row_units
from airflow_mlops_provider.evaluation.simultaneous import simultaneous

HOLDOUTS = 150
SLICES, ROWS = 20, 40


def test_all_slices_are_held_at_once_and_alone_they_are_not() -> None:
    chance, together, alone = np.random.default_rng(0), 0, 0
    truth = np.sqrt(2 / np.pi)
    of = np.arange(SLICES * ROWS) % SLICES
    for seed in range(HOLDOUTS):
        predictions = predictions_of("regression", np.zeros(len(of)), chance.normal(size=len(of)))
        statistics = {}
        for number in range(SLICES):
            rows = np.flatnonzero(of == number)
            statistics[number] = statistics_of(["mae"], predictions.take(rows))["mae"].among(rows)
        drawn = list(resample(statistics, row_units(len(of)), 400, seed).values())
        together += all(one.low <= truth <= one.high for one in simultaneous(drawn, 0.95))
        alone += all(one.low <= truth <= one.high for one in (interval(each, 0.95) for each in drawn))
    assert alone / HOLDOUTS < 0.6
    assert together / HOLDOUTS >= 0.9


def test_one_slice_has_its_own_interval() -> None:
    predictions = predictions_of("regression", np.zeros(100), np.random.default_rng(0).normal(size=100))
    drawn = resample(statistics_of(["mae"], predictions), row_units(100), 400, 0)["mae"]
    assert simultaneous([drawn], 0.95) == [interval(drawn, 0.95)]


def test_slices_of_a_metric_that_no_row_can_carry_away_are_not_widened_for_skew() -> None:
    chance, statistics = np.random.default_rng(1), {}
    truth = (chance.random(400) < 0.3).astype(int)
    right = np.where(truth, 0.9, 0.1)
    right[[3, 150, 300]] = np.where(truth[[3, 150, 300]], 1e-9, 1 - 1e-9)
    predictions = predictions_of("binary", truth, np.column_stack([1 - right, right]), [0, 1])
    for number in range(2):
        rows = np.flatnonzero(np.arange(400) // 200 == number)
        statistics[number] = statistics_of(["log_loss"], predictions.take(rows))["log_loss"].among(rows)
    drawn = list(resample(statistics, row_units(400), 2000, 0).values())
    for one, alone in zip(simultaneous(drawn, 0.95), (interval(each, 0.95) for each in drawn), strict=True):
        assert one.high is not None
        assert alone.high is not None
        assert one.high - drawn[0].point < 2 * (alone.high - drawn[0].point) + 0.1
