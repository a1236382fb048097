from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from airflow_mlops_provider.evaluation.champion_gates import NO_CHAMPION, span
from airflow_mlops_provider.evaluation.gates import judge
from airflow_mlops_provider.evaluation.report import (
    CandidateScores,
    ChampionScores,
    Difference,
    EvaluationReport,
    Interval,
    Latency,
    Optimism,
    PredictionStats,
    Rows,
    Scores,
    Slice,
    WorstSlice,
)
from airflow_mlops_provider.evaluation.scorecard import scorecard
from airflow_mlops_provider.evaluation.verdicts import ROUNDING, Verdict, gates_table
from airflow_mlops_provider.spec import Gate

AS_OF = datetime(2013, 6, 1, tzinfo=UTC)
GATE: TypeAdapter[Any] = TypeAdapter(Gate)


def champion(*, gains: list[float] | None = None, metric: str = "roc_auc", **changes: Any) -> ChampionScores:
    difference = Difference(value=0.02, quantiles=sorted(gains or [0.01, 0.02, 0.03]))
    values: dict[str, Any] = {
        "seq": 4,
        "version": 3,
        "order_key": AS_OF - timedelta(days=2),
        "compared": "paired",
        "metrics": {"roc_auc": 0.7, "log_loss": 0.5},
        "differences": {metric: difference},
    }
    return ChampionScores(**values | changes)


def report(**changes: Any) -> EvaluationReport:
    values: dict[str, Any] = {
        "task": "binary",
        "as_of": AS_OF,
        "metrics": ["roc_auc", "log_loss"],
        "classes": [0, 1],
        "split": {"by": "time"},
        "folds": 1,
        "rows": Rows(total=100, training=80, holdout=20),
        "candidates": {"forest": CandidateScores(metrics={"roc_auc": 0.72, "log_loss": 0.48})},
        "winner": "forest",
        "intervals": {"roc_auc": Interval(low=0.7, high=0.74, confidence=0.95, resamples=200)},
        "baseline": Scores(metrics={"roc_auc": 0.5, "log_loss": 0.6}),
        "over_baseline": {
            "roc_auc": Difference(value=0.22, quantiles=[0.12, 0.22, 0.32]),
            "log_loss": Difference(value=0.12, quantiles=[0.1, 0.12, 0.14]),
        },
        "slices": [
            Slice(column="origin", value="EWR", rows=900, metrics={"roc_auc": 0.66, "log_loss": 0.51}),
            Slice(
                column="origin",
                value="LGA",
                rows=900,
                metrics={"roc_auc": None, "log_loss": 0.4},
                undefined={"roc_auc": "no rows of class 1"},
            ),
        ],
        "worst_slices": {
            "roc_auc": WorstSlice(column="origin", value="EWR", rows=900, metric=0.66),
            "log_loss": WorstSlice(column="origin", value="EWR", rows=900, metric=0.51),
        },
        "latency": Latency(p50_ms=3, p95_ms=5, rows_per_second=50_000, calls=50, batch_rows=2000),
        "predictions": PredictionStats(
            rows=20,
            nulls=0,
            shares={"0": 0.9, "1": 0.1},
            expected_shares={"0": 0.8, "1": 0.2},
            target_shares={"0": 0.75, "1": 0.25},
            shift=0.05,
        ),
        "model_bytes": 3_000_000,
        "lineage": "0" * 64,
    }
    return EvaluationReport(**values | changes)


def one(gate: dict[str, Any], given: EvaluationReport) -> Verdict:
    (verdict,) = judge([GATE.validate_python(gate)], given)
    # Whatever a test is about: a margin says what the verdict says.
    if verdict.margin is not None and abs(verdict.margin) > ROUNDING:
        assert verdict.passed == (verdict.margin > 0), verdict
    return verdict


UNDEFINED = {
    "candidates": {
        "forest": CandidateScores(
            metrics={"roc_auc": 0.72, "log_loss": None}, undefined={"log_loss": "2 of 20 predictions are not finite"}
        )
    }
}


