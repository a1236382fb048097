"""The parts of the evaluation's page on groups and on what the winner relies on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.exceptions import shorten
from airflow_mlops_provider.reports import Cell, line_chart, share_bar, shown_of, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.evaluation.explanation_report import Attribution, Dependence, ExplanationReport
    from airflow_mlops_provider.evaluation.group_report import FairnessReport, Gap, GroupMetric

#: Rows of a table of importances; the artifact `evaluation` holds them all.
_SHOWN = 30
#: Letters of a name; one may be longer than a page.
_LONG = 80
#: A drawing has three kinds of lines.
_LINES = 3
_METHODS = {
    "shap_tree": "mean absolute SHAP value of the trees",
    "shap_linear": "mean absolute SHAP value of the linear model",
    "permutation": "drop in the first metric when the column is shuffled",
}


def fairness_sections(report: FairnessReport | None) -> list[str]:
    """Return the gaps, and the groups of each column."""
    if report is None:
        return []
    headers = ["Column", "Gap", "Value", "Interval", "Metric", "Highest", "Lowest", ""]
    sections = [table("Gaps between groups", headers, [_gap(report, gap) for gap in report.gaps])]
    for column in report.columns:
        groups = report.of(column)
        names = list(groups[0].metrics) if groups else []
        rows = [
            [Cell(shorten(one.value, _LONG)), Cell(str(one.rows), "number"), *(_metric(one.metrics[n]) for n in names)]
            for one in groups
        ]
        rows += [
            [Cell(shorten(one.value, _LONG)), Cell(str(one.rows), "number"), *([Cell("–")] * len(names))]
            for one in report.small
            if one.column == column
        ]
        shown, note = shown_of(rows, _SHOWN, "groups", "the artifact `evaluation`")
        headers = [shorten(column, _LONG), "Rows", *map(_words, names)]
        sections.append(table(f"Groups of {shorten(column, _LONG)}", headers, shown, note))
    return [
        *sections,
        f"<p>Intervals are at {report.confidence:.0%}. Groups of fewer than {report.min_rows} rows are "
        "counted but not judged.</p>",
    ]


def explanation_sections(report: ExplanationReport | None) -> list[str]:
    """Return importances, over all and on the worst slice, and the partial dependence of the top columns."""
    if report is None:
        return []
    sections = _importances("What the winner relies on", report.overall)
    if (worst := report.worst_slice) is not None:
        sections += _importances(
            f"On the worst slice, {shorten(worst.column, _LONG)}={shorten(worst.value, _LONG)}", worst
        )
    return sections + [_dependence(one) for one in report.dependence]


def _gap(report: FairnessReport, gap: Gap) -> list[Cell]:
    most, least = "", ""
    if gap.metric is not None:
        most, least = (
            f"{shorten(one.value, _LONG)}: {_text(one.metrics[gap.metric].value)} of {one.rows} rows"
            for one in (report.group(gap.column, gap.highest), report.group(gap.column, gap.lowest))
        )
    span = "" if gap.low is None else f"{_text(gap.low)} to {_text(gap.high)}"
    cells = [
        Cell(shorten(gap.column, _LONG)),
        Cell(_words(gap.gap)),
        Cell(_text(gap.value), "number"),
        Cell(span, "whole"),
    ]
    return [*cells, Cell(_words(gap.metric or "")), Cell(most), Cell(least), Cell(gap.why or "", "warn")]


def _metric(found: GroupMetric) -> Cell:
    span = "" if found.low is None else f" ({_text(found.low)} to {_text(found.high)})"
    return Cell(f"{_text(found.value)}{span}")


def _importances(heading: str, found: Attribution) -> list[str]:
    about = f"{_METHODS[found.method]}, on {found.rows} rows" + (f". {found.why}" if found.why else "")
    rows = [
        [
            Cell(shorten(one.column, _LONG)),
            Cell(f"{one.share:.1%}", "number", share_bar(one.share, f"{one.share:.1%}")),
            Cell(_text(one.importance), "number"),
        ]
        for one in found.columns[:_SHOWN]
    ]
    return [table(heading, ["Column", "Share", f"Importance: {about}"], rows)]


def _dependence(found: Dependence) -> str:
    answers = found.answers
    # Of many classes, those that depend on the column most.
    most = sorted(answers, key=lambda name: min(answers[name]) - max(answers[name]))[:_LINES]
    labels = [shorten(value, _LONG) if isinstance(value, str) else _text(value) for value in found.grid]
    column = shorten(found.column, _LONG)
    heading = f"Mean prediction by {column}"
    if found.kind == "numeric":
        return line_chart(heading, labels, {name: answers[name] for name in most})
    return table(heading, [column, *most], _by_category(labels, [answers[name] for name in most]))


def _by_category(labels: Sequence[str], lines: Sequence[Sequence[float]]) -> list[list[Cell]]:
    longest = max(abs(value) for line in lines for value in line) or 1.0
    return [
        [Cell(label), *(Cell(_text(line[at]), "number", share_bar(abs(line[at]) / longest, label)) for line in lines)]
        for at, label in enumerate(labels)
    ]


def _words(name: str) -> str:
    """Return a name that breaks between lines."""
    return shorten(name, _LONG).replace("_", " ")


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
