from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from airflow_mlops_provider.monitoring.effect_sizes import by_chance, categories, distance, numbers

RNG = np.random.default_rng(0)
NORMAL = RNG.normal(50, 10, 50_000)


def apart(reference: Any, current: Any) -> float:
    before, after = (np.asarray(side, float) for side in (reference, current))
    scale = numbers(before)
    return float(distance(scale, *(scale.counts(scale.codes(side)) for side in (before, after))))


def test_distances_are_those_of_their_definitions() -> None:
    before, after = RNG.normal(5, 2, 900), RNG.normal(6, 3, 700)
    scale = numbers(before)
    assert scale.places is not None
    scores = [scale.places[scale.codes(side)] for side in (before, after)]
    assert scores[0].std() == pytest.approx(1)
    assert apart(before, after) == pytest.approx(wasserstein_distance(*scores))
    few, many = np.array(list("aab") * 100), np.array(list("abc") * 50)
    named = categories(few, many)
    counts = [named.counts(named.codes(side)) for side in (few, many)]
    assert distance(named, *counts) == pytest.approx(jensenshannon([2 / 3, 1 / 3, 0], [1 / 3, 1 / 3, 1 / 3]))


@pytest.mark.parametrize("shift", [0.2, 0.5, 1.0])
def test_a_shift_of_a_normal_column_is_measured_in_its_deviations(shift: float) -> None:
    assert apart(NORMAL, NORMAL + 10 * shift) == pytest.approx(shift, rel=0.02)


@pytest.mark.parametrize("bend", [np.exp, lambda x: x**3, lambda x: 1e200 * x, lambda x: 1e-200 * x])
def test_the_distance_is_the_same_in_any_unit_and_under_any_tail(bend: Any) -> None:
    before, after = RNG.normal(0, 1, 5000), RNG.normal(0.4, 1, 2000)
    assert apart(bend(before), bend(after)) == pytest.approx(apart(before, after))


@pytest.mark.parametrize("wild", [999_999.0, -1e300])
def test_one_wild_value_neither_blinds_a_column_nor_sets_it_off(wild: float) -> None:
    assert apart(np.append(NORMAL, wild), NORMAL[:2000] + 30) > 2
    assert apart(NORMAL, np.append(NORMAL[:1999], wild)) < 0.1


@pytest.mark.parametrize(("sigma", "factor"), [(2, 1.5), (3, 2)])
def test_a_heavy_tail_hides_no_shift_of_its_body(sigma: float, factor: float) -> None:
    before, after = RNG.lognormal(0, sigma, 20_000), RNG.lognormal(0, sigma, 2000)
    assert apart(before, after) < 0.1 < apart(before, factor * after)


@pytest.mark.parametrize(
    ("reference", "current"),
    [([0, 1] * 50, [1] * 100), ([0] * 999 + [5], [5] * 100), ([1, 2, 3] * 9, [1.5] * 9), ([0.1 + 0.2, 0.3], [0.3])],
    ids=["two values", "nearly constant", "between two", "rounding"],
)
def test_values_that_repeat_are_told_apart(reference: list[float], current: list[float]) -> None:
    assert apart(reference, current) > 0.5
    assert apart(reference, reference) == 0


def test_very_many_categories_do_not_take_very_long() -> None:
    names = np.array([f"user {index}" for index in range(40_000)], object)
    # Processor time, since the machine may be busy.
    started = time.process_time()
    scale = categories(names[:20_000], names[20_000:])
    distance(scale, *(scale.counts(scale.codes(side)) for side in (names[:20_000], names[20_000:])))
    assert time.process_time() - started < 5


def test_many_samples_are_measured_at_once() -> None:
    scale = numbers(NORMAL)
    counts = np.stack([scale.counts(scale.codes(NORMAL[:500] + shift)) for shift in (0, 5, 10)])
    every = scale.counts(scale.codes(NORMAL))
    assert distance(scale, every, counts) == pytest.approx([float(distance(scale, every, one)) for one in counts])


@pytest.mark.parametrize("rows", [250, 4000])
def test_chance_moves_samples_as_far_as_independent_rows(rows: int) -> None:
    scale = numbers(NORMAL)
    codes = scale.codes(NORMAL)
    shares = scale.counts(codes) / len(codes)
    drawn = by_chance(scale, shares, (20_000, rows), 60, np.random.default_rng(1))
    seen = [
        float(distance(scale, *(scale.counts(RNG.choice(codes, size)) for size in (20_000, rows)))) for _ in range(60)
    ]
    assert drawn.mean() == pytest.approx(np.mean(seen), rel=0.15)