@pytest.mark.parametrize(
    ("gate", "passes", "shown"),
    [
        ({"kind": "absolute", "metric": "roc_auc", "min": 0.72}, True, "roc_auc 0.72"),
        ({"kind": "absolute", "metric": "roc_auc", "min": 0.721}, False, "roc_auc 0.72"),
        ({"kind": "absolute", "metric": "log_loss", "max": 0.48}, True, "log_loss 0.48"),
        ({"kind": "absolute", "metric": "log_loss", "max": 0.47}, False, "log_loss 0.48"),
        ({"kind": "absolute", "metric": "roc_auc", "min": 0.5, "max": 0.7}, False, "roc_auc 0.72"),
        ({"kind": "baseline"}, True, "roc_auc 0.72 vs 0.5"),
        ({"kind": "baseline", "metric": "log_loss", "min_gain": 0.1}, True, "gain 0.12 [0.101, 0.139]"),
        ({"kind": "baseline", "metric": "log_loss", "min_gain": 0.102}, False, "log_loss 0.48 vs 0.6"),
        ({"kind": "baseline", "metric": "log_loss", "min_gain": 0.102, "confidence": 0.8}, True, "[0.104, 0.136]"),
        ({"kind": "absolute", "metric": "roc_auc", "min": 0.7, "judged_by": "low"}, True, "roc_auc 0.72 [0.7, 0.74]"),
        ({"kind": "absolute", "metric": "roc_auc", "min": 0.71, "judged_by": "low"}, False, "roc_auc 0.72 [0.7, 0.74]"),
        ({"kind": "absolute", "metric": "roc_auc", "min": 0.74, "judged_by": "high"}, True, "roc_auc 0.72 [0.7, 0.74]"),
        ({"kind": "worst_slice", "min": 0.66}, True, "roc_auc 0.66 (origin=EWR)"),
        ({"kind": "worst_slice", "min": 0.67}, False, "roc_auc 0.66 (origin=EWR)"),
        ({"kind": "worst_slice", "metric": "log_loss", "max": 0.5}, False, "log_loss 0.51 (origin=EWR)"),
        ({"kind": "latency"}, True, "p95 5 ms"),
        ({"kind": "latency", "max_p95_ms": 4.9}, False, "p95 5 ms"),
        ({"kind": "latency", "min_rows_per_second": 60_000}, False, "5e+04 rows/s"),
        ({"kind": "predictions"}, True, "0 nulls, smallest class 0.1, shift 0.05"),
        ({"kind": "predictions", "min_class_share": 0.11}, False, "smallest class 0.1"),
        ({"kind": "predictions", "max_shift": 0.04}, False, "shift 0.05"),
        ({"kind": "model_size", "max_mb": 3}, True, "3 MB"),
        ({"kind": "model_size", "max_mb": 2.9}, False, "3 MB"),
    ],
)
def test_a_gate_compares_and_shows_what_it_got(gate: dict[str, Any], passes: bool, shown: str) -> None:
    verdict = one(gate, report())
    assert verdict.passed is passes
    assert shown in verdict.got
    assert verdict.expected
    assert verdict.name == verdict.kind == gate["kind"]


@pytest.mark.parametrize(
    ("gate", "gains", "passes"),
    [
        ({"rule": "better"}, [0.001, 0.002, 0.003], True),
        ({"rule": "better"}, [-0.01, 0.02, 0.03], False),
        ({"rule": "better"}, [0.0, 0.0, 0.0], False),
        ({"rule": "better", "margin": 0.005}, [0.004, 0.02, 0.03], False),
        ({"rule": "better", "margin": 0.005}, [0.006, 0.02, 0.03], True),
        ({"rule": "better"}, [1e-16, 1e-16, 1e-16], False),
        ({"rule": "not_worse"}, [0.0, 0.0, 0.0], True),
        ({"rule": "not_worse"}, [-1e-16, -1e-16, 1e-16], True),
        ({"rule": "not_worse", "margin": 0.01}, [-0.009, 0.0, 0.0], True),
        ({"rule": "not_worse", "margin": 0.01}, [-0.02, -0.02, 0.0], False),
    ],
)
def test_the_lower_bound_of_the_gain_decides_against_the_champion(
    gate: dict[str, Any], gains: list[float], passes: bool
) -> None:
    verdict = one({"kind": "champion", **gate}, report(champion=champion(gains=gains)))
    assert verdict.passed is passes
    assert "roc_auc 0.72 vs v3 0.7, gain 0.02 [" in verdict.got


def test_a_gate_states_the_interval_of_its_own_confidence() -> None:
    gains = [float(value) for value in np.linspace(-0.01, 0.09, 101)]
    given = report(champion=champion(gains=gains))
    assert one({"kind": "champion", "confidence": 0.5}, given).passed
    assert not one({"kind": "champion", "confidence": 0.95}, given).passed
    assert "0.95" in one({"kind": "champion"}, given).expected


