"""What stretches of a reference say is usual: in worlds where days differ and nothing changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from scipy.signal import lfilter

from airflow_mlops_provider.monitoring.effect_sizes import Scale, categories, distance, numbers
from airflow_mlops_provider.monitoring.usual import (
    ALONE,
    AMONG_OTHERS,
    Usual,
    cut,
    prediction_bound,
    usual_distance,
    usual_level,
    usual_shift,
)

DAY = timedelta(days=1)
END = datetime(2013, 3, 1, tzinfo=UTC)
ROWS = 200


def moments(days: int, rows: int = ROWS) -> Any:
    last = int(END.timestamp() * 1e6)
    return np.sort(last - 1 - np.repeat(np.arange(days), rows) * 86_400_000_000)


def days_of(count: int, share: float, *, follows: float = 0.0, seed: int = 0) -> Any:
    """Return days whose rows have a share of their variance in common, which may go on from day to day."""
    rng = np.random.default_rng(seed)
    level = lfilter([(1 - follows**2) ** 0.5], [1, -follows], rng.standard_normal(count + 100))[100:]
    return share**0.5 * level[:, None] + (1 - share) ** 0.5 * rng.standard_normal((count, ROWS))


def bound(scale: Scale, values: Any, *, stretches: bool, rows: int = ROWS, deviations: float = AMONG_OTHERS) -> Usual:
    found = cut(moments(len(values), values.shape[1]), END, DAY)
    assert found is not None
    codes = scale.codes(values.ravel())
    shares = scale.counts(codes) / len(codes)
    of = found.of if stretches else None
    return usual_distance(scale, codes, of, shares=shares, rows=rows, threshold=0.1, deviations=deviations, seed=0)


def windows(scale: Scale, values: Any, later: Any) -> Any:
    every = scale.counts(scale.codes(values.ravel()))
    return distance(scale, every, np.stack([scale.counts(scale.codes(day)) for day in later]))


@pytest.mark.parametrize("follows", [0.0, 0.8], ids=["days differ", "days follow each other"])
def test_days_that_differ_are_usual_and_a_shift_of_a_deviation_is_not(follows: float) -> None:
    every = days_of(600, 0.2, follows=follows)
    known, later = every[:300], every[300:]
    scale = numbers(known.ravel())
    usual, former = (bound(scale, known, stretches=stretches) for stretches in (True, False))
    assert (usual.by, former.by) == ("stretches", "chance")
    apart, moved = windows(scale, known, later), windows(scale, known, later + 1)
    assert (apart > former.bound).mean() > 0.5
    assert (apart > usual.bound).mean() < 0.15
    assert (moved > usual.bound).mean() > 0.5
    alone = bound(scale, known, stretches=True, deviations=ALONE)
    assert (apart > alone.bound).mean() < 0.01


def test_independent_rows_have_the_bounds_of_chance() -> None:
    every = days_of(200, 0.0)
    scale = numbers(every.ravel())
    usual, former = (bound(scale, every, stretches=stretches, deviations=ALONE) for stretches in (True, False))
    assert usual.bound == pytest.approx(former.bound, rel=0.35)
    assert (windows(scale, every, every + 0.7) > usual.bound).all()


@pytest.mark.parametrize("rows", [50, 3000])
def test_a_window_with_other_rows_than_a_stretch_is_allowed_for(rows: int) -> None:
    known = days_of(100, 0.05)
    scale = numbers(known.ravel())
    found = bound(scale, known, stretches=True, rows=rows, deviations=ALONE).bound
    assert 0.5 < found / bound(scale, known, stretches=True, deviations=ALONE).bound < 1.6


def test_categories_whose_shares_change_each_day_are_usual() -> None:
    rng = np.random.default_rng(0)
    chances = 1 / (1 + np.exp(-0.6 * rng.standard_normal(400)))
    every = np.where(rng.random((400, ROWS)) < chances[:, None], "a", "b").astype(object)
    scale = categories(every.ravel(), every.ravel())
    usual = bound(scale, every[:300], stretches=True, deviations=ALONE)
    assert (windows(scale, every[:300], every[300:]) > bound(scale, every[:300], stretches=False).bound).mean() > 0.1
    assert not (windows(scale, every[:300], every[300:]) > usual.bound).any()
    assert windows(scale, every[:300], np.full((1, ROWS), "a", object))[0] > usual.bound


def test_a_reference_is_cut_into_earlier_windows() -> None:
    found = cut(moments(30), END, DAY)
    assert found is not None
    assert (found.count, found.length) == (30, DAY)
    assert np.bincount(found.of).tolist() == [ROWS] * 30
    assert np.flatnonzero(np.diff(found.of)).tolist() == list(range(ROWS - 1, 29 * ROWS, ROWS))


def test_few_long_stretches_give_way_to_shorter_ones() -> None:
    found = cut(moments(28), END, 7 * DAY)
    assert found is not None
    assert found.length == 7 * DAY / 4
    assert cut(moments(1), END, DAY) is None
    assert cut(np.empty(0), END, DAY) is None


def test_no_bound_lies_endlessly_beyond_what_was_seen() -> None:
    wandering = np.abs(np.cumsum(np.random.default_rng(0).normal(size=40)))
    assert prediction_bound(wandering, ALONE) <= 2 * wandering.max()


def test_a_share_of_missing_values_that_changes_each_day_is_usual() -> None:
    rng = np.random.default_rng(0)
    shares = rng.beta(2, 6, 60)
    missing = (rng.random((60, ROWS)) < shares[:, None]).ravel()
    stretches = cut(moments(60), END, DAY)
    assert usual_shift(missing, stretches, 0.1) > np.abs(shares - shares.mean()).max()
    assert usual_shift(missing, None, 0.1) == 0.1
    assert usual_shift(np.zeros(60 * ROWS, bool), stretches, 0.1) == 0.1


def test_what_columns_reach_together_is_usual_where_they_move_together() -> None:
    rng = np.random.default_rng(0)
    own = np.abs(rng.standard_normal((100, 6)))
    common = np.repeat(own[:, :1], 6, axis=1)
    alone, together = (
        usual_level([Usual(1.8, "stretches", column) for column in apart.T], [1 / 6] * 6, 0.5)
        for apart in (own, common)
    )
    assert alone is not None
    assert together is not None
    assert alone < 1.3 < together
    assert usual_level([Usual(0.1, "threshold", np.empty(0))], [1.0], 0.5) is None


def test_predictions_which_the_newest_rows_alone_have_are_cut_into_stretches_of_their_own() -> None:
    week = cut(moments(280, 1), END, 7 * DAY)
    assert week is not None
    newest = np.arange(280) >= 280 - 49  # held out: a sixth of all, and only seven weeks
    assert len(np.unique(week.of[newest])) == 7
    own = week.among(newest)
    assert own is not None
    assert (len(own), len(np.unique(own))) == (49, 14)
    assert week.among(np.arange(280) == 0) is None


def test_stretches_without_a_value_of_a_column_are_stretches_all_the_same() -> None:
    every = days_of(30, 0.2)
    found = cut(moments(30), END, DAY)
    assert found is not None
    scale = numbers(every.ravel())
    codes = scale.codes(every.ravel())
    shares = scale.counts(codes) / len(codes)

    def usual(*missing: int) -> Usual:
        there = ~np.isin(found.of, missing)
        return usual_distance(
            scale,
            codes[there],
            found.of[there],
            shares=shares,
            rows=ROWS,
            threshold=0.1,
            deviations=ALONE,
            seed=0,
            stretches=found.count,
        )

    columns = [usual(), usual(29), usual(0, 12)]
    assert [len(one.stretches) for one in columns] == [30] * 3
    assert usual_level(columns, [0.4, 0.3, 0.3], 0.5) is not None
