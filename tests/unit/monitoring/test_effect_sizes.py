from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from airflow_mlops_provider.monitoring import effect_sizes
from airflow_mlops_provider.monitoring.effect_sizes import Pair, distances, noise

RNG = np.random.default_rng(0)


def numbers(reference: Any, current: Any) -> Pair:
    return Pair("x", "wasserstein", 0.1, np.asarray(reference, float), np.asarray(current, float))


def categories(reference: Any, current: Any) -> Pair:
    return Pair("c", "jensenshannon", 0.1, np.asarray(reference, object), np.asarray(current, object))


def test_distances_are_those_of_their_definitions() -> None:
    before, after = RNG.normal(5, 2, 900), RNG.normal(6, 3, 700)
    few, many = list("aab") * 100, list("abc") * 50
    found, page = distances([numbers(before, after), categories(few, many)])
    assert page is None
    assert found == pytest.approx(
        [wasserstein_distance(before, after) / before.std(), jensenshannon([2 / 3, 1 / 3, 0], [1 / 3, 1 / 3, 1 / 3])]
    )


def test_no_pairs_have_no_distances() -> None:
    assert distances([]) == ([], None)


def test_a_page_tells_the_distances_that_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    from evidently import Report

    told: list[float] = []
    run = Report.run

    def running(self: Any, *sides: Any) -> Any:
        snapshot = run(self, *sides)
        told.extend(metric["value"] for metric in snapshot.dict()["metrics"])
        return snapshot

    monkeypatch.setattr(Report, "run", running)
    before = RNG.normal(size=500)
    pairs = [numbers(before, before[:90] * 2 + 1), categories(list("aab") * 10, list("bc") * 10)]
    pairs += [Pair(f"x{shift}", "wasserstein", 0.1, before, before + shift) for shift in range(5)]
    found, page = distances(pairs, with_page=True)
    assert told == pytest.approx(found)
    assert distances(pairs) == (found, None)
    assert page is not None
    assert b"x4" in page


@pytest.mark.parametrize(
    ("reference", "current", "expected"),
    [
        ([0, 1e-12] * 50, [1e-12] * 100, 1.0),
        ([0, 1e306] * 50, [1e306] * 100, 1.0),
        ([0, 1] * 50, [1e300] * 100, 1e6),
        ([0, 1] * 50, [0, 1] * 49 + [1e18, 1e18 + 512], 2e4),
        ([0, 1] * 50, [0.1, 0.1 + 2e-17] * 50, 1.0),
        ([0.1 + 0.2, 0.3] * 50, [0.3] * 100, 1.0),
    ],
    ids=["tiny", "huge", "far away", "two far away", "almost constant", "rounding"],
)
def test_numbers_that_evidently_cannot_take_are_measured_in_another_unit(
    reference: list[float], current: list[float], expected: float
) -> None:
    [found], _ = distances([numbers(reference, current)])
    assert found == pytest.approx(expected, rel=0.01)


def test_very_many_categories_do_not_take_very_long() -> None:
    names = np.array([f"user {index}" for index in range(40_000)], object)
    # Processor time, since the machine may be busy.
    started = time.process_time()
    distances([categories(names[:20_000], names[20_000:])])
    assert time.process_time() - started < 20


@pytest.mark.parametrize("rows", [250, 4000])
def test_noise_is_what_samples_of_that_size_show_by_chance(rows: int) -> None:
    world, colours = RNG.lognormal(size=100_000), RNG.choice(list("abcdefgh"), 100_000)
    drawn = []
    for make, population in ((numbers, world), (categories, colours)):
        for _ in range(30):
            pair = make(RNG.choice(population, 20_000), RNG.choice(population, rows))
            drawn.append((make, pair))
    for make in (numbers, categories):
        pairs = [pair for kind, pair in drawn if kind is make]
        expected = np.quantile([value for pair in pairs for value in distances([pair])[0]], 0.9)
        assert 1 < noise(pairs[0], seed=1) / expected < 2.5


def test_evidently_may_not_call_home_and_the_environment_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DO_NOT_TRACK", raising=False)
    seen = []
    monkeypatch.setattr(effect_sizes, "_series", lambda _: seen.append(os.environ.get("DO_NOT_TRACK")) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        distances([numbers([0, 1], [0, 1])])
    assert seen == ["1"]
    assert "DO_NOT_TRACK" not in os.environ
