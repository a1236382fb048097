"""Challenger against champion: what is better, what is worse, and how sure that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.as_of import as_of_text
from airflow_mlops_provider.evaluation.card_sections import (
    LONG,
    SHOWN,
    STORED,
    gates_line,
    gates_section,
    interval,
    name_cell,
    number,
    slice_name,
)
from airflow_mlops_provider.evaluation.champion_gates import span
from airflow_mlops_provider.evaluation.error_sections import calibration_curves, observed_by_prediction
from airflow_mlops_provider.evaluation.metrics import gain
from airflow_mlops_provider.exceptions import shorten
from airflow_mlops_provider.reports import Cell, difference_bar, facts, page, shown_of, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.evaluation.card_facts import CardFacts
    from airflow_mlops_provider.evaluation.probe_report import Importances
    from airflow_mlops_provider.evaluation.report import ChampionScores, Difference, EvaluationReport
    from airflow_mlops_provider.evaluation.verdicts import Verdict

_FOOTER = (
    "Gain: positive is better, also for a loss. Where both were measured on the same rows, its interval comes from the "
    "paired bootstrap, with both models on the same resamples."
)


def comparison_page(
    card: CardFacts, report: EvaluationReport, champion: ChampionScores, verdicts: Sequence[Verdict]
) -> str:
    """Return the page of a challenger and the champion that it was held against.

    :param card: of the challenger.
    """
    lines = [_how(report, champion), gates_line(verdicts)]
    names = {"challenger": report.challenger.calibration, "champion": champion.calibration}
    sections = [
        _metrics(report, champion),
        gates_section(verdicts),
        *_slices(report, champion),
        *calibration_curves(names),
        *observed_by_prediction({"challenger": report.residuals, "champion": champion.residuals}),
        *_features(report, champion),
        _training(card, report, champion),
    ]
    title = f"{card.model}: challenger, version {card.version}, against champion, version {champion.version}"
    return page(title, lines, sections, f"{_FOOTER} {report.intervals_by}")


def _how(report: EvaluationReport, champion: ChampionScores) -> Cell:
    if champion.unusable is not None:
        return Cell(f"The champion cannot predict this data: {champion.unusable}", "bad")
    if champion.common is not None:
        return Cell(
            f"The out-of-fold predictions of both on {champion.common:,} common rows are compared; the challenger's "
            f"other figures cover all its {report.rows.holdout:,} rows."
        )
    if champion.compared == "paired":
        return Cell(f"Both were measured on the same {report.rows.holdout:,} held-out rows.")
    return Cell(f"The champion's figures come from its own holdout: {champion.seen}.", "warn")


def _metrics(report: EvaluationReport, champion: ChampionScores) -> str:
    rows = []
    for name in report.metrics:
        theirs = champion.intervals.get(name)
        own = report.intervals.get(name)
        rows.append(
            [
                Cell(name, "whole"),
                number(report.challenger.metrics.get(name)),
                interval(own),
                number(champion.metrics.get(name)),
                interval(theirs),
                *_gain(name, champion.differences.get(name), 0.95 if own is None else own.confidence),
            ]
        )
    headers = ["Metric", "Challenger", "Interval", "Champion", "Interval", "Gain", "Interval"]
    return table("Metrics", headers, rows)


def _gain(metric: str, found: Difference | None, confidence: float) -> list[Cell]:
    if found is None or found.value is None:
        return [Cell("–", "number"), Cell("" if found is None else found.why or "")]
    low, high = span(found.quantiles, confidence)
    if low is None or high is None:
        return [Cell(f"{found.value:+.4g}", "number"), Cell(found.why or "–")]
    kind = "good whole" if low > 0 else "bad whole" if high < 0 else "whole"
    reach = max(abs(low), abs(high), abs(found.value))
    predictions = f"gain in {metric}: {found.value:+.4g}, between {low:+.4g} and {high:+.4g}"
    drawn = difference_bar(found.value, low, high, reach, predictions)
    return [Cell(f"{found.value:+.4g}", "number"), Cell(f"{low:+.4g} to {high:+.4g}", kind, figure=drawn)]


def _slices(report: EvaluationReport, champion: ChampionScores) -> list[str]:
    """Return the slices that both have, those where the challenger loses most first."""
    metric = report.metrics[0]
    theirs = {(one.column, one.value): one for one in champion.slices}
    lines = []
    for one in report.slices:
        other = theirs.get((one.column, one.value))
        own_value = one.metrics.get(metric)
        their_value = None if other is None else other.metrics.get(metric)
        better = None if own_value is None or their_value is None else gain(metric, own_value, their_value)
        lines.append((better, one, own_value, their_value))
    if not lines or not theirs:
        return []
    lines.sort(key=lambda line: float("inf") if line[0] is None else line[0])
    shown, note = shown_of(lines, SHOWN, "slices, the largest losses first", STORED)
    rows = [
        [
            name_cell(slice_name(one.column, one.value)),
            Cell(f"{one.rows:,}", "number"),
            number(own_value),
            number(their_value),
            Cell("–" if better is None else f"{better:+.4g}", "number"),
        ]
        for better, one, own_value, their_value in shown
    ]
    return [table(f"Slices, by {metric}", ["Slice", "Rows", "Challenger", "Champion", "Gain"], rows, note)]


def _features(report: EvaluationReport, champion: ChampionScores) -> list[str]:
    """Return which features came, went or changed their kind, and how much each model relies on them."""
    own, theirs = report.features, champion.features
    if not own or not theirs:
        return [facts("Features", [("Changed", "unknown: the champion's evaluation does not name its features")])]
    changed = [name for name in {**theirs, **own} if own.get(name) != theirs.get(name)]
    same = len(own) - sum(name in own for name in changed)
    shown, note = shown_of(changed, SHOWN, "changed features", STORED)
    rows = [
        [
            name_cell(name),
            Cell("new" if name not in theirs else "gone" if name not in own else "different kind"),
            Cell(own.get(name, "–")),
            Cell(theirs.get(name, "–")),
            number(_importance(report.importance, name)),
            number(_importance(champion.importance, name)),
        ]
        for name in shown
    ]
    headers = ["Feature", "Change", "Challenger", "Champion", "Challenger's importance", "Champion's importance"]
    if not rows:
        return [facts("Features", [("Changed", f"none: both have the same {same}")])]
    return [table(f"Features that changed: {len(changed)}; {same} did not", headers, rows, note)]


def _importance(found: Importances | None, name: str) -> float | None:
    one = None if found is None else found.columns.get(name)
    return None if one is None else one.mean


def _training(card: CardFacts, report: EvaluationReport, champion: ChampionScores) -> str:
    then = champion.rows
    rows = [
        ["Version", str(card.version), str(champion.version)],
        ["Data up to", as_of_text(report.as_of), as_of_text(champion.order_key)],
        ["Candidate", report.winner, champion.candidate or "–"],
        ["Rows trained on", f"{report.rows.training:,}", "–" if then is None else f"{then.training:,}"],
        ["Rows held out", f"{report.rows.holdout:,}", "–" if then is None else f"{then.holdout:,}"],
        ["Features", str(len(report.features)), str(len(champion.features) or "–")],
    ]
    cells = [[Cell(shorten(text, LONG)) for text in row] for row in rows]
    return table("Training", ["", "Challenger", "Champion"], cells)