def test_the_interval_of_stored_quantiles_is_that_of_numpy() -> None:
    values = sorted(np.random.default_rng(0).normal(size=200).tolist())
    assert span(values, 0.9) == pytest.approx(tuple(np.quantile(values, [0.05, 0.95])))


@pytest.mark.parametrize(
    "gate",
    [{"kind": "champion"}, {"kind": "champion", "metric": "log_loss"}, {"kind": "champion_age", "min": "P7D"}],
)
def test_the_first_challenger_passes_the_gates_against_the_champion(gate: dict[str, Any]) -> None:
    verdict = one(gate, report())
    assert verdict.passed
    assert verdict.why == NO_CHAMPION


def test_without_a_champion_an_undefined_metric_still_fails() -> None:
    verdict = one({"kind": "champion", "metric": "log_loss"}, report(**UNDEFINED))
    assert not verdict.passed
    assert verdict.why == "2 of 20 predictions are not finite"


def test_a_champion_that_cannot_predict_the_data_fails_its_gate_with_the_reason() -> None:
    unusable = champion(unusable="the model needs feature 'visib', which the data does not have", differences={})
    verdict = one({"kind": "champion"}, report(champion=unusable))
    assert "'visib'" in verdict.why
    # Skipping would promote nothing ever again, on green runs.
    assert (verdict.passed, verdict.on_fail) == (False, "fail")


@pytest.mark.parametrize(
    ("rule", "passes", "on_fail", "words"),
    [
        ("fail", False, "fail", "airflow mlops promote PIPELINE VERSION --despite-gates"),
        ("skip", False, "skip", "`on_incomparable: pass` on this gate"),
        ("pass", True, "fail", "(on_incomparable: pass)"),
    ],
)
@pytest.mark.parametrize("why", ["unusable", "not recorded"])
def test_what_follows_from_a_champion_that_cannot_be_compared_is_a_rule(
    why: str, rule: str, passes: bool, on_fail: str, words: str
) -> None:
    lost = Difference(value=None, why="roc_auc of the champion is undefined or was not recorded")
    other = (
        champion(unusable="the model needs feature 'casual'", differences={})
        if why == "unusable"
        else champion(differences={"roc_auc": lost})
    )
    verdict = one({"kind": "champion", "on_incomparable": rule}, report(champion=other))
    assert (verdict.passed, verdict.on_fail) == (passes, on_fail)
    assert words in verdict.why
    assert ("'casual'" in verdict.why) is (why == "unusable")


def test_a_challenger_without_a_number_passes_no_gate_by_that_rule() -> None:
    unusable = champion(unusable="the model needs feature 'casual'", differences={})
    gate = GATE.validate_python({"kind": "champion", "metric": "log_loss", "on_incomparable": "pass"})
    assert not any(verdict.passed for verdict in judge([gate], report(champion=unusable, **UNDEFINED)))


def test_an_unpaired_comparison_says_so() -> None:
    verdict = one({"kind": "champion"}, report(champion=champion(compared="recorded")))
    assert verdict.passed
    assert "unpaired" in verdict.why


@pytest.mark.parametrize(
    ("gate", "metric", "margin"),
    [
        ({"kind": "absolute", "metric": "roc_auc", "min": 0.7}, "roc_auc", 0.02),
        ({"kind": "absolute", "metric": "log_loss", "max": 0.4}, "log_loss", -0.08),
        ({"kind": "absolute", "metric": "roc_auc", "min": 0.5, "max": 0.75}, "roc_auc", 0.03),
        ({"kind": "baseline", "min_gain": 0.1}, "roc_auc", 0.025),
        ({"kind": "worst_slice", "min": 0.6}, "roc_auc", 0.06),
        ({"kind": "champion", "confidence": 0.5}, "roc_auc", 0.015),
        ({"kind": "champion", "confidence": 0.5, "rule": "not_worse", "margin": 0.01}, "roc_auc", 0.025),
        ({"kind": "champion_age", "min": "1 day"}, None, 86400),
        ({"kind": "model_size", "max_mb": 10}, None, 7),
        ({"kind": "latency"}, None, 95),
        ({"kind": "latency", "min_rows_per_second": 1000}, None, None),
        ({"kind": "predictions"}, None, None),
    ],
    ids=str,
)
def test_a_gate_says_how_far_it_is_from_its_bound(gate: dict[str, Any], metric: str | None, margin: float) -> None:
    verdict = one(gate, report(champion=champion()))
    assert verdict.metric == metric
    assert verdict.margin == (None if margin is None else pytest.approx(margin))


