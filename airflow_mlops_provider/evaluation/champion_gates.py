"""The gates that hold the challenger against the champion."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from airflow_mlops_provider.evaluation.tails import lower_end, visible
from airflow_mlops_provider.evaluation.verdicts import ROUNDING, Verdict, finite, number, reason_of, room, verdict_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.evaluation.report import (
        CandidateScores,
        ChampionScores,
        Difference,
        EvaluationReport,
    )
    from airflow_mlops_provider.spec.gates import ChampionAgeGate, ChampionGate

NO_CHAMPION = "no champion yet"
WAY_OUT = (
    "Restore what it needs; or let the other gates decide, with `on_incomparable: pass` on this gate for one run; or "
    "promote the new version by hand: airflow mlops promote PIPELINE VERSION --despite-gates --reason …"
)


def beats_champion(gate: ChampionGate, report: EvaluationReport) -> Verdict:
    """Return whether the challenger may take the champion's place: as a refresh of it, or as its replacement."""
    return held_against(gate, report.metrics[0], report.challenger, report.champion)


def held_against(
    gate: ChampionGate, first: str, challenger: CandidateScores, champion: ChampionScores | None
) -> Verdict:
    """Return whether a candidate may take the champion's place.

    :param first: the metric that decides where the gate names none.
    """
    metric = gate.metric or first
    value = finite(challenger.metrics.get(metric))
    refresh = gate.refresh and is_refresh(challenger, champion)
    expected = _expected(gate, champion, refresh=refresh)
    if champion is None:
        why = NO_CHAMPION if value is not None else reason_of(challenger, metric)
        return verdict_of(gate, passed=value is not None, got=f"{metric} {number(value)}", expected=expected, why=why)
    got = f"{metric} {number(value)} vs v{champion.version} {number(champion.metrics.get(metric))}"
    difference = champion.differences.get(metric)
    if champion.unusable is not None or difference is None or finite(difference.value) is None or difference.why:
        why = champion.unusable or (difference.why if difference is not None else None) or "it was not compared"
        return _incomparable(gate, f"champion v{champion.version}: {why}", got, expected, measured=value is not None)
    judged = _refresh if refresh else _replacement
    low, high, bound, passed, why = judged(gate, champion, difference, ROUNDING * abs(value or 0))
    return verdict_of(
        gate,
        passed=passed,
        got=f"{got}, gain {number(difference.value)} [{number(low)}, {number(high)}]",
        expected=expected,
        why="; ".join(filter(None, [why, _compared(champion)])),
        metric=metric,
        margin=room(high if refresh else low, bound),
        spent=None if refresh else rate_of(gate, champion),
    )


def is_refresh(challenger: CandidateScores, champion: ChampionScores | None) -> bool:
    """Return whether a candidate is the champion's own recipe on newer data. Of an older champion nobody knows."""
    return champion is not None and challenger.recipe is not None and challenger.recipe == champion.recipe


def rate_of(gate: ChampionGate, champion: ChampionScores) -> float:
    """Return the one-sided error rate that a look at a replacement may spend; 0 where there is nothing new to look at.

    The first look at a replacement of a champion has what a single look has, by default half of `alpha`. Those after
    it share half of `alpha` in each `alpha_period`, in proportion to the data that no earlier one has used. So the
    rates of all looks of the first period add up to `alpha`, whatever they have in common (Bonferroni; spending by
    information: Lan & DeMets 1983).
    """
    single = (1 - gate.confidence) / 2
    if gate.alpha is None or champion.unseen is None:
        return single
    return min(single, gate.alpha / 2 * (champion.unseen / gate.alpha_period))


_Judged = tuple[float | None, float | None, float, bool, str]


def _refresh(gate: ChampionGate, champion: ChampionScores, difference: Difference, noise: float) -> _Judged:
    """Return the interval, the bound of its upper end, whether that holds, and what the interval cannot rule out."""
    low, high = span(difference.quantiles, gate.confidence)
    passed = high is not None and high >= -gate.margin - noise
    if not passed:
        return low, high, -gate.margin, False, f"a refresh that is worse than champion v{champion.version}"
    seen = visible(difference, (1 - gate.confidence) / 2)
    could = "" if seen is None else f"; one of {number(gate.margin + seen)} would be seen 8 times in 10"
    why = f"a refresh of v{champion.version}: a loss of {number(max(0.0, -(low or 0.0)))} is not ruled out{could}"
    return low, high, -gate.margin, True, why


