"""The evaluation as a page: the candidates' metrics, and how far their probabilities can be taken at their word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.evaluation.error_sections import calibration_bins, calibration_curves
from airflow_mlops_provider.evaluation.folds import fold_tables
from airflow_mlops_provider.evaluation.judgement_page import explanation_sections, fairness_sections
from airflow_mlops_provider.evaluation.plausibility import too_good
from airflow_mlops_provider.reports import Cell, page, table

if TYPE_CHECKING:
    from airflow_mlops_provider.evaluation.report import CandidateScores, EvaluationReport


def evaluation_page(report: EvaluationReport, pipeline: str) -> str:
    """Return the page: every candidate, the winner first, then the winner's calibration curve."""
    names = sorted(report.candidates, key=lambda name: (name != report.winner, name))
    lines = [
        Cell(_chosen(report)),
        Cell(f"Measured on {report.rows.holdout} held-out rows, trained on {report.rows.training} rows."),
    ]
    if (bias := report.optimism) is not None and bias.value > 0:
        predictions = (
            "The best of several looks too good on the rows it was chosen on: "
            f"by about {bias.value:.3g} in {bias.metric}."
        )
        lines.append(Cell(predictions))
    lines += [Cell(f"{remark}.", "warn") for remark in too_good(report)]
    headers = ["Candidate", *report.metrics, "Calibration error", "Threshold"]
    rows = [_candidate(report, name) for name in names]
    sections = [table("Candidates", headers, rows), *fold_tables(report)]
    if (calibration := report.challenger.calibration) is not None:
        sections += [*calibration_curves({report.winner: calibration}), calibration_bins(calibration)]
    sections += [*fairness_sections(report.fairness), *explanation_sections(report.explanation)]
    footer = (
        f"{report.intervals_by} "
        "Calibration error: mean distance between predicted probability and observed share over bins of equal size "
        "(Naeini et al. 2015). Threshold: the probability from which a row is classified as positive; without one, the "
        "more probable class is predicted."
        + (
            " Intervals of a mean over folds are corrected for folds that share training rows (Nadeau & Bengio 2003); "
            "those of one fold cover its rows only (percentile bootstrap)."
            if report.challenger.folds
            else ""
        )
    )
    return page(f"Evaluation of {pipeline}", lines, sections, footer)


def _chosen(report: EvaluationReport) -> str:
    """Return in words who the challenger is, and why."""
    metric, held = report.metrics[0], report.held_back
    if held is None:
        return f"The challenger is {report.winner}, the best of {len(report.candidates)} by {metric}."
    why = "; ".join(verdict.why for verdict in held.verdicts if not verdict.passed and verdict.why)
    return (
        f"The challenger is {report.winner}, the champion's recipe. {held.candidate} has the best {metric}, but: {why}."
    )


def _candidate(report: EvaluationReport, name: str) -> list[Cell]:
    scores = report.candidates[name]
    numbers = [scores.metrics[metric] for metric in report.metrics]
    return [Cell(name, "good" if name == report.winner else ""), *map(_number, [*numbers, *_decision(scores)])]


def _decision(scores: CandidateScores) -> list[float | None]:
    return [None if scores.calibration is None else scores.calibration.error, scores.threshold]


def _number(value: float | None) -> Cell:
    return Cell("–" if value is None else f"{value:.4g}", "number")
