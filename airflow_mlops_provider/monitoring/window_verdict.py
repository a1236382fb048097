"""The verdict on a window as a whole, from those on its columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import shorten
from airflow_mlops_provider.monitoring.usual import level, usual_level

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from airflow_mlops_provider.monitoring.drift_report import ColumnDrift
    from airflow_mlops_provider.monitoring.usual import Stretches, Usual
    from airflow_mlops_provider.spec.operations import Drift


def judge(
    settings: Drift, columns: Sequence[ColumnDrift], usual_of: Callable[[str], Usual], rows: int, *, enough: bool
) -> dict[str, Any]:
    """Return the verdict on the window: fields of its report.

    It drifts when enough of the champion's importance lies in features that drifted, and farther than such features
    ever lie together in the reference; or when a feature that the champion uses, or its predictions, are broken: then
    the rest says nothing either.

    :param usual_of: how far a column may lie from its reference, of each that was measured.
    """
    if not enough:
        words = f"Drift is not judged on {rows} row{'' if rows == 1 else 's'}: it needs {settings.min_rows}."
        return {"drifted": False, "why": words}
    features = [column for column in columns if column.role == "feature"]
    moved = [column for column in features if column.drifted]
    share = len(moved) / len(features)
    heavy = min(1.0, sum(column.weight for column in moved))
    broken = [column.column for column in columns if column.broken and (column.weight or column.role == "prediction")]
    reached = heavy > 0 and heavy >= settings.share
    found: dict[str, Any] = _together(settings, features, usual_of) if reached and not broken else {}
    usual = found.get("usual_level") is not None and found["level"] <= found["usual_level"]
    words = f"none of {len(features)} features drifted"
    if moved:
        names = ", ".join(repr(shorten(column.column, 40)) for column in sorted(moved, key=lambda one: -one.force)[:3])
        words = (
            f"{len(moved)} of {len(features)} features drifted, such as {names}; "
            f"they hold {heavy:.0%} of the importance, and the limit is {settings.share:.0%}"
        )
    if usual:
        words += ", but no farther than they do together in the reference"
    if broken:
        words = f"{', '.join(repr(shorten(name, 40)) for name in broken[:3])} cannot be compared; {words}"
    drifted = bool((reached and not usual) or broken)
    verdict = "Drift" if drifted else "Drift below the limit" if moved else "No drift"
    return {"drifted": drifted, "why": f"{verdict}: {words}.", "share": share, "weighted_share": heavy, **found}


def _together(
    settings: Drift, features: Sequence[ColumnDrift], usual_of: Callable[[str], Usual]
) -> dict[str, float | None]:
    """Return what the features that hold the share reach together, and what they do in the reference."""
    import numpy as np

    # What is missing more often has drifted, whatever the distance of the rest: stretches say nothing of it.
    lost = any(column.drifted and column.ratio <= 1 for column in features)
    ratios = np.array([max(column.ratio, float(column.drifted)) for column in features])
    weights = np.array([column.weight for column in features])
    known = [column for column in features if column.weight and column.method is not None and not lost]
    usual = usual_level([usual_of(column.column) for column in known], [one.weight for one in known], settings.share)
    return {"level": float(level(ratios, weights, settings.share)), "usual_level": usual}


def usual_by(stretches: Stretches | None, window: timedelta | None, *, dated: bool) -> str:
    """Return, in one sentence, what is taken for usual.

    :param dated: the reference knows when its rows were.
    """
    if stretches is not None:
        held = f"{stretches.count} stretches of {_length(stretches.length)} of the reference"
        if stretches.length == window:
            return f"The usual range comes from {held}."
        return f"The usual range comes from {held}: it has too few of {_length(window)}, the length of the window."
    why = (
        "the champion's reference has no timestamps; the next training stores them where "
        "`data.columns.timestamp` is set"
        if not dated
        else "the length of the window is unknown"
        if not window
        else "the reference holds too few timestamps"
    )
    return f"The usual range assumes independent rows, so differences between days look like drift: {why}."


def _length(span: timedelta | None) -> str:
    hours = (span.total_seconds() if span is not None else 0.0) / 3600
    number, unit = (hours / 24, "day") if hours >= 24 else (hours, "hour")
    return f"{number:.4g} {unit}{'' if number == 1 else 's'}"
