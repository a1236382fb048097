"""The drift report as a page, drawn from its numbers: tens of kilobytes where Evidently's own is 3.5 MB and more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.exceptions import shorten
from airflow_mlops_provider.reports import Cell, page, table, two_histograms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.monitoring.drift_report import ColumnDrift, DriftReport, Problem, Side

_METHODS = {"wasserstein": "Wasserstein", "jensenshannon": "Jensen-Shannon"}
_HEADINGS = {"feature": "Features", "prediction": "Predictions", "target": "Target"}
_HEADERS = [
    "Column",
    "Verdict",
    "Distance",
    "Bound",
    "Weight",
    "Reference (filled) and window (line)",
    "Reference",
    "Window",
]
_SHOWN = 120
_SHOWN_INCIDENTS = 10
_SHOWN_LABELS = 3


def drift_page(report: DriftReport, pipeline: str) -> str:
    """Return the page: the verdict, then the columns, those that matter most to it first."""
    # Green says that nothing moved: a window below the limit may still be one that is decided to retrain.
    calm = report.judged and not any(column.drifted or column.broken for column in report.columns)
    verdict = "bad" if report.drifted else "good" if calm else "warn"
    lines = [Cell(report.why, verdict), Cell(_about(report))]
    lines[:0] = [Cell(f"Incident: {one}.", "bad") for one in report.incident[:_SHOWN_INCIDENTS]]
    if report.usual_by is not None:
        lines.append(Cell(report.usual_by, "" if report.stretches else "warn"))
    if report.prediction_drift is not None:
        lines.append(_verdict_line("The predictions", report.prediction_drift))
    if report.target_drift is not None:
        lines.append(_verdict_line("The target", report.target_drift))
    sections = [_problems_table(report.worst_problems)] if report.problems else []
    for role, heading in _HEADINGS.items():
        columns = [column for column in report.columns if column.role == role]
        columns.sort(key=lambda column: (not column.broken, -column.force, column.column))
        if columns:
            sections.append(table(heading, _HEADERS, [_row(column) for column in columns]))
    footer = (
        "Distances on bounded samples: numbers by Wasserstein on the normal scores of the reference, in standard "
        "deviations, categories by Jensen-Shannon. Missing values, ranges and categories are counted in every row."
    )
    return page(f"Drift of {pipeline}", lines, sections, footer)


def _about(report: DriftReport) -> str:
    weights = (
        f"weights are the champion's permutation importance ({report.metric})"
        if report.weights == "importance"
        else "all features have equal weight: no importance was measured"
    )
    return (
        f"{report.rows} rows ({report.sampled} sampled) compared with {report.reference_rows} reference rows of "
        f"version {report.version}; {weights}."
    )


def _verdict_line(what: str, drifted: bool) -> Cell:
    return Cell(f"{what} drifted." if drifted else f"{what} did not drift.", "warn" if drifted else "")


def _problems_table(problems: Sequence[Problem]) -> str:
    rows = [
        [
            Cell(shorten(problem.column or "", _SHOWN)),
            Cell(problem.kind.replace("_", " "), "bad" if problem.broken else "warn"),
            Cell(problem.got),
            Cell(problem.expected),
        ]
        for problem in problems
    ]
    return table("Data quality", ["Column", "Problem", "Got", "Expected"], rows)


def _row(column: ColumnDrift) -> list[Cell]:
    name = shorten(column.column, _SHOWN)
    verdict = "broken" if column.broken else "drifted" if column.drifted else "stable" if column.method else ""
    kind = "bad" if column.drifted else "good" if column.method else ""
    method = f"{_METHODS[column.method]} " if column.method else ""
    before = column.reference.shares if column.reference else []
    after = column.current.shares if column.current else []
    return [
        Cell(name),
        Cell(verdict + (f": {column.why}" if column.why else ""), kind),
        Cell(f"{method}{_number(column.statistic)}", "number"),
        Cell(_number(column.threshold if column.bound is None else column.bound), "number"),
        Cell(f"{column.weight:.1%}" if column.role == "feature" else "", "number"),
        Cell("", figure=two_histograms(before, after, f"Distribution of {name}") if before and after else ""),
        Cell(_side(column, column.reference)),
        Cell(_side(column, column.current)),
    ]


def _side(column: ColumnDrift, side: Side | None) -> str:
    if side is None:
        return ""
    missing = f", {side.missing:.1%} missing" if side.missing else ""
    if column.kind == "numeric":
        if side.low is None:
            return f"no value{missing}"
        return f"mean {_number(side.mean)}, {_number(side.low)} to {_number(side.high)}{missing}"
    top = zip(column.labels[:_SHOWN_LABELS], side.shares, strict=False)
    named = ", ".join(f"{shorten(label, 24)} {share:.1%}" for label, share in top)
    return f"{side.categories} categories{missing}: {named}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
