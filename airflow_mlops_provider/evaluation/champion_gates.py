"""The gates that hold the challenger against the champion."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from airflow_mlops_provider.evaluation.verdicts import ROUNDING, Verdict, finite, number, reason_of, room, verdict_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.evaluation.report import ChampionScores, EvaluationReport
    from airflow_mlops_provider.spec.gates import ChampionAgeGate, ChampionGate

NO_CHAMPION = "no champion yet"
WAY_OUT = (
    "Give it back what it needs; or let the other gates decide, by `on_incomparable: pass` at this gate for a run; or "
    "promote the new version by hand: airflow mlops promote PIPELINE VERSION --despite-gates --reason …"
)


def beats_champion(gate: ChampionGate, report: EvaluationReport) -> Verdict:
    """Return whether the challenger is better than the champion, or not worse by more than a margin."""
    metric = gate.metric or report.metrics[0]
    value = finite(report.challenger.metrics.get(metric))
    bound = gate.margin if gate.rule == "better" else -gate.margin
    expected = f"{gate.rule}: gain {'>' if gate.rule == 'better' else '>='} {number(bound)} with {gate.confidence:g}"
    if report.champion is None:
        return _first(gate, metric, value, expected, report)
    champion = report.champion
    got = f"{metric} {number(value)} vs v{champion.version} {number(champion.metrics.get(metric))}"
    difference = champion.differences.get(metric)
    if champion.unusable is not None or difference is None or finite(difference.value) is None or difference.why:
        why = champion.unusable or (difference.why if difference is not None else None) or "it was not compared"
        return _incomparable(gate, f"champion v{champion.version}: {why}", got, expected, measured=value is not None)
    low, high = span(difference.quantiles, gate.confidence)
    noise = ROUNDING * abs(value or 0)
    passed = low is not None and (low > bound + noise if gate.rule == "better" else low >= bound - noise)
    return verdict_of(
        gate,
        passed=passed,
        got=f"{got}, gain {number(difference.value)} [{number(low)}, {number(high)}]",
        expected=expected,
        why="; ".join(filter(None, ["" if passed else _not(gate, champion), _compared(champion)])),
        metric=metric,
        margin=room(low, bound),
    )


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


def _first(gate: ChampionGate, metric: str, value: float | None, expected: str, report: EvaluationReport) -> Verdict:
    """Return the verdict when there is no champion: a number passes, none fails."""
    why = NO_CHAMPION if value is not None else reason_of(report.challenger, metric)
    return verdict_of(gate, passed=value is not None, got=f"{metric} {number(value)}", expected=expected, why=why)


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
        return f"{champion.seen or 'the champion has seen these rows'}, so its recorded metric is compared, unpaired"
    return ""
