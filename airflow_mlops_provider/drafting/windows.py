"""How long a window must be, so that monitoring has rows enough to say something of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.spec import Monitoring

if TYPE_CHECKING:
    import pandas as pd

#: Days, and the schedule that gives a run for each: a month is never longer than its window.
_CHOICES = ((1, "@daily"), (7, "@weekly"), (31, "@monthly"), (92, "@quarterly"))
#: Share of the past windows that may have too few rows, such as holidays.
_MAX_SMALL = 0.2
#: A new champion is first judged in the window after its training, by two windows at the least.
_PROBATION_WINDOWS = 2
#: Decay is the loss of a fifth of what the champion is better by than a dummy.
_LIVE = {"margin": 0.2, "margin_of": "skill"}


@dataclass(frozen=True)
class Watching:
    """What the sections `scoring` and `monitoring` are drafted with.

    :param schedule: cron or preset of the pipeline.
    :param scoring: None when no window would ever have rows enough.
    :param why: of the choice.
    """

    schedule: str
    scoring: dict[str, Any] | None
    monitoring: dict[str, Any]
    why: str


def least_rows(monitoring: Monitoring) -> dict[str, int]:
    """Return how many rows a window needs, by setting."""
    parts = {"drift": monitoring.drift, "live": monitoring.live, "estimated": monitoring.estimated}
    return {f"{name}.min_rows": part.min_rows for name, part in parts.items() if part is not None}


def watching_of(moments: pd.Series[Any] | None, rows: int) -> Watching:
    """Return what fits the pace at which rows came.

    :param moments: when each row became known; None of rows without a time, all of which are scored each time.
    """
    need = max(least_rows(Monitoring()).values())
    if moments is None:
        few = f" It needs {need} rows, and there are {rows}: too few to judge." if rows < need else ""
        enough = rows >= need
        monitoring = {"live": _LIVE} if enough else {}
        return Watching("@daily", {} if enough else None, monitoring, f"Each run scores all rows.{few}")
    for days, schedule in _CHOICES:
        if (usual := _usual_rows(moments, timedelta(days=days), need)) is not None:
            window = f"{days} day{'s' * (days > 1)}"
            probation = {} if days == 1 else {"probation": {"length": f"{_PROBATION_WINDOWS * days} days"}}
            watched = {"live": _LIVE, **probation}
            why = f"A window of {window} has about {usual} rows; one of fewer than {need} cannot be judged."
            return Watching(schedule, {"window": window}, watched, why)
    span = (moments.max() - moments.min()).total_seconds() / 86400
    days = round(need * span / rows)
    why = f"A window of fewer than {need} rows cannot be judged, and that many rows took about {days} days."
    return Watching("@daily", None, {}, why)


def _usual_rows(moments: pd.Series[Any], length: timedelta, need: int) -> int | None:
    """Return how many rows a window of the past usually had; None when too many had too few, or there was no whole one.

    Windows are counted back from the last row.
    """
    import numpy as np

    ago = np.asarray((moments.max() - moments).dt.total_seconds(), float) // length.total_seconds()
    whole = int((moments.max() - moments.min()) // length)
    if whole < 1:
        return None
    counts = np.bincount(ago.astype(np.int64))[:whole]
    return int(np.median(counts)) if (counts < need).mean() <= _MAX_SMALL else None
