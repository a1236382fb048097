"""The gates between groups of rows, and on what the winner relies on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.evaluation.verdicts import bounds, end, finite, number, room, verdict_of, within

if TYPE_CHECKING:
    from airflow_mlops_provider.evaluation.group_report import FairnessReport, Gap, GroupMetric
    from airflow_mlops_provider.evaluation.report import EvaluationReport
    from airflow_mlops_provider.evaluation.verdicts import Verdict
    from airflow_mlops_provider.spec.gates import GapGate, GroupMetricGate, ImportanceGate, JudgedBy

_NOT_ASKED = "the evaluation has no such section"


def max_gap(gate: GapGate, report: EvaluationReport) -> Verdict:
    """Return whether the groups are near enough to each other; the worst column counts."""
    expected = f"{gate.gap} <= {number(gate.max)}{end(gate.judged_by)}"
    fairness = report.fairness
    gaps = [gap for gap in fairness.gaps if _is(gate.gap, gate.column, gap)] if fairness is not None else []
    if fairness is None or not gaps:
        why = _NOT_ASKED if fairness is None else "it was not measured"
        return verdict_of(gate, passed=False, got=f"{gate.gap} undefined", expected=expected, why=why)
    lost = [gap for gap in gaps if _judged(gap, gate.judged_by) is None]
    worst = lost[0] if lost else max(gaps, key=lambda gap: _judged(gap, gate.judged_by) or 0.0)
    value = _judged(worst, gate.judged_by)
    return verdict_of(
        gate,
        passed=within(value, None, gate.max),
        got=f"{gate.gap} {_spanned(worst)} ({_pair(fairness, worst)})",
        expected=expected,
        why=worst.why or "",
        margin=room(value, high=gate.max),
    )


def min_group_metric(gate: GroupMetricGate, report: EvaluationReport) -> Verdict:
    """Return whether every judged group reaches the bound."""
    metric = gate.metric or report.metrics[0]
    expected = f"{metric} of every group {bounds(gate.min, None)}{end(gate.judged_by)}"
    fairness = report.fairness
    columns = [] if fairness is None else [gate.column] if gate.column is not None else fairness.columns
    missing = [column for column in columns if fairness is None or not fairness.of(column)]
    if fairness is None or not columns or missing:
        why = _NOT_ASKED if fairness is None else f"no group of {', '.join(missing)} could be judged"
        return verdict_of(gate, passed=False, got=f"{metric} undefined", expected=expected, why=why)
    groups = [group for column in columns for group in fairness.of(column)]

    def rank(index: int) -> float:
        value = _judged(groups[index].metrics.get(metric), gate.judged_by)
        return -float("inf") if value is None else value

    worst = groups[min(range(len(groups)), key=rank)]
    found = worst.metrics.get(metric)
    return verdict_of(
        gate,
        passed=within(_judged(found, gate.judged_by), gate.min, None),
        got=f"{metric} {_spanned(found)} ({worst.column}={worst.value}, {worst.rows} rows)",
        expected=expected,
        why=f"{metric} was not measured" if found is None else found.why or "",
        metric=metric,
        margin=room(_judged(found, gate.judged_by), gate.min),
    )


def max_importance(gate: ImportanceGate, report: EvaluationReport) -> Verdict:
    """Return whether no column carries more of the importance than it may; the one furthest over counts."""
    limits = [f"{name} <= {share:.0%}" for name, share in gate.columns.items()]
    expected = ", ".join([*limits, *([f"any other <= {gate.any:.0%}"] if gate.any is not None else [])])
    overall = None if report.explanation is None else report.explanation.overall
    if overall is None or not overall.columns:
        why = _NOT_ASKED if overall is None else overall.why or "nothing was explained"
        return verdict_of(gate, passed=False, got="importance undefined", expected=expected, why=why)
    shares = {one.column: one.share for one in overall.columns}
    # A column that preparation dropped is not relied on.
    held = {name: (shares.get(name, 0.0), limit) for name, limit in gate.columns.items()}
    if gate.any is not None:
        held |= {name: (share, gate.any) for name, share in shares.items() if name not in gate.columns}
    over = sorted((name for name, (share, limit) in held.items() if not within(share, None, limit)))
    shown = max(over or held, key=lambda name: held[name][0] - held[name][1])
    return verdict_of(
        gate,
        passed=not over,
        got=f"{shown} {held[shown][0]:.1%}",
        expected=expected,
        why=f"the winner relies on {', '.join(repr(name) for name in over)} more than is plausible" if over else "",
        margin=room(held[shown][0], high=held[shown][1]),
    )


def _is(name: str, column: str | None, gap: Gap) -> bool:
    return gap.gap == name and column in (None, gap.column)


def _judged(found: GroupMetric | None, judged_by: JudgedBy) -> float | None:
    if found is None or found.value is None:
        return None
    return finite({"point": found.value, "low": found.low, "high": found.high}[judged_by])


def _spanned(found: GroupMetric | None) -> str:
    if found is None or found.value is None:
        return "undefined"
    return f"{number(found.value)} [{number(found.low)}, {number(found.high)}]"


def _pair(fairness: FairnessReport, gap: Gap) -> str:
    """Return the two groups that are furthest apart, with their rows."""
    if gap.metric is None:
        return gap.column
    groups = [fairness.group(gap.column, value) for value in (gap.highest, gap.lowest)]
    predictions = [f"{one.value} {number(one.metrics[gap.metric].value)} of {one.rows} rows" for one in groups]
    return f"{gap.column}: {gap.metric} {', '.join(predictions)}"