@pytest.mark.parametrize(("days", "passes"), [(1, True), (2, True), (3, False)])
def test_a_champion_serves_its_time_in_data_time(days: int, passes: bool) -> None:
    verdict = one({"kind": "champion_age", "min": timedelta(days=days)}, report(champion=champion()))
    assert verdict.passed is passes
    assert "v3 is 2 days" in verdict.got


@pytest.mark.parametrize("dummy", [0.72, 0.72 - 1e-16, 0.8])
def test_a_tie_does_not_beat_the_dummy(dummy: float) -> None:
    gained = Difference(value=0.72 - dummy, quantiles=[0.72 - dummy] * 2)
    given = report(baseline=Scores(metrics={"roc_auc": dummy}), over_baseline={"roc_auc": gained})
    assert not one({"kind": "baseline"}, given).passed


def test_what_is_better_than_the_dummy_by_chance_does_not_beat_it() -> None:
    gained = Difference(value=0.03, quantiles=[-0.01, 0.03, 0.07])
    verdict = one({"kind": "baseline"}, report(over_baseline={"roc_auc": gained}))
    assert not verdict.passed
    assert "gain 0.03 [-0.008, 0.068]" in verdict.got
    assert one({"kind": "baseline", "confidence": 0.5}, report(over_baseline={"roc_auc": gained})).passed


def test_a_gain_of_which_nothing_can_be_said_does_not_beat_the_dummy() -> None:
    gained = Difference(value=0.3, why="the rows come from 3 blocks of a day: at least 5 are needed for an interval")
    verdict = one({"kind": "baseline"}, report(over_baseline={"roc_auc": gained}))
    assert (verdict.passed, verdict.why) == (False, gained.why)


def test_an_older_evaluation_is_judged_by_its_gain_alone() -> None:
    assert one({"kind": "baseline"}, report(over_baseline={})).passed
    assert not one({"kind": "baseline", "min_gain": 0.23}, report(over_baseline={})).passed


@pytest.mark.parametrize(
    "gate",
    [
        {"kind": "absolute", "metric": "log_loss", "max": 9},
        {"kind": "baseline", "metric": "log_loss"},
    ],
)
def test_an_undefined_metric_fails_and_says_why(gate: dict[str, Any]) -> None:
    verdict = one(gate, report(**UNDEFINED))
    assert not verdict.passed
    assert "log_loss undefined" in verdict.got
    assert verdict.why == "2 of 20 predictions are not finite"


def test_a_metric_that_was_not_measured_fails() -> None:
    verdict = one({"kind": "absolute", "metric": "recall", "min": 0}, report())
    assert not verdict.passed
    assert verdict.why == "recall was not measured"


def test_an_undefined_slice_is_named_and_no_slice_at_all_fails() -> None:
    assert "undefined on origin=LGA" in one({"kind": "worst_slice", "min": 0.1}, report()).why
    verdict = one({"kind": "worst_slice", "min": 0.1}, report(slices=[], worst_slices={}))
    assert not verdict.passed
    assert "no slice has enough rows" in verdict.why


def test_a_null_prediction_fails_whatever_the_rest() -> None:
    stats = report().predictions.model_copy(update={"nulls": 1})
    verdict = one({"kind": "predictions", "min_class_share": 0, "max_shift": 1}, report(predictions=stats))
    assert not verdict.passed
    assert verdict.why == "1 of 20 predictions are not finite"


def test_a_regression_has_a_shift_and_no_class_shares() -> None:
    stats = PredictionStats(rows=20, nulls=0, mean=1, sd=1, target_mean=1, target_sd=2, shift=0.45)
    given = report(task="regression", classes=[], predictions=stats)
    assert one({"kind": "predictions"}, given).passed
    assert not one({"kind": "predictions", "max_shift": 0.4}, given).passed


def test_a_winner_without_the_deciding_metric_fails_even_without_gates() -> None:
    broken = CandidateScores(metrics={"roc_auc": None}, undefined={"roc_auc": "no rows"})
    (verdict,) = judge([], report(candidates={"forest": broken}))
    assert (verdict.name, verdict.passed, verdict.on_fail) == ("measured", False, "fail")
    assert verdict.why == "no rows"


