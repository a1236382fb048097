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
        said = predictions_of("regression", np.zeros(len(of)), chance.normal(size=len(of)))
        statistics = {}
        for number in range(SLICES):
            rows = np.flatnonzero(of == number)
            statistics[number] = statistics_of(["mae"], said.take(rows))["mae"].among(rows)
        drawn = list(resample(statistics, row_units(len(of)), 400, seed).values())
        together += all(one.low <= truth <= one.high for one in simultaneous(drawn, 0.95))
        alone += all(one.low <= truth <= one.high for one in (interval(each, 0.95) for each in drawn))
    assert alone / HOLDOUTS < 0.6
    assert together / HOLDOUTS >= 0.9


def test_one_slice_has_its_own_interval() -> None:
    said = predictions_of("regression", np.zeros(100), np.random.default_rng(0).normal(size=100))
    drawn = resample(statistics_of(["mae"], said), row_units(100), 400, 0)["mae"]
    assert simultaneous([drawn], 0.95) == [interval(drawn, 0.95)]
