"""The parts of a page on where models are wrong; one model alone, or the challenger and the champion in one drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.evaluation.error_report import LEVELS
from airflow_mlops_provider.exceptions import shorten
from airflow_mlops_provider.reports import Cell, heat_table, histogram, table, xy_chart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_mlops_provider.evaluation.error_report import Confusion, Residuals
    from airflow_mlops_provider.evaluation.report import Calibration

#: Letters of a class on a matrix, and from how many classes on its cells hold counts alone.
_LONG, _CROWDED = 40, 8


def calibration_curves(found: Mapping[str, Calibration | None]) -> list[str]:
    """Return the calibration curves of some models in one drawing; nothing when none is known."""
    known = {name: one for name, one in found.items() if one is not None}
    if not known:
        return []
    errors = ", ".join(
        f"{name} {one.error:.4f}" if len(found) > 1 else f"{one.error:.4f}" for name, one in known.items()
    )
    curves = {name: [(bin_.predicted, bin_.observed) for bin_ in one.bins] for name, one in known.items()}
    drawn = xy_chart(
        f"Calibration curve: error {errors}",
        curves,
        across="mean predicted probability",
        up="observed share",
        diagonal="perfectly calibrated",
        ends=(0.0, 1.0),
    )
    return [drawn]


def calibration_bins(calibration: Calibration) -> str:
    """Return the curve as a table: of a calibrated model both numbers are one."""
    rows = [
        [Cell(f"{one.rows:,}", "number"), Cell(f"{one.predicted:.4g}", "number"), Cell(f"{one.observed:.4g}", "number")]
        for one in calibration.bins
    ]
    return table("Bins of the calibration curve", ["Rows", "Mean predicted", "Observed"], rows)


def confusion_matrix(confusion: Confusion) -> str:
    """Return the matrix; a cell is the darker the larger its share of the rows of its true class."""
    crowded = len(confusion.classes) > _CROWDED
    names = [shorten(name, _LONG) for name in confusion.classes]
    # Many columns have room for numbers alone.
    headers = [str(number) for number in range(1, len(names) + 1)] if crowded else names
    rows = []
    for number, (name, line) in enumerate(zip(names, confusion.counts, strict=True), start=1):
        total = sum(line) or 1
        cells = [(f"{count:,}" if crowded else f"{count:,}\n{count / total:.1%}", count / total) for count in line]
        rows.append((f"{number} {name}" if crowded else name, cells))
    folded = f"; the {confusion.others} rarest classes are combined" if confusion.others else ""
    return heat_table(f"Confusion matrix, in rows{folded}", "true (down), predicted (across)", headers, rows)


def residual_sections(residuals: Residuals) -> list[str]:
    """Return the residuals' distribution, where they lie by prediction, and both as a table."""
    outer = f"{LEVELS[-1] - LEVELS[0]:.0%} of the rows"
    band = [(one.predicted, one.quantiles[0], one.quantiles[-1]) for one in residuals.bins]
    rows = [
        [
            Cell(f"{one.rows:,}", "number"),
            *(Cell(f"{value:.4g}", "number") for value in (one.predicted, one.observed, *one.quantiles)),
        ]
        for one in residuals.bins
    ]
    headers = ["Rows", "Mean predicted", "Mean observed", *(f"Residual, {level:.0%}" for level in LEVELS)]
    return [
        histogram(
            f"Residuals: mean {residuals.mean:.4g}, standard deviation {residuals.sd:.4g}",
            residuals.edges,
            residuals.counts,
            across="observed minus predicted",
        ),
        xy_chart(
            "Residuals by prediction",
            {"median": [(one.predicted, one.quantiles[len(LEVELS) // 2]) for one in residuals.bins]},
            across="mean prediction",
            up="observed minus predicted",
            band=(outer, band),
            level=(0.0, "no error"),
        ),
        *observed_by_prediction({"observed": residuals}),
        table("Residuals by prediction, in numbers", headers, rows),
    ]


def observed_by_prediction(found: Mapping[str, Residuals | None]) -> list[str]:
    """Return what was true on average at each prediction, of some models in one drawing."""
    known = {name: one for name, one in found.items() if one is not None}
    if not known:
        return []
    return [
        xy_chart(
            "Observed by predicted",
            {name: [(bin_.predicted, bin_.observed) for bin_ in one.bins] for name, one in known.items()},
            across="mean prediction",
            up="mean observed",
            diagonal="both are equal",
        )
    ]