ALL = [
    {"kind": "absolute", "metric": "roc_auc", "min": -1e308},
    {"kind": "absolute", "metric": "log_loss", "max": 1e308},
    {"kind": "champion", "rule": "not_worse", "margin": 1e308},
    {"kind": "champion", "metric": "log_loss", "rule": "better"},
    {"kind": "baseline"},
    {"kind": "baseline", "metric": "log_loss"},
    {"kind": "worst_slice", "min": -1e308},
    {"kind": "worst_slice", "metric": "log_loss", "max": 1e308},
    {"kind": "latency", "max_p95_ms": 1e308, "min_rows_per_second": 1e-300},
    {"kind": "predictions", "min_class_share": 0, "max_shift": 1e308},
]
BAD = st.sampled_from([math.nan, math.inf, -math.inf, None])


def test_a_class_may_be_rarer_where_there_are_more_of_them() -> None:
    def verdict(classes: int, rarest: float) -> Verdict:
        others = (1 - rarest) / (classes - 1)
        shares = {"rarest": rarest, **{f"c{place}": others for place in range(1, classes)}}
        reported = report().predictions.model_copy(update={"shares": shares})
        return one({"kind": "predictions"}, report(predictions=reported))

    assert [verdict(2, 0.05).passed, verdict(2, 0.04).passed] == [True, False]
    assert [verdict(25, 0.02).passed, verdict(25, 0.003).passed] == [True, False]
    assert ">= 0.004" in verdict(25, 0.003).expected


def _everywhere(bad: float | None) -> EvaluationReport:
    """Return a report that no validation has seen, as a broken writer could have made it."""
    whole = report()
    scores = {"roc_auc": bad, "log_loss": bad}
    pairs = Difference.model_construct(value=bad, quantiles=[bad] * 5, why=None)
    worst = WorstSlice.model_construct(column="c", value="v", rows=1, metric=bad)
    return whole.model_copy(
        update={
            "candidates": {"forest": CandidateScores.model_construct(metrics=scores, undefined={}, folds={})},
            "worst_slices": {"roc_auc": worst, "log_loss": worst},
            "champion": champion().model_copy(
                update={"metrics": scores, "differences": {"roc_auc": pairs, "log_loss": pairs}}
            ),
            "latency": whole.latency.model_copy(update={"p95_ms": bad, "rows_per_second": bad}),
            "predictions": whole.predictions.model_copy(update={"shift": bad, "shares": {"0": bad, "1": bad}}),
        }
    )


@given(gate=st.sampled_from(ALL), bad=BAD)
def test_no_value_that_is_not_finite_passes_any_gate(gate: dict[str, Any], bad: float | None) -> None:
    *_, verdict = judge([GATE.validate_python(gate)], _everywhere(bad))
    assert not verdict.passed


@given(bad=BAD, place=st.integers(0, 4), rule=st.sampled_from(["better", "not_worse"]))
def test_one_bad_resample_is_enough_to_fail(bad: float | None, place: int, rule: str) -> None:
    gains: list[Any] = [0.1, 0.2, 0.3, 0.4, 0.5]
    gains[place] = bad
    difference = Difference.model_construct(value=0.3, quantiles=gains, why=None)
    beside = champion().model_copy(update={"differences": {"roc_auc": difference}})
    verdict = one({"kind": "champion", "rule": rule}, report().model_copy(update={"champion": beside}))
    assert not verdict.passed


@settings(max_examples=200)
@given(
    value=st.floats(allow_nan=False, allow_infinity=False),
    bound=st.floats(allow_nan=False, allow_infinity=False),
    metric=st.sampled_from(["roc_auc", "log_loss"]),
)
def test_an_absolute_gate_is_the_comparison_itself(value: float, bound: float, metric: str) -> None:
    given = report(candidates={"forest": CandidateScores(metrics={"roc_auc": value, "log_loss": value})})
    assert one({"kind": "absolute", "metric": metric, "min": bound}, given).passed == (value >= bound)
    assert one({"kind": "absolute", "metric": metric, "max": bound}, given).passed == (value <= bound)


def test_the_table_is_aligned_and_stays_one_line_a_gate() -> None:
    verdicts = [
        Verdict(name="floor", kind="absolute", passed=True, got="roc_auc 0.72", expected=">= 0.6"),
        Verdict(name="slices", kind="worst_slice", passed=False, got="a\nb", expected=">= 0.5", why="too\tbad"),
        Verdict(name="champion", kind="champion", passed=False, on_fail="skip", got="x", expected="y"),
    ]
    lines = gates_table(verdicts).splitlines()
    assert lines == [
        "gate      verdict  got           expected  why",
        "floor     pass     roc_auc 0.72  >= 0.6",
        "slices    FAIL     a b           >= 0.5    too bad",
        "champion  SKIP     x             y",
    ]
    assert gates_table([verdict.model_dump() for verdict in verdicts]).splitlines() == lines


