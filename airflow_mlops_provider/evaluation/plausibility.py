"""Figures that are too good to be true: mostly a feature that holds the target, or was known only after it.

Honest problems are perfect too, so this is a remark beside the verdicts and decides nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.evaluation.verdicts import finite

if TYPE_CHECKING:
    from airflow_mlops_provider.evaluation.report import EvaluationReport

#: More than this is too good, of 1.
_LIMIT = 0.999
#: Of these a value near 1 says it all.
_OF_ONE = ("r2", "roc_auc", "average_precision", "balanced_accuracy", "f1")
#: Of these a dummy may come near 1, or to 0: what counts is the share of its errors that is left.
_ACCURACY, _LOSSES = "accuracy", ("log_loss", "brier")
#: Errors in units of the target; their squares compare as R² does.
_ERRORS = ("rmse", "mae")


def too_good(report: EvaluationReport) -> list[str]:
    """Return what is too good to be true of the winner, in one sentence; nothing of an ordinary model."""
    found = [f"{name} {value:.6g}" for name, value in report.challenger.metrics.items() if _is_too_good(report, name)]
    if not found:
        return []
    verb = "is" if len(found) == 1 else "are"
    return [
        f"{', '.join(found)} {verb} too good to be true for most data: look for a feature that contains the target or "
        "was known only after it"
    ]


def _is_too_good(report: EvaluationReport, name: str) -> bool:
    value, dummy = finite(report.challenger.metrics.get(name)), finite(report.baseline.metrics.get(name))
    if value is None:
        return False
    if name in _OF_ONE:
        return value > _LIMIT
    if dummy is None:
        return False
    if name == _ACCURACY:
        return dummy < 1 and (value - dummy) / (1 - dummy) > _LIMIT
    if name in _LOSSES:
        return dummy > 0 and 1 - value / dummy > _LIMIT
    return name in _ERRORS and dummy > 0 and 1 - (value / dummy) ** 2 > _LIMIT
