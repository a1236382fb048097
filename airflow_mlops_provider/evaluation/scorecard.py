"""What a person decides by: the challenger beside the champion and the baseline, on a page of Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.evaluation.plausibility import too_good

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_mlops_provider.evaluation.report import EvaluationReport

#: What Markdown, or a browser behind it, would read as more than text. Names of columns and values come from data.
_MARKUP = re.compile(r"([\\`*_{}\[\]()<>#+!|~&-])")


def scorecard(
    report: EvaluationReport,
    verdicts: Sequence[Mapping[str, Any]],
    *,
    version: int,
    serves: str | None = None,
    url: str | None = None,
) -> str:
    """Return metrics with intervals, the worst slices and every gate, in Markdown.

    :param verdicts: the gates' verdicts, as stored.
    :param version: of the challenger.
    :param serves: a sentence on which model will serve.
    :param url: where the version is shown.
    """
    champion = report.champion
    against = "no champion yet" if champion is None else f"version {champion.version}"
    name = f"[version {version}]({url})" if url else f"version {version}"
    return "\n".join(
        [
            f"Candidate **{_text(report.winner)}** ({name}), trained on data known at {report.as_of:%Y-%m-%d %H:%M} "
            f"UTC: {report.rows.training:,} rows, measured on {report.rows.holdout:,} held-out rows. "
            f"Champion: {against}.",
            *([] if serves is None else [_text(serves)]),
            *(f"**{_text(remark)}.**" for remark in too_good(report)),
            *([f"Candidates that did not finish: {_text(', '.join(report.lost))}."] if report.lost else []),
            "",
            "| metric | challenger | interval | champion | baseline | worst slice |",
            "|---|---|---|---|---|---|",
            *(_row(report, metric) for metric in report.metrics),
            *([] if champion is None else [_compared(report)]),
            "",
            "| gate | verdict | got | expected | why |",
            "|---|---|---|---|---|",
            *(_verdict(verdict) for verdict in verdicts),
        ]
    )


def _row(report: EvaluationReport, metric: str) -> str:
    interval, slices = report.intervals.get(metric), report.worst_slices.get(metric)
    champion = report.champion.metrics.get(metric) if report.champion else None
    known = interval is not None and interval.low is not None
    cells = [
        _text(metric),
        f"**{_number(report.challenger.metrics.get(metric))}**",
        f"{_number(interval.low)} to {_number(interval.high)}" if interval is not None and known else "unknown",
        _number(champion),
        _number(report.baseline.metrics.get(metric)),
        f"{_number(slices.metric)} ({_text(f'{slices.column} = {slices.value}')}, {slices.rows:,} rows)"
        if slices
        else "not measured",
    ]
    return f"| {' | '.join(cells)} |"


def _compared(report: EvaluationReport) -> str:
    champion = report.champion
    if champion is not None and champion.common is not None:
        return f"\nThe champion's figures are out-of-fold on {champion.common:,} rows that both have held out."
    if champion is None or champion.compared == "paired":
        return "\nChallenger and champion were measured on the same held-out rows."
    return f"\nThe champion's figures come from its own holdout: {_text(champion.seen or champion.unusable or '')}."


def _verdict(verdict: Mapping[str, Any]) -> str:
    predictions = "pass" if verdict["passed"] else "**fail**"
    cells = [_text(str(verdict[name])) for name in ("name", "got", "expected")]
    return f"| {cells[0]} | {predictions} | {cells[1]} | {cells[2]} | {_text(str(verdict.get('why') or ''))} |"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def _text(value: str) -> str:
    """Return text that is shown as it is, whatever it holds."""
    return _MARKUP.sub(r"\\\1", " ".join(value.split()))