def _replacement(gate: ChampionGate, champion: ChampionScores, difference: Difference, noise: float) -> _Judged:
    """Return the interval at the rate of this look, the bound of its lower end, whether it holds, and why not."""
    rate, bound = rate_of(gate, champion), gate.margin if gate.rule == "better" else -gate.margin
    low, high = span(difference.quantiles, gate.confidence)
    if rate < (1 - gate.confidence) / 2:
        low = lower_end(difference, rate)
    if rate <= 0:
        why = (
            "earlier looks have used all data so far, so this look has no error rate left to spend; the next look at "
            "newer data will have one"
        )
        return None, high, bound, False, why
    passed = low is not None and (low > bound + noise if gate.rule == "better" else low >= bound - noise)
    seen = visible(difference, rate)
    could = "" if seen is None else f"a gain of {number(bound + seen)} would be seen 8 times in 10"
    return low, high, bound, passed, "; ".join(filter(None, ["" if passed else _not(gate, champion), could]))


def _expected(gate: ChampionGate, champion: ChampionScores | None, *, refresh: bool) -> str:
    """Return in words what the gate requires."""
    if refresh:
        return f"refresh: no loss > {number(gate.margin)} with {gate.confidence:g}"
    confidence = gate.confidence if champion is None else max(gate.confidence, 1 - 2 * rate_of(gate, champion))
    least = f"> {number(gate.margin)}" if gate.rule == "better" else f">= {number(-gate.margin)}"
    return f"{gate.rule}: gain {least} with {confidence:.6g}"


def _incomparable(gate: ChampionGate, why: str, got: str, expected: str, *, measured: bool) -> Verdict:
    """Return what follows where there is nothing to hold the challenger against, with the way out."""
    passed = gate.on_incomparable == "pass" and measured
    # Left to `on_fail`, nothing would ever be promoted again, on green runs: a person must know.
    judged = gate.model_copy(update={"on_fail": "skip" if gate.on_incomparable == "skip" else "fail"})
    if passed:
        why += " (on_incomparable: pass)"
    elif measured:
        why += f" {WAY_OUT}"
    return verdict_of(judged, passed=passed, got=got, expected=expected, why=why)


def champion_age(gate: ChampionAgeGate, report: EvaluationReport) -> Verdict:
    """Return whether the champion has served long enough."""
    expected = f">= {gate.min}"
    if report.champion is None:
        return verdict_of(gate, passed=True, got="none", expected=expected, why=NO_CHAMPION)
    served = report.as_of - report.champion.order_key
    return verdict_of(
        gate,
        passed=served >= gate.min,
        got=f"v{report.champion.version} is {served} old in data time",
        expected=expected,
        margin=room(served.total_seconds(), gate.min.total_seconds()),
    )


def span(quantiles: Sequence[float], confidence: float) -> tuple[float | None, float | None]:
    """Return the two-sided interval of ascending quantiles, between them linearly (as `numpy.quantile` does).

    >>> span([0.0, 1.0, 2.0, 3.0, 4.0], 0.5)
    (1.0, 3.0)
    """
    if len(quantiles) < 2 or any(finite(value) is None for value in quantiles):
        return None, None
    return _at(quantiles, (1 - confidence) / 2), _at(quantiles, (1 + confidence) / 2)


def _at(quantiles: Sequence[float], share: float) -> float:
    place = share * (len(quantiles) - 1)
    below = min(math.floor(place), len(quantiles) - 2)
    return quantiles[below] + (place - below) * (quantiles[below + 1] - quantiles[below])


def _not(gate: ChampionGate, champion: ChampionScores) -> str:
    return f"{'not better' if gate.rule == 'better' else 'perhaps worse'} than champion v{champion.version}"


def _compared(champion: ChampionScores) -> str:
    if champion.compared == "recorded":
        seen = champion.seen or "the champion has seen these rows"
        return f"{seen}, so its recorded metric is compared, unpaired and with the error of both"
    if champion.common is not None:
        common = f"{champion.common:,} common rows"
        return f"the out-of-fold predictions of both on {common} are compared: two procedures, not the serving models"
    if champion.refitted:
        return (
            "the judged models are compared, each before its refit on all rows: two procedures, not the serving models"
        )
    return ""
