"""A refresh of the champion and a replacement of it are two decisions, and the second has a budget."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from airflow_mlops_provider.evaluation.bootstrap import lower_ends
from airflow_mlops_provider.evaluation.champion_gates import held_against, rate_of
from airflow_mlops_provider.evaluation.differences import difference_of
from airflow_mlops_provider.evaluation.draws import Draws
from airflow_mlops_provider.evaluation.report import CandidateScores, ChampionScores, Difference
from airflow_mlops_provider.evaluation.tails import RATES, lower_end, visible
from airflow_mlops_provider.spec import ChampionGate

if TYPE_CHECKING:
    from airflow_mlops_provider.evaluation.verdicts import Verdict

OURS, OTHER = "a" * 64, "b" * 64
DAY = timedelta(days=1)


def gained(low: float, value: float, high: float) -> Difference:
    """Return a gain whose error is normal, with its interval of 95 %."""
    error = (high - low) / 2 / 1.96
    normal = [-1.9600, -2.2414, -2.4977, -2.7344, -2.9552, -3.1629, -3.3595]
    return Difference(
        value=value,
        quantiles=[low - 0.05 * (value - low), value, high + 0.05 * (high - value)],
        error=error,
        tail=[value + each * error for each in normal],
    )


def judged(found: Difference, *, recipe: str = OTHER, unseen: timedelta | None = None, **gate: Any) -> Verdict:
    champion = ChampionScores(
        seq=1,
        version=3,
        order_key=datetime(2013, 3, 1, tzinfo=UTC),
        compared="paired",
        metrics={"roc_auc": 0.7},
        differences={"roc_auc": found},
        recipe=OURS,
        unseen=unseen,
    )
    challenger = CandidateScores(metrics={"roc_auc": 0.7 + (found.value or 0)}, recipe=recipe)
    return held_against(ChampionGate(kind="champion", **gate), "roc_auc", challenger, champion)


@pytest.mark.parametrize(
    ("span", "margin", "passes"),
    [
        ((-0.03, -0.01, 0.01), 0.0, True),
        ((-0.03, -0.02, -0.01), 0.0, False),
        ((-0.03, -0.02, -0.01), 0.02, True),
        ((-0.06, -0.05, -0.04), 0.02, False),
        ((0.01, 0.02, 0.03), 0.0, True),
    ],
)
def test_a_refresh_passes_unless_the_interval_shows_it_worse_than_the_margin(
    span: tuple[float, float, float], margin: float, passes: bool
) -> None:
    verdict = judged(gained(*span), recipe=OURS, margin=margin)
    assert verdict.passed is passes
    assert verdict.expected == f"refresh: no loss > {margin:g} with 0.95"
    assert verdict.spent is None


def test_a_refresh_says_which_loss_it_could_not_have_seen() -> None:
    verdict = judged(gained(-0.03, -0.01, 0.01), recipe=OURS)
    assert (
        verdict.why == "a refresh of v3: a loss of 0.02995 is not ruled out; one of 0.02859 would be seen 8 times in 10"
    )


def test_where_no_refresh_is_wanted_the_champions_recipe_is_held_to_the_rule() -> None:
    verdict = judged(gained(-0.03, -0.01, 0.01), recipe=OURS, refresh=False)
    assert (verdict.passed, verdict.spent) == (False, pytest.approx(0.025))
    assert verdict.expected.startswith("better: gain > 0")


def test_a_champion_whose_recipe_nobody_knows_is_replaced() -> None:
    challenger = CandidateScores(metrics={"roc_auc": 0.7})
    champion = ChampionScores(
        seq=1, version=3, order_key=datetime(2013, 3, 1, tzinfo=UTC), compared="paired", metrics={"roc_auc": 0.7},
        differences={"roc_auc": gained(-0.03, -0.01, 0.01)},
    )  # fmt: skip
    assert held_against(ChampionGate(kind="champion"), "roc_auc", challenger, champion).spent == pytest.approx(0.025)


def test_a_look_at_a_replacement_is_judged_by_what_it_may_spend() -> None:
    gain = gained(0.001, 0.01, 0.019)
    alone, first, daily = (judged(gain, unseen=unseen) for unseen in (None, 200 * DAY, DAY))
    assert [one.passed for one in (alone, first, daily)] == [True, True, False]
    assert [one.spent for one in (alone, first, daily)] == pytest.approx([0.025, 0.025, 0.025 / 90])
    assert "with 0.95" in alone.expected
    assert "with 0.999444" in daily.expected
    assert judged(gained(0.005, 0.01, 0.015), unseen=DAY).passed
    assert judged(gain, unseen=DAY, alpha=None).passed


def test_looks_together_spend_what_the_budget_says() -> None:
    gate = ChampionGate(kind="champion")
    first = ChampionScores(seq=1, version=3, order_key=datetime(2013, 3, 1, tzinfo=UTC), compared="paired", metrics={})
    later = first.model_copy(update={"unseen": DAY})
    assert rate_of(gate, first) + 90 * rate_of(gate, later) == pytest.approx(gate.alpha)


def test_without_new_data_nothing_is_replaced_and_the_reason_is_said() -> None:
    verdict = judged(gained(0.5, 0.6, 0.7), unseen=timedelta(0))
    assert (verdict.passed, verdict.spent) == (False, 0)
    assert "the next look at newer data will have one" in verdict.why
    assert judged(gained(-0.03, -0.01, 0.01), recipe=OURS, unseen=timedelta(0)).passed


def test_every_verdict_says_the_smallest_gain_that_it_could_have_seen() -> None:
    found = gained(-0.0196, 0.0, 0.0196)
    assert visible(found, 0.025) == pytest.approx(0.01 * (1.96 + 0.8416), rel=1e-3)
    assert "a gain of 0.02802 would be seen 8 times in 10" in judged(found).why
    assert "a gain of 0.0" in judged(found, unseen=DAY).why


def test_ends_of_small_rates_are_those_of_students_t() -> None:
    from scipy.stats import t

    chance = np.random.default_rng(3)
    units = chance.standard_normal(50)
    drawn = chance.choice(units, size=(4000, 50)).mean(axis=1)
    left_out = (units.sum() - units) / 49
    one = Draws(float(units.mean()), drawn, left_out)
    error, ends = lower_ends(one, RATES)
    assert error == pytest.approx(units.std(ddof=1) / 50**0.5, rel=0.05)
    assert ends == pytest.approx(one.point - error * t.isf(np.array(RATES), 49))
    # Another that might as well have been chosen costs what Bonferroni says.
    other = Draws(one.point - 0.01, chance.permutation(drawn) - 0.01, left_out)
    assert lower_ends(one, RATES, [other])[1] == pytest.approx(one.point - error * t.isf(np.array(RATES) / 2, 49))


def test_ends_fall_with_the_rate_and_no_further_than_they_are_known() -> None:
    chance = np.random.default_rng(3)
    drawn = Draws(0.02, 0.02 + 0.01 * chance.standard_normal(2000), 0.02 + 0.001 * chance.standard_normal(60))
    found = difference_of("roc_auc", {"one": drawn}, "one", 0.0, "the champion")
    ends = [lower_end(found, rate) for rate in (0.025, 0.02, 0.01, 0.0005, RATES[-1])]
    assert ends == sorted(ends, reverse=True)
    assert (lower_end(found, RATES[-1] / 2), lower_end(found, 0.0)) == (None, None)
