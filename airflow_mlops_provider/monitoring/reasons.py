"""What the steps of monitoring found, in the words in which a decision gives its reasons."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_mlops_provider.monitoring.probation import ProbationLook


def speaks(facts: Mapping[str, Any]) -> bool:
    """Return whether a step could judge the window."""
    return bool(facts) and facts.get("judged", True) is not False


def drift_reason(drift: Mapping[str, Any]) -> str:
    """Return what was found of drift."""
    why = str(drift.get("why") or "not computed").rstrip(".")
    if not speaks(drift):
        return f"drift cannot be judged: {why}"
    # The rule that a decision names says already that it drifted.
    why = why.removeprefix("Drift: ")
    if not drift.get("prediction_drift"):
        return why
    return f"the predictions drifted; {why.removeprefix('No drift: ').removeprefix('Drift below the limit: ')}"


def live_reason(live: Mapping[str, Any], probation: ProbationLook | None) -> str:
    """Return what was found of the live metric, and what the look at a probation came to."""
    if not speaks(live):
        return f"the live metric cannot be judged: {str(live.get('why') or 'not computed').rstrip('.')}"
    words = str(live.get("against_holdout") or "the live metric did not fall")
    if live.get("estimate_held") is not None:
        low, high = live.get("estimate_interval") or (None, None)
        verdict = "which held" if live["estimate_held"] else "which did not hold"
        words += f"; without labels it was estimated at [{low:.4g}, {high:.4g}], {verdict}"
    if probation is None or live.get("former") is None:
        return words
    return "; ".join(filter(None, [words, f"on probation, {live.get('against_former')}", probation.words]))


def estimate_reason(estimate: Mapping[str, Any]) -> str:
    """Return what was estimated without labels."""
    why = str(estimate.get("why") or "not computed").rstrip(".")
    return why if speaks(estimate) else f"no estimate: {why}"


def days_text(span: timedelta) -> str:
    """Return a span as people say it.

    >>> days_text(timedelta(days=1)), days_text(timedelta(hours=36))
    ('1 day', '1.5 days')
    """
    days = span / timedelta(days=1)
    return f"{days:.4g} day{'' if days == 1 else 's'}"
