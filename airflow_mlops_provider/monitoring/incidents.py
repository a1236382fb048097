"""What makes a window an incident: data that is broken rather than moved, so that nothing can be learned from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.as_of import in_utc
from airflow_mlops_provider.exceptions import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from airflow_mlops_provider.monitoring.drift import Pair
    from airflow_mlops_provider.monitoring.drift_report import ColumnDrift, Problem
    from airflow_mlops_provider.monitoring.governor import Decision
    from airflow_mlops_provider.spec.operations import Incident


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
                f"{name}: {missing:.1%} of the values are missing "
                f"(at most {max_missing:.0%} allowed, usually {usual:.1%})"
            )
        elif column.role == "feature" and column.drifted and "constant" in kinds and _varies(pairs.get(column.column)):
            found.append(f"{name}: the same value in every row, unlike any stretch of the reference")
    return found


def left_out(
    settings: Incident, decisions: Sequence[Decision], since: datetime | None, until: datetime
) -> list[tuple[datetime, datetime]]:
    """Return the stretches of time whose rows a training does without: windows of incidents that nobody mended.

    :param since: where the rows of the training begin; None for all.
    :param until: where they end.
    :return: in order, without an overlap; none when the settings leave nothing out.
    """
    return within(broken_windows(settings, decisions), since, until) if settings.leave_out else []


def broken_windows(settings: Incident, decisions: Sequence[Decision]) -> list[tuple[datetime, datetime]]:
    """Return the windows of incidents that nobody mended, from and until."""
    mended = {in_utc(moment) for moment in settings.repaired}
    broken = [one for one in decisions if one.action == "incident" and in_utc(one.as_of) not in mended]
    return [(in_utc(one.start), in_utc(one.as_of)) for one in broken if one.start is not None]


def within(
    stretches: Sequence[tuple[datetime, datetime]], since: datetime | None, until: datetime
) -> list[tuple[datetime, datetime]]:
    """Return the stretches that have a part between two moments, in order, those that touch each other as one."""
    found: list[tuple[datetime, datetime]] = []
    for start, end in sorted(stretches):
        if start >= until or (since is not None and end <= since):
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def _varies(pair: Pair | None) -> bool:
    """Return whether every stretch of the reference holds several values."""
    import numpy as np

    if pair is None or pair.of is None:
        return False
    parts = np.split(pair.reference[np.argsort(pair.of, kind="stable")], np.cumsum(np.bincount(pair.of))[:-1])
    return all(part.min() < part.max() for part in parts if len(part) > 1)
