"""Where few rows, customers or days carry the error, intervals are wider, or there is none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from airflow_mlops_provider.evaluation.bootstrap import interval, quantiles, resample
from airflow_mlops_provider.evaluation.draws import Draws
from airflow_mlops_provider.evaluation.heavy_tails import skewness, tail_index
from airflow_mlops_provider.evaluation.metrics import predictions_of
from airflow_mlops_provider.evaluation.resampled_metrics import statistics_of
from airflow_mlops_provider.evaluation.resampling import Units, group_units, row_units

HOLDOUTS = 300
ERRORS = {
    "normal": (lambda chance: chance.standard_normal(300), 1.0),
    "laplace": (lambda chance: chance.laplace(size=300), 2.0**0.5),
    "t3": (lambda chance: chance.standard_t(3, 300), 3.0**0.5),
    "lognormal(1)": (lambda chance: chance.lognormal(0, 1, 300), np.e),
    "lognormal(2)": (lambda chance: chance.lognormal(0, 2, 300), np.exp(4)),
}


def drawn_of(metric: str, errors: np.ndarray, units: Units) -> Draws:
    predictions = predictions_of("regression", np.zeros(len(errors)), errors, units=units)
    return resample(statistics_of([metric], predictions), units, 400, 0)[metric]


def held(errors: str) -> tuple[float, float]:
    """Return how often an interval of RMSE is given, and how often a given one holds the truth."""
    draw, truth = ERRORS[errors]
    chance, spans = np.random.default_rng(3), []
    for _ in range(HOLDOUTS):
        found = interval(drawn_of("rmse", draw(chance), row_units(300)), 0.95)
        if found.low is not None and found.high is not None:
            spans.append(found.low <= truth <= found.high)
    return len(spans) / HOLDOUTS, float(np.mean(spans)) if spans else 1.0


@pytest.mark.parametrize(("errors", "given"), [("normal", 0.99), ("laplace", 0.98), ("t3", 0.5), ("lognormal(1)", 0.3)])
def test_intervals_hold_whatever_the_tails_are(errors: str, given: float) -> None:
    share, right = held(errors)
    assert share >= given
    assert right >= 0.91, "93 % are stated, and two standard errors of 300 are 2.9"


def test_of_the_heaviest_tails_there_is_no_interval() -> None:
    assert held("lognormal(2)")[0] <= 0.01


def test_the_reason_says_what_to_do_and_mae_of_tails_that_have_a_mean_has_an_interval() -> None:
    errors = np.random.default_rng(1).lognormal(0, 1.5, 300)
    drawn = drawn_of("rmse", errors, row_units(300))
    found = interval(drawn, 0.95)
    assert (found.low, found.high) == (None, None)
    assert found.why is not None
    assert found.why.startswith("a few rows dominate the error (tail index 0.")
    assert found.why.endswith("judge by mae, or transform the target")
    assert quantiles(drawn) == ([], found.why), "and nothing is decided by it"
    assert interval(drawn_of("mae", errors, row_units(300)), 0.95).low is not None


def test_an_interval_is_wider_on_the_heavier_side_alone() -> None:
    left_out = -np.r_[np.zeros(99), 1.0]
    assert skewness(left_out) == pytest.approx(0.98, abs=0.02)
    values = np.random.default_rng(0).normal(size=2000)
    even, skewed = (interval(Draws(0.0, values, one), 0.95) for one in (np.arange(100.0), _skewed()))
    assert skewed.low == pytest.approx(even.low)
    assert (skewed.high or 0) > 1.5 * (even.high or 0)


def _skewed() -> np.ndarray:
    """Contributions with a heavier side, and not so heavy that nothing can be said."""
    return -(np.arange(1.0, 101.0) ** -0.7)


def test_of_a_customer_with_half_of_the_rows_nothing_says_how_much_it_varies() -> None:
    customer = np.r_[np.zeros(200), np.arange(1, 101).repeat(2)]
    units = group_units(customer, "customer")
    assert units.effective == pytest.approx(3.96, abs=0.01)
    found = interval(drawn_of("mae", np.ones(400), units), 0.95)
    assert found.why == (
        "the rows come from 101 groups by customer so unequal that they count as 4.0 equal ones: at least 4 are "
        "needed for an interval"
    )


def test_unequal_customers_say_as_much_as_fewer_equal_ones() -> None:
    sizes = np.r_[30, np.full(40, 2)]
    units = group_units(np.arange(41).repeat(sizes), "customer")
    values = np.random.default_rng(0).normal(size=len(units.codes))
    assert drawn_of("mae", values, units).wider[1] == pytest.approx(units.effective - 1)
    assert 10 < units.effective < 12


@pytest.mark.parametrize(("days", "least"), [(5, 0.72), (10, 0.77), (20, 0.81)])
def test_a_few_days_that_follow_each_other_closely_have_wider_intervals_than_independent_ones(
    days: int, least: float
) -> None:
    chance, right = np.random.default_rng(0), 0
    counts = chance.multinomial(days, np.full(days, 1 / days), size=400)
    for _ in range(HOLDOUTS):
        level = lfilter([1], [1, -0.8], chance.normal(size=days + 100))[100:]
        left_out = (level.sum() - level) / (days - 1)
        found = interval(Draws(level.mean(), counts @ level / days, left_out, ordered=True), 0.95)
        right += found.low is not None and found.high is not None and found.low <= 0 <= found.high
    assert right / HOLDOUTS >= least, "of rows taken for independent it would be a third"


def test_a_tail_of_equal_contributions_is_none() -> None:
    assert tail_index(np.r_[np.ones(50), np.zeros(50)]) == np.inf
    assert tail_index(np.ones(100)) == np.inf
