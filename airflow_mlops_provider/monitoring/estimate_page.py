"""The estimate of a window as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.reports import Cell, page, table

if TYPE_CHECKING:
    from airflow_mlops_provider.monitoring.estimate_report import Estimate, EstimateReport

_HEADERS = ["Metric", "Estimate", "Interval", "Holdout", "Chance (sd)", "Own error (sd)", "Blocks"]


def estimate_page(report: EstimateReport, pipeline: str) -> str:
    """Return the page: the verdict, then each metric."""
    verdict = "bad" if report.fallen else "good" if report.judged else "warn"
    about = (
        f"{report.rows} rows ({report.sampled} sampled), calibrated on {report.reference_rows} held-out rows of the "
        f"reference of version {report.version}. No labels of the window were read."
    )
    rows = [_row(name, one) for name, one in report.estimates.items()]
    footer = (
        "Confidence-based performance estimation (NannyML; Białek et al. 2024). The interval is for the metric once "
        "the labels arrive: it combines chance and the estimate's own error on blocks of the holdout."
    )
    sections = [table("Estimated metrics", _HEADERS, rows)] if rows else []
    return page(f"Estimated performance of {pipeline}", [Cell(report.why, verdict), Cell(about)], sections, footer)


def _row(name: str, found: Estimate) -> list[Cell]:
    if found.low is None or found.high is None:
        span = Cell(found.why or "–")
    else:
        span = Cell(f"[{found.low:.4g}, {found.high:.4g}] at {found.confidence:.0%}", "whole")
    numbers = (found.value, found.holdout, found.chance, found.error)
    value, holdout, chance, error = (Cell("–" if one is None else f"{one:.4g}", "number") for one in numbers)
    return [Cell(name), value, span, holdout, chance, error, Cell(str(found.blocks), "number")]
