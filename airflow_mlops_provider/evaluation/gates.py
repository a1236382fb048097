"""The gates: `(what evaluate found, spec) -> Verdict`. Pure, and no number that is not finite ever passes one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.evaluation.champion_gates import beats_champion, champion_age, span
from airflow_mlops_provider.evaluation.custom_gates import custom
from airflow_mlops_provider.evaluation.judgement_gates import max_gap, max_importance, min_group_metric
from airflow_mlops_provider.evaluation.metrics import gain
from airflow_mlops_provider.evaluation.report import Difference
from airflow_mlops_provider.evaluation.verdicts import (
    ROUNDING,
    Verdict,
    bounds,
    end,
    finite,
    number,
    reason_of,
    room,
    verdict_of,
    within,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_mlops_provider.evaluation.probe_report import PredictionStats
    from airflow_mlops_provider.evaluation.report import EvaluationReport, Interval, Slice
    from airflow_mlops_provider.spec.gates import (
        AbsoluteGate,
        BaselineGate,
        Gate,
        JudgedBy,
        LatencyGate,
        PredictionsGate,
        SizeGate,
        SliceGate,
    )

_MEGABYTE = 1_000_000


def judge(gates: Sequence[Gate], report: EvaluationReport, load: Callable[[str], Any] | None = None) -> list[Verdict]:
    """Return the verdict of every gate, in order; nothing is acted on here.

    A winner whose deciding metric is undefined fails a gate of its own, `measured`, whatever the settings are.

    :param load: imports the functions of custom gates; without it there is no verdict of those.
    """
    verdicts = _measured(report)
    for gate in gates:
        if gate.kind != "custom":
            verdicts.append(_JUDGES[gate.kind](gate, report))
        elif load is not None:
            verdicts.append(custom(gate, report, load))
    return verdicts


# ---------------------------------------------------------------- one function a kind


def _measured(report: EvaluationReport) -> list[Verdict]:
    metric = report.metrics[0]
    if finite(report.challenger.metrics.get(metric)) is not None:
        return []
    return [
        Verdict(
            name="measured",
            kind="measured",
            passed=False,
            got=f"{metric} undefined",
            expected=f"{metric} is a number",
            why=reason_of(report.challenger, metric),
        )
    ]


def _absolute(gate: AbsoluteGate, report: EvaluationReport) -> Verdict:
    value, span = finite(report.challenger.metrics.get(gate.metric)), report.intervals.get(gate.metric)
    judged, chosen = _end_of(value, span, gate.judged_by), ""
    known, sign = report.optimism, gain(gate.metric, 1.0, 0.0)
    worse = gate.judged_by == ("low" if sign > 0 else "high")
    if worse and judged is not None and known is not None and known.metric == gate.metric and known.value > 0:
        # The winner was chosen by these very rows.
        judged, chosen = judged - sign * known.value, f", minus optimism {number(known.value)}"
    why = "" if value is not None else reason_of(report.challenger, gate.metric)
    if value is not None and judged is None:
        why = (span.why if span is not None else None) or "the evaluation has no interval for it"
    return verdict_of(
        gate,
        passed=within(judged, gate.min, gate.max),
        got=f"{gate.metric} {number(value)}{_spanned(span, gate.judged_by)}{chosen}",
        expected=bounds(gate.min, gate.max) + end(gate.judged_by),
        why=why,
        metric=gate.metric,
        margin=room(judged, gate.min, gate.max),
    )


def _end_of(value: float | None, span: Interval | None, judged_by: JudgedBy) -> float | None:
    """Return the number that a gate judges; None where there is none."""
    if judged_by == "point" or value is None:
        return value
    return None if span is None else finite(span.low if judged_by == "low" else span.high)


def _spanned(span: Interval | None, judged_by: JudgedBy) -> str:
    if judged_by == "point":
        return ""
    return f" [{number(span.low if span else None)}, {number(span.high if span else None)}]"


def _baseline(gate: BaselineGate, report: EvaluationReport) -> Verdict:
    metric = gate.metric or report.metrics[0]
    value, dummy = finite(report.challenger.metrics.get(metric)), finite(report.baseline.metrics.get(metric))
    got = f"{metric} {number(value)} vs {number(dummy)}"
    expected = (
        f"better than a dummy by {'>=' if gate.min_gain else '>'} {number(gate.min_gain)} with {gate.confidence:g}"
    )
    if value is None or dummy is None:
        why = reason_of(report.challenger if value is None else report.baseline, metric)
        return verdict_of(gate, passed=False, got=got, expected=expected, why=why, metric=metric)
    difference = report.over_baseline.get(metric, _not_resampled(gain(metric, value, dummy)))
    low, high = span(difference.quantiles, gate.confidence)
    return verdict_of(
        gate,
        passed=low is not None and low > ROUNDING * abs(value) and low >= gate.min_gain,
        got=f"{got}, gain {number(difference.value)} [{number(low)}, {number(high)}]",
        expected=expected,
        why=difference.why or "",
        metric=metric,
        margin=room(low, gate.min_gain),
    )


def _not_resampled(gained: float) -> Difference:
    """Return what is known of a gain in an older evaluation, which was judged by it alone."""
    return Difference(value=gained, quantiles=[gained, gained])


def _slices(gate: SliceGate, report: EvaluationReport) -> Verdict:
    metric = gate.metric or report.metrics[0]
    if gate.judged_by != "point":
        return _slices_by_interval(gate, metric, report)
    worst = report.worst_slices.get(metric)
    value = None if worst is None else finite(worst.metric)
    unmeasured = [f"{item.column}={item.value}" for item in report.slices if item.metrics.get(metric) is None]
    why = f"undefined on {', '.join(unmeasured[:3])}{' ...' if unmeasured[3:] else ''}" if unmeasured else ""
    if worst is None:
        why = why or "no slice has enough rows, or evaluation.slices is empty"
    return verdict_of(
        gate,
        passed=within(value, gate.min, gate.max),
        got=f"{metric} {number(value)}" + (f" ({worst.column}={worst.value})" if worst is not None else ""),
        expected=f"every slice {bounds(gate.min, gate.max)}",
        why=why,
        metric=metric,
        margin=room(value, gate.min, gate.max),
    )


def _slices_by_interval(gate: SliceGate, metric: str, report: EvaluationReport) -> Verdict:
    """Return whether an end of each slice's interval reaches the bound; a slice without one is named."""
    judged: list[tuple[float, Slice]] = []
    unsure = []
    for one in report.slices:
        value, span = finite(one.metrics.get(metric)), one.intervals.get(metric)
        if (at := _end_of(value, span, gate.judged_by)) is None:
            unsure.append(f"{one.column}={one.value}")
        else:
            judged.append((at, one))
    why = f"no interval for {', '.join(unsure[:3])}{' ...' if unsure[3:] else ''}" if unsure else ""
    expected = f"every slice {bounds(gate.min, gate.max)}{end(gate.judged_by)}"
    if not judged:
        why = why or "no slice has enough rows, or evaluation.slices is empty"
        if metric != report.metrics[0]:
            why = f"slices have intervals only for the first metric, {report.metrics[0]}"
        return verdict_of(gate, passed=False, got=f"{metric} undefined", expected=expected, why=why, metric=metric)
    at, worst = min(judged, key=lambda one: room(one[0], gate.min, gate.max) or 0.0)
    return verdict_of(
        gate,
        passed=within(at, gate.min, gate.max),
        got=f"{metric} {number(worst.metrics[metric])}{_spanned(worst.intervals[metric], gate.judged_by)} "
        f"({worst.column}={worst.value}, {worst.rows} rows)",
        expected=expected,
        why=why,
        metric=metric,
        margin=room(at, gate.min, gate.max),
    )


