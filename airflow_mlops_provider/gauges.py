"""Numbers for dashboards and alarms, through Airflow's own metrics: `[metrics]` says to what they go.

A gauge holds its last value, so each is sent by the tasks that have just measured it. Nothing here reads or computes
for a gauge's sake, and nothing is sent while Airflow's metrics are off.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

_SWITCHES = ("statsd_on", "statsd_datadog_enabled", "otel_on")


def send_drift(pipeline: str, facts: Mapping[str, Any]) -> None:
    """Send what the drift step found; nothing when it could not judge the window.

    :param facts: of the step's result.
    """
    if facts.get("judged"):
        _send("drift_share", facts.get("weighted_share"), pipeline=pipeline)
        _send("drifted_columns", facts.get("drifted_columns"), pipeline=pipeline)


def send_live(pipeline: str, facts: Mapping[str, Any]) -> None:
    """Send what the live step measured, and what the holdout had promised.

    :param facts: of the step's result.
    """
    if facts.get("judged"):
        tags = {"pipeline": pipeline, "metric": str(facts["metric"])}
        _send("live_metric", facts.get("champion"), **tags)
        _send("holdout_metric", facts.get("holdout"), **tags)


def send_estimate(pipeline: str, facts: Mapping[str, Any]) -> None:
    """Send what the metric is estimated at before there are labels.

    :param facts: of the step's result.
    """
    if facts.get("judged"):
        _send("estimated_metric", facts.get("estimate"), pipeline=pipeline, metric=str(facts["metric"]))


def send_champion(pipeline: str, version: int, age: timedelta | None = None) -> None:
    """Send which version is champion, and its age in data time when that is known."""
    _send("champion_version", version, pipeline=pipeline)
    if age is not None:
        _send("champion_age_seconds", age.total_seconds(), pipeline=pipeline)


def send_gates(pipeline: str, verdicts: Sequence[Mapping[str, Any]]) -> None:
    """Send how far each gate is from its bound; of gates with one name and metric, the nearest.

    :param verdicts: as the gate step stores them; those of an older release know no margin.
    """
    margins: dict[tuple[str, str | None], float] = {}
    for verdict in verdicts:
        if (margin := verdict.get("margin")) is not None:
            key = verdict["name"], verdict.get("metric")
            margins[key] = min(margin, margins.get(key, math.inf))
    for (gate, metric), margin in margins.items():
        _send("gate_margin", margin, pipeline=pipeline, gate=gate, **({} if metric is None else {"metric": metric}))


def _send(name: str, value: float | None, **tags: str) -> None:
    """Set a gauge: once with tags, and once with their values in its name where Airflow does so with its own.

    Plain StatsD knows no tags: there, the name alone tells pipelines apart.
    """
    if value is None or not math.isfinite(value) or not _on():
        return
    from airflow.sdk.observability import stats

    stats.gauge(f"mlops.{name}", value, tags=tags)
    if conf.getboolean("metrics", "legacy_names_on", fallback=True):
        parts = [stats.normalize_name_for_stats(tag.replace(".", "__"), log_warning=False) for tag in tags.values()]
        stats.gauge(".".join(["mlops", name, *parts]), value)


def _on() -> bool:
    return any(conf.getboolean("metrics", switch, fallback=False) for switch in _SWITCHES)
