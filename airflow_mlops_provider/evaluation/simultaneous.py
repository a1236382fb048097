"""Intervals of several statistics that hold all at once: of many slices the worst is bad by chance alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.evaluation.bootstrap import interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.evaluation.draws import Draws
    from airflow_mlops_provider.evaluation.report import Interval


def simultaneous(draws: Sequence[Draws], confidence: float) -> list[Interval]:
    """Return the two-sided intervals of statistics that were drawn together.

    By the largest studentised error of all of them on the same resamples (max-|t|: Westfall & Young 1993), which knows
    how much they depend on each other; none is narrower than it would be alone.
    """
    import numpy as np
    from scipy.stats import norm, t

    alone = [interval(one, confidence) for one in draws]
    judged = [one for one, span in zip(draws, alone, strict=True) if span.why is None]
    errors = [np.nanstd(one.values) for one in judged]
    studentised = [
        np.abs(one.values - one.point) / error for one, error in zip(judged, errors, strict=True) if error > 0
    ]
    if len(studentised) < 2:
        return alone
    largest = np.nanmax(np.stack(studentised), axis=0)
    share = norm.sf(np.quantile(largest[np.isfinite(largest)], confidence))
    found = []
    for one, span in zip(draws, alone, strict=True):
        if span.low is None or span.high is None:
            found.append(span)
            continue
        factor, freedom = one.wider
        reach, (below, above) = float(t.isf(share, freedom) * factor * np.nanstd(one.values)), one.sides
        ends = {"low": min(span.low, one.point - reach * below), "high": max(span.high, one.point + reach * above)}
        found.append(span.model_copy(update=ends))
    return found
