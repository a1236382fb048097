"""What makes a window an incident: data that is broken rather than moved, so that nothing can be learned from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.exceptions import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_mlops_provider.monitoring.drift import Pair
    from airflow_mlops_provider.monitoring.drift_report import ColumnDrift, Problem


def incidents_of(
    columns: Sequence[ColumnDrift], problems: Sequence[Problem], pairs: Mapping[str, Pair], max_missing: float
) -> list[str]:
    """Return, in a line each, what is broken of the features that the champion uses, and of its predictions.

    A column that cannot be compared, one of which more is missing than `max_missing` and than usual, and a feature that
    is stuck: the same value in every row, as no stretch of the reference has it. Without stretches nothing is known to
    be stuck: a month is the same in every row of a day. Predictions may all be alike because the world has turned.
    """
    found = []
    for column in columns:
        if not (column.weight if column.role == "feature" else column.role == "prediction"):
            continue
        name = shorten(column.column, 60)
        kinds = {problem.kind for problem in problems if problem.column == column.column}
        missing = 0.0 if column.current is None else column.current.missing
        usual = 0.0 if column.reference is None or column.role == "prediction" else column.reference.missing
        if column.broken:
            found.append(f"{name}: {column.why}")
        elif column.drifted and missing > max_missing and "missing_share" in kinds and missing > usual:
            found.append(
                f"{name}: {missing:.1%} of the values are missing, {max_missing:.0%} may be; usual are {usual:.1%}"
            )
        elif column.role == "feature" and column.drifted and "constant" in kinds and _varies(pairs.get(column.column)):
            found.append(f"{name}: one value in every row, where no stretch of the reference has only one")
    return found


def _varies(pair: Pair | None) -> bool:
    """Return whether every stretch of the reference holds several values."""
    import numpy as np

    if pair is None or pair.of is None:
        return False
    parts = np.split(pair.reference[np.argsort(pair.of, kind="stable")], np.cumsum(np.bincount(pair.of))[:-1])
    return all(part.min() < part.max() for part in parts if len(part) > 1)
