"""What resamples draw, and that decisions on them are as seldom wrong as they state."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy.signal import lfilter

from airflow_mlops_provider.evaluation.bootstrap import interval, quantiles, resample
from airflow_mlops_provider.evaluation.champion_gates import span
from airflow_mlops_provider.evaluation.dependence import long_run_factor
from airflow_mlops_provider.evaluation.differences import difference_of, signed
from airflow_mlops_provider.evaluation.draws import Draws
from airflow_mlops_provider.evaluation.metrics import predictions_of, too_rare
from airflow_mlops_provider.evaluation.resampled_metrics import statistics_of
from airflow_mlops_provider.evaluation.resampling import MOST, block_units, group_units, row_units

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
from judging import gates, worlds
from judging.rates import Rate, table

if TYPE_CHECKING:
    from airflow_mlops_provider.evaluation.metrics import Predictions
    from airflow_mlops_provider.evaluation.resampling import Units

HOUR = 3_600_000_000
FEW = 300


def test_rows_with_a_timestamp_are_drawn_by_the_day() -> None:
    units = block_units(np.arange(0, 240) * HOUR, timedelta(0))
    assert (units.count, units.block, units.drawn) == (10, timedelta(days=1), "block")
    assert np.array_equal(units.codes, np.arange(240) // 24)
    assert "in whole blocks of time (10 blocks of a day)" in units.described.words
    assert "they are few, so the intervals are wider" in units.described.words


def test_a_block_is_no_shorter_than_a_label_takes() -> None:
    units = block_units(np.arange(0, 2400) * HOUR, timedelta(days=10))
    assert (units.count, units.block) == (10, timedelta(days=10))


def test_of_many_days_several_are_drawn_together() -> None:
    units = block_units(np.arange(0, 3650) * 24 * HOUR, timedelta(0))
    assert units.block == timedelta(days=16)
    assert units.count == units.codes.max() + 1 <= MOST


@pytest.mark.parametrize("units", [row_units(10_000), group_units(np.arange(10_000) // 2, "pair")])
def test_of_many_rows_or_groups_several_are_dealt_together_and_say_as_much(units: Units) -> None:
    assert units.count == MOST
    assert units.things == 10_000 // (1 if units.drawn == "row" else 2)
    values = np.random.default_rng(0).normal(size=5000).repeat(2)
    if units.drawn == "row":
        values = np.random.default_rng(0).normal(size=10_000)
    predictions = predictions_of("regression", np.zeros(10_000), np.abs(values), units=units)
    drawn = resample(statistics_of(["mae"], predictions), units, 2000, 0)["mae"]
    assert drawn.values.std() == pytest.approx(np.abs(values).std() / np.sqrt(units.things), rel=0.1)


def test_rows_of_too_few_days_say_nothing() -> None:
    units = block_units(np.arange(0, 96) * HOUR, timedelta(0))
    predictions = predictions_of("regression", np.zeros(96), np.arange(96.0), units=units)
    drawn = resample(statistics_of(["mae"], predictions), units, 100, 0)["mae"]
    found = interval(drawn, 0.95)
    assert (found.low, found.high) == (None, None)
    assert found.why == "the rows come from 4 blocks of a day: at least 5 are needed for an interval"
    gained = difference_of("mae", {"one": drawn}, "one", 50.0, "the champion")
    assert (gained.value, gained.quantiles, gained.why) == (2.5, [], found.why)


def test_where_customers_vary_more_than_days_they_count() -> None:
    chance = np.random.default_rng(0)
    customer, day = np.tile(np.arange(20), 30), np.repeat(np.arange(30), 20)
    errors = np.abs(chance.normal(size=20)[customer] + 0.1 * chance.normal(size=600))
    groups = group_units(customer, "customer")
    spans = []
    for besides in (None, groups):
        units = block_units(day * 24 * HOUR, timedelta(0), besides)
        predictions = predictions_of("regression", np.zeros(600), errors, units=units)
        found = interval(resample(statistics_of(["mae"], predictions), units, 1000, 0)["mae"], 0.95)
        spans.append((found.high or 0) - (found.low or 0))
    assert spans[1] > 5 * spans[0]


def test_days_that_follow_each_other_say_less() -> None:
    free = np.random.default_rng(0).normal(size=200)
    following = lfilter([0.6], [1, -0.8], free)
    assert long_run_factor(free)[0] < 1.6
    assert 4 < long_run_factor(following)[0] < 20


# ---------------------------------------------------------------- how often decisions are wrong


def false_replacements(world: worlds.World, size: int, *, rows: bool = False, together: bool = True) -> float:
    """Return how often one of several models that are as good as the champion is held for better."""
    chance, wrong = np.random.default_rng(5), 0
    for number in range(FEW):
        predictions = worlds.holdout(world, 1 + size, chance)
        wrong += _better(predictions[0], predictions[1:], number, rows=rows, together=together)
    return wrong / FEW


def _better(champion: Predictions, predictions: list[Predictions], seed: int, *, rows: bool, together: bool) -> bool:
    named = {str(number): one for number, one in enumerate(predictions)} | {"champion": champion}
    units = row_units(champion.rows) if rows else champion.drawn
    statistics = {name: statistics_of(["log_loss"], one)["log_loss"] for name, one in named.items()}
    drawn = resample(statistics, units, 400, seed)
    champion_too = drawn.pop("champion")
    winner = min(drawn, key=lambda name: drawn[name].point)
    candidates = drawn if together else {winner: drawn[winner]}
    low, _ = span(difference_of("log_loss", candidates, winner, champion_too, "").quantiles, 0.95)
    return low is not None and low > 0


def test_by_days_a_model_that_is_no_better_seldom_seems_so_and_by_rows_often() -> None:
    world = worlds.World(60, 50, 0.5, "ar", by="day")
    assert false_replacements(world, 1, rows=True) > 0.15
    assert false_replacements(world, 1) <= 0.045, "2.5 % are stated, and two standard errors of 300 are 1.8"


@pytest.mark.parametrize("days", [7, 10])
def test_of_few_days_that_follow_each_other_equally_good_models_seldom_pass(days: int) -> None:
    world, chance = worlds.World(days, 200, 0.2, "ar", by="day"), np.random.default_rng(7)
    lows = []
    for number in range(1500):
        first, champion = worlds.holdout(world, 2, chance)
        lows.append(gates.judged({"first": first}, {"champion": champion}, "log_loss", number)["champion"][0])
    passed = sum(low is not None and low > 0 for low in lows)
    assert Rate("gates", "few days", "false replacement", passed, len(lows), at_most=0.025).holds, passed


def test_the_best_of_ten_is_judged_as_that() -> None:
    world = worlds.WORLDS["500 independent rows"]
    assert false_replacements(world, 10, together=False) > 0.08
    assert false_replacements(world, 10) <= 0.045


def test_noise_does_not_become_champion() -> None:
    world, chance, wrong = worlds.WORLDS["60 days, 5 % in common"], np.random.default_rng(6), 0
    for number in range(100):
        one, other = worlds.holdout(world, 2, chance, noise=True)
        dummy = {"dummy": worlds.nothing_known(one, world.positives)}
        low, _ = gates.judged({"first": one, "other": other}, dummy, "roc_auc", number)["dummy"]
        wrong += low is not None and low > 0
    assert wrong <= 6, "2.5 % are stated"


# ---------------------------------------------------------------- differences


def test_a_loss_that_is_a_tenth_each_day_is_smaller_though_days_grow() -> None:
    growing = np.arange(1.0, 101.0) ** 2
    left_out = (growing.sum() - growing) / 99
    theirs = Draws(growing.mean(), np.random.default_rng(0).choice(growing, (400, 100)).mean(axis=1), left_out, True)
    ours = Draws(theirs.point / 10, theirs.values / 10, theirs.left_out / 10, True)
    by_difference, _ = quantiles(ours.gain_over("rmse", theirs))
    found = difference_of("rmse", {"ours": ours}, "ours", theirs, "the dummy")
    assert by_difference[25] < 0
    assert 0 < found.quantiles[25] < 1, "above zero, and nobody knows by how much"
    assert found.quantiles == sorted(found.quantiles)


def test_quantiles_move_to_the_side_of_their_share_alone() -> None:
    assert signed([-2, -1, 3], [-0.1, -0.05, 0.2]) == [-2, -1, 3]
    assert signed([-2, 1, 3], [-0.3, -0.2, -0.1]) == [-2, -3e-6, -3e-6]


def test_with_few_rows_of_a_class_nobody_says_how_sure_a_metric_is() -> None:
    scores = np.column_stack([np.linspace(0.1, 0.9, 200), np.linspace(0.9, 0.1, 200)])
    predictions = predictions_of("binary", np.arange(200) < 19, scores, ("no", "yes"))
    assert too_rare("roc_auc", predictions) == (
        "only 19 rows of class yes: at least 20 are needed for an interval of roc_auc"
    )
    assert too_rare("roc_auc", predictions_of("binary", np.arange(200) < 20, scores, ("no", "yes"))) is None
    assert too_rare("rmse", predictions_of("regression", np.zeros(3), np.ones(3))) is None
    same = {"one": Draws(0.8, np.full(50, 0.8), np.full(200, 0.8))}
    found = difference_of("roc_auc", same, "one", 0.5, "the dummy", too_rare("roc_auc", predictions))
    assert (found.value, found.quantiles, found.why) == (pytest.approx(0.3), [], too_rare("roc_auc", predictions))


# ---------------------------------------------------------------- what the benchmark says of a rate


def test_a_rate_holds_when_its_bound_is_within_two_monte_carlo_errors() -> None:
    within, above = (
        Rate("gates", "any", "wrong", 4, 100, at_most=0.025),
        Rate("gates", "any", "wrong", 12, 100, at_most=0.025),
    )
    assert (within.holds, above.holds) == (True, False)
    assert not Rate("gates", "any", "found", 80, 100, at_least=0.93).holds
    assert Rate("gates", "any", "wrong", 0, 10).error > 0.05, "ten without a fault prove little"
    assert "| any | wrong | now | 12.0% ± 3.3% of 100 | ≤ 2.5% | missed |" in table([within, above])
