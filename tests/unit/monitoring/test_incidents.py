"""Windows whose data is broken, and the fallback to a former champion."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from governed import DAY, DECAY, DRIFT, QUIET, SILENT, START, WELL, WORSE, champion, day, days, passed, policy
from hypothesis import given
from hypothesis import strategies as st

from airflow_mlops_provider.monitoring.governor import Decision
from airflow_mlops_provider.monitoring.incidents import left_out
from airflow_mlops_provider.spec.operations import Incident

if TYPE_CHECKING:
    from datetime import datetime

BROKEN = {**DRIFT, "incident": ["wind: 61.5% of the values are missing (at most 30% allowed, usually 1.0%)"]}


@pytest.mark.parametrize("live", [WELL, DECAY, WORSE], ids=["well", "decayed", "worse than the former"])
def test_broken_data_is_an_incident_whatever_else_it_seems_to_show(live: Any) -> None:
    decision = day(0, [], policy(), drift=BROKEN, live=live, incumbent=champion(2, since=START - DAY))
    assert (decision.action, decision.rule, decision.bad, decision.incident) == (
        "incident", "incident", False, "begins"
    )  # fmt: skip
    assert decision.reasons == BROKEN["incident"]


def test_an_incident_lasts_until_a_window_speaks_that_is_not_broken() -> None:
    history = days(policy(), [QUIET, BROKEN, SILENT, BROKEN, DRIFT, QUIET], live=SILENT)
    assert [one.incident for one in history] == [None, "begins", None, "lasts", "over", None]
    assert history[4].reasons == [
        "the incident of 2013-03-02 is over", "the predictions drifted; 2 of 2 features drifted"
    ]  # fmt: skip
    assert history[4].requests_retraining


def test_broken_windows_neither_count_nor_break_the_row_and_their_rows_are_no_news() -> None:
    assert passed(days(policy(after=3), [DRIFT, BROKEN, DRIFT, BROKEN, DRIFT])) == [4]
    history = days(policy(min_rows=1500), [BROKEN, BROKEN, DRIFT, QUIET, DRIFT], incumbent=champion(since=START - DAY))
    assert history[2].why == "500 new rows since 2013-02-28, 1500 are needed"
    assert passed(history) == [4]


def test_only_an_incident_says_where_its_window_begins() -> None:
    history = days(policy(), [QUIET, BROKEN])
    assert [one.start for one in history] == [None, START]


def test_rows_of_incidents_are_left_out_until_somebody_mends_them() -> None:
    history = days(policy(), [QUIET, BROKEN, BROKEN, QUIET, BROKEN])
    until = START + 30 * DAY

    def found(since: datetime | None = None, until: datetime = until, **settings: Any) -> list[tuple[int, int]]:
        stretches = left_out(Incident.model_validate(settings), history, since, until)
        return [((start - START).days, (end - START).days) for start, end in stretches]

    assert found() == [(0, 2), (3, 4)], "windows that follow each other are one stretch"
    assert found(repaired=[START + DAY]) == [(1, 2), (3, 4)]
    assert found(leave_out=False) == []
    assert found(since=START + 2 * DAY) == [(3, 4)]
    assert found(until=START + 2 * DAY) == [(0, 2)]
    assert found(since=START + 4 * DAY) == []


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=12))
def test_no_row_of_an_incident_is_left_in_and_no_other_out(windows: list[tuple[int, int]]) -> None:
    broken = [
        Decision(as_of=START + (begin + length) * DAY, start=START + begin * DAY, **_INCIDENT)
        for begin, length in windows
    ]
    stretches = left_out(Incident(), broken, None, START + 100 * DAY)
    assert all(end < start for (_, end), (start, _) in pairwise(stretches))
    for number in range(80):
        moment = START + number * DAY
        within = any(one.start is not None and one.start <= moment < one.as_of for one in broken)
        assert any(start <= moment < end for start, end in stretches) == within


_INCIDENT: Any = {"action": "incident", "rule": "incident", "reasons": ["wind: broken"]}
BETTER_FORMER = {**DECAY, "difference": [-0.4, -0.1], "against_former": "log_loss 0.8, version 1 has 0.5"}


@pytest.mark.parametrize(
    ("live", "after", "expected"),
    [
        (BETTER_FORMER, 2, ["retrain", "retrain", "roll_back"]),
        (BETTER_FORMER, 3, ["retrain"] * 3),
        (BETTER_FORMER, None, ["retrain"] * 3),
        ({**BETTER_FORMER, "difference": [-0.4, 0.1]}, 2, ["retrain"] * 3),
        ({**BETTER_FORMER, "difference": [None, None]}, 2, ["retrain"] * 3),
        (DECAY, 2, ["retrain"] * 3),
    ],
    ids=["better", "too soon", "not asked for", "not surely better", "no interval", "no former one"],
)
def test_where_no_champion_comes_of_retrainings_for_decay_the_former_one_serves_if_it_is_better(
    live: Any, after: int | None, expected: list[str]
) -> None:
    history = days(policy(fallback_after=after), [QUIET] * 3, live=live)
    assert [one.action for one in history] == expected
    if "roll_back" in expected:
        assert history[-1].rule == "fallback"
        assert history[-1].reasons[1] == (
            "2 retrainings for decay led to no new champion, and log_loss 0.8, version 1 has 0.5"
        )
        assert day(3, history, policy(fallback_after=after), live=live).rule == "rolled_back"


def test_a_late_window_and_requests_under_another_champion_lead_to_no_fallback() -> None:
    rules = policy(fallback_after=1)
    early = days(rules, [QUIET], live=BETTER_FORMER)
    later = [*early, day(5, early, rules)]
    assert day(2, early, rules, live=BETTER_FORMER).action == "roll_back"
    assert day(2, later, rules, live=BETTER_FORMER).action == "retrain", "a later window is decided already"
    back = champion(3, trained=START - 60 * DAY, promoted=False)
    assert day(6, later, rules, live=BETTER_FORMER, incumbent=back).action == "retrain"


def test_broken_data_is_an_incident_though_a_rollback_is_decided() -> None:
    new = champion(2, since=START - DAY)
    first = day(0, [], policy(), live=WORSE, incumbent=new)
    second = day(1, [first], policy(), drift=BROKEN, live=WORSE, incumbent=new)
    assert [one.action for one in (first, second)] == ["roll_back", "incident"]
    assert second.start == START


def test_what_sound_rows_show_in_an_incident_counts_for_probation() -> None:
    new = champion(2, since=START - DAY)
    assert day(0, [], policy(), drift=BROKEN, live=WORSE, incumbent=new).comparison is None
    sound = day(0, [], policy(), drift=BROKEN, live={**WORSE, "without_broken": True}, incumbent=new)
    assert (sound.action, sound.comparison is not None) == ("incident", True)
