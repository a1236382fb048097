"""The gates: `(what evaluate found, spec) -> Verdict`. Pure, and no number that is not finite ever passes one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pydantic import Field

from airflow_mlops_provider.evaluation.metrics import gain
from airflow_mlops_provider.spec.frozen import Frozen
from airflow_mlops_provider.spec.gates import (
    AbsoluteGate,
    BaselineGate,
    ChampionAgeGate,
    ChampionGate,
    LatencyGate,
    OnFail,
    PredictionsGate,
    SizeGate,
    SliceGate,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_mlops_provider.evaluation.report import ChampionScores, EvaluationReport, Scores
    from airflow_mlops_provider.spec.gates import Gate

NO_CHAMPION = "no champion yet"
_MEGABYTE = 1_000_000
#: One model asked twice may differ in the last digits, by the order in which threads add up its trees: no gain is that.
_ROUNDING = 1e-9


class Verdict(Frozen):
    """What one gate says.

    :param got: what was measured, in words.
    :param expected: what the gate asks for, in words.
    :param why: the reason, where the numbers alone do not say it.
    """

    name: str
    kind: str
    passed: bool
    on_fail: OnFail = "fail"
    got: str
    expected: str
    why: str = Field("", description="Empty when got and expected say it all.")


def judge(gates: Sequence[Gate], report: EvaluationReport) -> list[Verdict]:
    """Return the verdict of every gate, in order; nothing is acted on here.

    A winner whose deciding metric is undefined fails a gate of its own, `measured`, whatever the settings are.
    """
    return [*_measured(report), *(_JUDGES[gate.kind](gate, report) for gate in gates)]


def gates_table(verdicts: Sequence[Verdict | Mapping[str, Any]]) -> str:
    """Return verdicts, or what was stored of them, as an aligned table of plain text, for a log.

    >>> print(gates_table([Verdict(name="size", kind="model_size", passed=True, got="3.0 MB", expected="<= 50 MB")]))
    gate  verdict  got     expected  why
    size  pass     3.0 MB  <= 50 MB
    """
    lines: list[tuple[str, ...]] = [("gate", "verdict", "got", "expected", "why")]
    for verdict in map(Verdict.model_validate, verdicts):
        outcome = "pass" if verdict.passed else verdict.on_fail.upper()
        lines.append((verdict.name, outcome, verdict.got, verdict.expected, verdict.why))
    # A column name may hold a line break, which would tear the table.
    lines = [tuple(" ".join(cell.split()) for cell in line) for line in lines]
    widths = [max(len(line[index]) for line in lines) for index in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[4]]).rstrip()
        for line in lines
    )


def number(value: float | None) -> str:
    """Return a number as people read it.

    >>> number(0.412345678), number(None)
    ('0.4123', 'undefined')
    """
    return "undefined" if value is None or not math.isfinite(value) else f"{value:.4g}"


# ---------------------------------------------------------------- one function a kind


def _measured(report: EvaluationReport) -> list[Verdict]:
    metric = report.metrics[0]
    if _finite(report.challenger.metrics.get(metric)) is not None:
        return []
    return [
        Verdict(
            name="measured",
            kind="measured",
            passed=False,
            got=f"{metric} undefined",
            expected=f"{metric} is a number",
            why=_reason(report.challenger, metric),
        )
    ]


def _absolute(gate: AbsoluteGate, report: EvaluationReport) -> Verdict:
    value = _finite(report.challenger.metrics.get(gate.metric))
    return _verdict(
        gate,
        passed=_within(value, gate.min, gate.max),
        got=f"{gate.metric} {number(value)}",
        expected=_bounds(gate.min, gate.max),
        why="" if value is not None else _reason(report.challenger, gate.metric),
    )


def _baseline(gate: BaselineGate, report: EvaluationReport) -> Verdict:
    metric = gate.metric or report.metrics[0]
    value, dummy = _finite(report.challenger.metrics.get(metric)), _finite(report.baseline.metrics.get(metric))
    gained = None if value is None or dummy is None else _finite(gain(metric, value, dummy))
    return _verdict(
        gate,
        passed=gained is not None and gained > _ROUNDING * abs(value or 0) and gained >= gate.min_gain,
        got=f"{metric} {number(value)} vs {number(dummy)}",
        expected=f"better than a dummy by {'>=' if gate.min_gain else '>'} {number(gate.min_gain)}",
        why="" if gained is not None else _reason(report.challenger if value is None else report.baseline, metric),
    )


def _slices(gate: SliceGate, report: EvaluationReport) -> Verdict:
    metric = gate.metric or report.metrics[0]
    worst = report.worst_slices.get(metric)
    value = None if worst is None else _finite(worst.metric)
    unmeasured = [f"{item.column}={item.value}" for item in report.slices if item.metrics.get(metric) is None]
    why = f"undefined on {', '.join(unmeasured[:3])}{' ...' if unmeasured[3:] else ''}" if unmeasured else ""
    if worst is None:
        why = why or "no slice has enough rows, or evaluation.slices is empty"
    return _verdict(
        gate,
        passed=_within(value, gate.min, gate.max),
        got=f"{metric} {number(value)}" + (f" ({worst.column}={worst.value})" if worst is not None else ""),
        expected=f"every slice {_bounds(gate.min, gate.max)}",
        why=why,
    )


def _latency(gate: LatencyGate, report: EvaluationReport) -> Verdict:
    p95, rate = _finite(report.latency.p95_ms), _finite(report.latency.rows_per_second)
    expected, got = f"p95 <= {number(gate.max_p95_ms)} ms", f"p95 {number(p95)} ms"
    passed = _within(p95, None, gate.max_p95_ms)
    if gate.min_rows_per_second is not None:
        expected += f", >= {number(gate.min_rows_per_second)} rows/s"
        got += f", {number(rate)} rows/s"
        passed = passed and _within(rate, gate.min_rows_per_second, None)
    return _verdict(gate, passed=passed, got=got, expected=expected)


def _predictions(gate: PredictionsGate, report: EvaluationReport) -> Verdict:
    stats = report.predictions
    max_shift = gate.limit(report.task)
    problems, got, expected = [], [f"{stats.nulls} nulls"], ["0 nulls"]
    if stats.nulls:
        problems.append(f"{stats.nulls} of {stats.rows} predictions are not finite")
    if report.task != "regression":
        label, share = min(stats.shares.items(), key=_order_of_share, default=("none", None))
        got.append(f"smallest class {number(share)}")
        expected.append(f">= {number(gate.min_class_share)}")
        if not _within(share, gate.min_class_share, None):
            problems.append(f"class {label} is {number(share)} of the predictions")
    got.append(f"shift {number(stats.shift)}")
    expected.append(f"<= {number(max_shift)}")
    if not _within(stats.shift, None, max_shift):
        problems.append(stats.why or "predictions are far from the training target")
    return _verdict(
        gate, passed=not problems, got=", ".join(got), expected=", ".join(expected), why="; ".join(problems)
    )


def _size(gate: SizeGate, report: EvaluationReport) -> Verdict:
    size = report.model_bytes / _MEGABYTE
    return _verdict(
        gate,
        passed=_within(size, None, gate.max_mb),
        got=f"{number(size)} MB",
        expected=f"<= {number(gate.max_mb)} MB",
    )


def _champion(gate: ChampionGate, report: EvaluationReport) -> Verdict:
    metric = gate.metric or report.metrics[0]
    value = _finite(report.challenger.metrics.get(metric))
    bound = gate.margin if gate.rule == "better" else -gate.margin
    expected = f"{gate.rule}: gain {'>' if gate.rule == 'better' else '>='} {number(bound)} with {gate.confidence:g}"
    if report.champion is None:
        return _first(gate, metric, value, expected, report)
    champion = report.champion
    got = f"{metric} {number(value)} vs v{champion.version} {number(champion.metrics.get(metric))}"
    difference = champion.differences.get(metric)
    if champion.unusable is not None or difference is None or _finite(difference.value) is None or difference.why:
        why = champion.unusable or (difference.why if difference is not None else None) or "it was not compared"
        # Nothing would ever be promoted again, on green runs: a person must know.
        asked = gate.model_copy(update={"on_fail": "fail"})
        return _verdict(asked, passed=False, got=got, expected=expected, why=f"champion v{champion.version}: {why}")
    low, high = span(difference.quantiles, gate.confidence)
    noise = _ROUNDING * abs(value or 0)
    passed = low is not None and (low > bound + noise if gate.rule == "better" else low >= bound - noise)
    return _verdict(
        gate,
        passed=passed,
        got=f"{got}, gain {number(difference.value)} [{number(low)}, {number(high)}]",
        expected=expected,
        why="; ".join(filter(None, ["" if passed else _not(gate, champion), _compared(champion)])),
    )


def _first(gate: ChampionGate, metric: str, value: float | None, expected: str, report: EvaluationReport) -> Verdict:
    """Return the verdict when there is no champion: a number passes, none fails."""
    why = NO_CHAMPION if value is not None else _reason(report.challenger, metric)
    return _verdict(gate, passed=value is not None, got=f"{metric} {number(value)}", expected=expected, why=why)


def _age(gate: ChampionAgeGate, report: EvaluationReport) -> Verdict:
    expected = f">= {gate.min}"
    if report.champion is None:
        return _verdict(gate, passed=True, got="none", expected=expected, why=NO_CHAMPION)
    age = report.as_of - report.champion.order_key
    return _verdict(
        gate, passed=age >= gate.min, got=f"v{report.champion.version} is {age} old in data time", expected=expected
    )


_JUDGES: dict[str, Callable[[Any, EvaluationReport], Verdict]] = {
    "absolute": _absolute,
    "baseline": _baseline,
    "worst_slice": _slices,
    "latency": _latency,
    "predictions": _predictions,
    "model_size": _size,
    "champion": _champion,
    "champion_age": _age,
}


# ---------------------------------------------------------------- small parts


def span(quantiles: Sequence[float], confidence: float) -> tuple[float | None, float | None]:
    """Return the two-sided interval of ascending quantiles, between them linearly (as `numpy.quantile` does).

    >>> span([0.0, 1.0, 2.0, 3.0, 4.0], 0.5)
    (1.0, 3.0)
    """
    if len(quantiles) < 2 or any(_finite(value) is None for value in quantiles):
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


def _verdict(gate: Gate, *, passed: bool, got: str, expected: str, why: str = "") -> Verdict:
    return Verdict(
        name=gate.label, kind=gate.kind, passed=passed, on_fail=gate.on_fail, got=got, expected=expected, why=why
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _within(value: float | None, low: float | None, high: float | None) -> bool:
    if _finite(value) is None or value is None:
        return False
    return (low is None or value >= low) and (high is None or value <= high)


def _order_of_share(item: tuple[str, float | None]) -> float:
    share = _finite(item[1])
    return -math.inf if share is None else share


def _bounds(low: float | None, high: float | None) -> str:
    return " and ".join(f"{sign} {number(bound)}" for sign, bound in ((">=", low), ("<=", high)) if bound is not None)


def _reason(scores: Scores, metric: str) -> str:
    return scores.undefined.get(metric, f"{metric} was not measured")