def test_a_scorecard_sets_the_challenger_beside_the_champion_the_baseline_and_its_worst_slice() -> None:
    verdicts = [one({"kind": "absolute", "metric": "roc_auc", "min": 0.8}, report()).model_dump()]
    lines = scorecard(report(champion=champion()), verdicts, version=4).splitlines()
    assert r"| roc\_auc | **0.72** | 0.7 to 0.74 | 0.7 | 0.5 | 0.66 (origin = EWR, 900 rows) |" in lines
    assert r"| log\_loss | **0.48** | unknown | 0.5 | 0.6 | 0.51 (origin = EWR, 900 rows) |" in lines
    assert r"| absolute | **fail** | roc\_auc 0.72 | \>= 0.8 |  |" in lines


def test_names_that_come_from_data_are_text_in_a_scorecard() -> None:
    worst = WorstSlice(column="a|b", value="<script>[x](http://y)\n# z", rows=9, metric=0.1)
    text = scorecard(report(worst_slices={"roc_auc": worst}), [], version=1)
    assert r"a\|b = \<script\>\[x\]\(http://y\) \# z" in text


# ---------------------------------------------------------------- ends of intervals


def sliced(**ends: tuple[float, float] | None) -> EvaluationReport:
    """Return an evaluation with a slice of each origin, by the interval of its roc_auc."""
    spans = {
        origin: Interval(low=span[0], high=span[1], confidence=0.95, resamples=200)
        if span
        else Interval(low=None, high=None, confidence=0.95, resamples=0, why="few")
        for origin, span in ends.items()
    }
    slices = [
        Slice(column="origin", value=origin, rows=200, metrics={"roc_auc": 0.7}, intervals={"roc_auc": span})
        for origin, span in spans.items()
    ]
    return report(slices=slices)


@pytest.mark.parametrize(
    ("judged_by", "least", "passed", "origin"),
    [("low", 0.6, True, "EWR"), ("low", 0.61, False, "EWR"), ("high", 0.75, True, "JFK"), ("high", 0.76, False, "JFK")],
)
def test_every_slice_is_judged_by_an_end_of_its_interval(
    judged_by: str, least: float, passed: bool, origin: str
) -> None:
    found = one(
        {"kind": "worst_slice", "min": least, "judged_by": judged_by},
        sliced(EWR=(0.6, 0.8), JFK=(0.65, 0.75), LGA=None),
    )
    assert (found.passed, found.why) == (passed, "no interval for origin=LGA")
    assert f"(origin={origin}, 200 rows)" in found.got
    assert found.expected.endswith(f"at the {judged_by} end of its interval")


def test_slices_without_any_interval_do_not_pass() -> None:
    found = one({"kind": "worst_slice", "min": 0, "judged_by": "low"}, sliced(EWR=None))
    assert (found.passed, found.why) == (False, "no interval for origin=EWR")


def test_of_the_worse_end_what_the_winner_looks_too_good_by_is_taken_off() -> None:
    known = Optimism(metric="roc_auc", value=0.01, method="bootstrap", candidates=3)
    gate = {"kind": "absolute", "metric": "roc_auc", "min": 0.695, "judged_by": "low"}
    found = one(gate, report(optimism=known))
    assert not found.passed
    assert found.margin == pytest.approx(-0.005)
    assert found.got == "roc_auc 0.72 [0.7, 0.74], minus optimism 0.01"
    assert one(gate, report()).passed
    assert one(gate | {"judged_by": "point"}, report(optimism=known)).passed
    loss = Optimism(metric="log_loss", value=0.02, method="bootstrap", candidates=3)
    spans = {"log_loss": Interval(low=0.46, high=0.5, confidence=0.95, resamples=200)}
    found = one(
        {"kind": "absolute", "metric": "log_loss", "max": 0.51, "judged_by": "high"},
        report(optimism=loss, intervals=spans),
    )
    assert found.margin == pytest.approx(-0.01)


def test_a_metric_without_an_interval_does_not_pass_by_an_end_of_it() -> None:
    span = Interval(low=None, high=None, confidence=0.95, resamples=0, why="there are 3 rows of class 1")
    found = one(
        {"kind": "absolute", "metric": "roc_auc", "min": 0, "judged_by": "low"}, report(intervals={"roc_auc": span})
    )
    assert (found.passed, found.why) == (False, "there are 3 rows of class 1")