def _latency(gate: LatencyGate, report: EvaluationReport) -> Verdict:
    expected = f"p95 <= {number(gate.max_p95_ms)} ms"
    if report.latency is None:
        why = "pass the result of step latency to the gates, as QualityGateOperator does"
        return verdict_of(gate, passed=False, got="not measured", expected=expected, why=why)
    p95, rate = finite(report.latency.p95_ms), finite(report.latency.rows_per_second)
    got = f"p95 {number(p95)} ms"
    passed, margin = within(p95, None, gate.max_p95_ms), room(p95, high=gate.max_p95_ms)
    if gate.min_rows_per_second is not None:
        expected += f", >= {number(gate.min_rows_per_second)} rows/s"
        got += f", {number(rate)} rows/s"
        passed, margin = passed and within(rate, gate.min_rows_per_second, None), None
    return verdict_of(gate, passed=passed, got=got, expected=expected, margin=margin)


def _predictions(gate: PredictionsGate, report: EvaluationReport) -> Verdict:
    stats = report.predictions
    max_shift = gate.limit(report.task)
    problems, got, expected = [], [f"{stats.nulls} nulls"], ["0 nulls"]
    if stats.nulls:
        problems.append(f"{stats.nulls} of {stats.rows} predictions are not finite")
    if report.task != "regression":
        bound = gate.least_share(len(stats.shares))
        least_of = {label: bound * stats.share_left(label) for label in stats.shares}
        label, share = min(
            stats.shares.items(), key=lambda item: _room_of_share(item[1], least_of[item[0]]), default=("none", None)
        )
        got.append(f"smallest class {number(share)}")
        least = least_of.get(label, bound)
        expected.append(f">= {number(least)}")
        if not within(share, least, None):
            problems.append(f"class {label} is {number(share)} of the predictions")
    got.append(_shift(stats))
    expected.append(f"<= {number(max_shift)}")
    if not within(stats.judged_shift, None, max_shift):
        problems.append(stats.why or f"predictions are far from the training target{_and_held_out(stats)}")
    return verdict_of(
        gate, passed=not problems, got=", ".join(got), expected=", ".join(expected), why="; ".join(problems)
    )


def _size(gate: SizeGate, report: EvaluationReport) -> Verdict:
    size = report.model_bytes / _MEGABYTE
    return verdict_of(
        gate,
        passed=within(size, None, gate.max_mb),
        got=f"{number(size)} MB",
        expected=f"<= {number(gate.max_mb)} MB",
        margin=room(size, high=gate.max_mb),
    )


def _room_of_share(share: float | None, least: float) -> float:
    share = finite(share)
    return -math.inf if share is None else share - least


def _shift(stats: PredictionStats) -> str:
    """Return in words how far predictions lie from the target, and how much of that time explains."""
    judged, whole = stats.judged_shift, finite(stats.shift)
    explained = judged is not None and whole is not None and whole - judged > ROUNDING
    return f"shift {number(judged)}" + (f" beyond the target's own (of {number(whole)})" if explained else "")


def _and_held_out(stats: PredictionStats) -> str:
    return "" if stats.unexplained_shift is None else " and from the held-out one"


_JUDGES: dict[str, Callable[[Any, EvaluationReport], Verdict]] = {
    "absolute": _absolute,
    "baseline": _baseline,
    "worst_slice": _slices,
    "latency": _latency,
    "predictions": _predictions,
    "model_size": _size,
    "champion": beats_champion,
    "champion_age": champion_age,
    "max_gap": max_gap,
    "min_group_metric": min_group_metric,
    "max_importance": max_importance,
}
