"""The metrics that a pipeline may name."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

CLASSIFICATION_METRICS = (
    "roc_auc", "average_precision", "log_loss", "brier", "accuracy", "balanced_accuracy", "f1", "precision", "recall",
)  # fmt: skip
REGRESSION_METRICS = ("rmse", "mae", "r2", "median_absolute_error", "max_error")
#: Metrics of which less is better.
LOSSES = frozenset({"log_loss", "brier", "rmse", "mae", "median_absolute_error", "max_error"})

DEFAULT_METRICS: dict[str, tuple[str, ...]] = {
    "binary": ("roc_auc", "log_loss", "average_precision", "brier"),
    "multiclass": ("log_loss", "roc_auc", "balanced_accuracy", "f1"),
    "regression": ("rmse", "mae", "r2"),
}


def check_metrics(task: str, metrics: Sequence[str], where: str) -> None:
    """Raise ValueError when a metric does not fit the task."""
    known = REGRESSION_METRICS if task == "regression" else CLASSIFICATION_METRICS
    if unknown := sorted(set(metrics) - set(known)):
        raise ValueError(f"{where} names {unknown}; a {task} pipeline knows {sorted(known)}")
