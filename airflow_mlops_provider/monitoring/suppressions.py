"""The governor: what keeps a request to retrain from being passed on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.as_of import as_of_text
from airflow_mlops_provider.monitoring.reasons import days_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from airflow_mlops_provider.monitoring.governor import Decision, Incumbent
    from airflow_mlops_provider.spec.operations import Retraining


def suppressions_of(
    settings: Retraining, found: Decision, champion: Incumbent, past: Sequence[Decision], *, late: bool
) -> list[str]:
    """Return everything that keeps a request from being passed on."""
    passed = [one.as_of for one in past if one.requests_retraining]
    suppressions = []
    if late:
        suppressions.append("a later window has already been decided")
    if found.bad and (row := 1 + _bad_in_a_row(champion, past)) < settings.after:
        suppressions.append(f"{row} bad window{'s' * (row > 1)} in a row, {settings.after} are needed")
    learned = max([champion.trained, *passed])
    usable = (one.rows for one in past if one.as_of > learned and one.action != "incident")
    if (rows := found.rows + sum(usable)) < settings.min_rows:
        suppressions.append(f"{rows} new rows since {as_of_text(learned)}, {settings.min_rows} are needed")
    if passed and found.as_of - passed[-1] < (cooldown := _cooldown(settings, found, champion, past)):
        since = f"cooldown of {days_text(cooldown)} since the request of {as_of_text(passed[-1])}"
        longer = "" if cooldown == settings.cooldown else ": doubled, since the last requests led to no new champion"
        suppressions.append(since + longer)
    recent = [moment for moment in passed if moment > found.as_of - settings.period]
    if len(recent) >= settings.budget:
        suppressions.append(f"budget: {len(recent)} of {settings.budget} requests within {days_text(settings.period)}")
    return suppressions


def _cooldown(settings: Retraining, found: Decision, champion: Incumbent, past: Sequence[Decision]) -> timedelta:
    """Return how long to wait after the last request: twice as long for each in a row from which no champion came.

    A model that was measured to fall may be trained anew as often as the settings allow: of decay there is proof.
    """
    vain = in_vain(champion, past)
    if found.rule == "decay" or vain < 2:
        return settings.cooldown
    doubled: timedelta = settings.cooldown * (1 << min(vain - 1, 10))
    return doubled


def in_vain(champion: Incumbent, past: Sequence[Decision]) -> int:
    """Return how many retrainings were requested since this champion serves, none of which led to another champion."""
    return sum(one.requests_retraining and one.seq == champion.seq for one in past)


def _bad_in_a_row(champion: Incumbent, past: Sequence[Decision]) -> int:
    """Return how many bad windows of this champion precede, since the last request; silent ones do not count."""
    bad = 0
    for one in reversed(past):
        if one.seq != champion.seq or one.requests_retraining:
            break
        if one.rule in ("nothing_new", "incident"):
            continue
        if not one.bad:
            break
        bad += 1
    return bad
