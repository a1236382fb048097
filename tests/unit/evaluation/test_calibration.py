from __future__ import annotations

import numpy as np
import pytest

from airflow_mlops_provider.evaluation.calibration import BINS, measure_calibration
from airflow_mlops_provider.evaluation.metrics import predictions_of


def two(scores: np.ndarray) -> np.ndarray:
    return np.column_stack([1 - scores, scores])


def test_calibrated_probabilities_have_a_small_error_and_pushed_ones_that_of_the_push() -> None:
    generator = np.random.default_rng(0)
    truly = generator.uniform(0.2, 0.6, 30_000)
    happened = generator.random(30_000) < truly

    honest = measure_calibration(predictions_of("binary", happened, two(truly), [0, 1]))
    pushed = measure_calibration(predictions_of("binary", happened, two(truly + 0.1), [0, 1]))

    assert honest is not None
    assert pushed is not None
    assert honest.error < 0.015
    assert pushed.error == pytest.approx(0.1, abs=0.015)
    assert len(pushed.bins) == BINS
    assert {one.rows for one in pushed.bins} == {2000}
    assert [one.predicted for one in pushed.bins] == sorted(one.predicted for one in pushed.bins)


def test_of_more_classes_it_is_the_largest_probability_against_how_often_it_is_right() -> None:
    scores = np.tile([0.7, 0.2, 0.1], (100, 1))
    truth = np.array([0] * 60 + [1] * 40)

    found = measure_calibration(predictions_of("multiclass", truth, scores, ["a", "b", "c"]))

    assert found is not None
    assert found.error == pytest.approx(0.1)


def test_few_rows_share_few_bins_and_a_regression_has_none() -> None:
    truth = np.arange(30) % 2
    found = measure_calibration(predictions_of("binary", truth, two(np.linspace(0, 1, 30)), [0, 1]))

    assert found is not None
    assert len(found.bins) == 1
    assert measure_calibration(predictions_of("regression", truth, np.ones(30))) is None
