"""Which bad windows lead to a retraining, for any history."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from governed import DAY, DECAY, DRIFT, QUIET, SILENT, START, WELL, WORSE, champion, day, days, passed, policy, window
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from airflow_mlops_provider.monitoring.governor import Decision, Window, decide

if TYPE_CHECKING:
    from airflow_mlops_provider.spec.operations import Monitoring


def test_so_many_bad_windows_in_a_row_are_needed() -> None:
    history = days(policy(after=3), [DRIFT, DRIFT, QUIET, DRIFT, SILENT, DRIFT, DRIFT, DRIFT], live=SILENT)
    assert passed(history) == [6], "a good window starts the row again, a silent one neither adds nor breaks"
    assert history[0].why == "1 bad window in a row, 3 are needed"
    assert history[5].why == "2 bad windows in a row, 3 are needed"
    assert history[7].why == "1 bad window in a row, 3 are needed", "after a request the row starts again"


def test_bad_windows_of_a_former_champion_do_not_count() -> None:
    first = day(0, [], policy(after=2), drift=DRIFT)
    second = day(1, [first], policy(after=2), drift=DRIFT, incumbent=champion(2))
    assert second.why == "1 bad window in a row, 2 are needed"


def test_the_cooldown_ends_when_it_is_over() -> None:
    history = days(policy(cooldown=timedelta(days=3)), [DRIFT] * 4)
    assert passed(history) == [0, 3]
    assert history[1].why == "cooldown of 3 days since the request of 2013-03-01"


def test_the_cooldown_doubles_with_each_request_from_which_no_champion_came() -> None:
    history = days(policy(cooldown=timedelta(days=3)), [DRIFT] * 30)
    assert passed(history) == [0, 3, 9, 21]
    assert history[4].why == (
        "cooldown of 6 days since the request of 2013-03-04: doubled, since the last requests led to no new champion"
    )


def test_a_champion_that_came_of_a_request_ends_the_doubling() -> None:
    rules, history = policy(cooldown=timedelta(days=3)), days(policy(cooldown=timedelta(days=3)), [DRIFT] * 10)
    promoted = champion(2, since=START + 9 * DAY)
    for number in range(10, 16):
        history.append(day(number, history, rules, drift=DRIFT, incumbent=promoted))
    assert passed(history) == [0, 3, 9, 12, 15]


def test_a_model_that_was_measured_to_fall_waits_no_longer() -> None:
    rules = policy(cooldown=timedelta(days=3))
    history = days(rules, [QUIET] * 10, live=DECAY)
    assert passed(history) == [0, 3, 6, 9]


def test_the_budget_is_one_of_any_period() -> None:
    history = days(policy(budget=2, period=timedelta(days=5)), [DRIFT] * 12)
    assert passed(history) == [0, 1, 5, 6, 10, 11]
    assert history[2].why == "budget: 2 of 2 requests within 5 days"


def test_a_budget_of_zero_never_retrains() -> None:
    assert passed(days(policy(budget=0), [DRIFT] * 3)) == []


def test_new_rows_are_counted_since_the_last_training_or_request() -> None:
    rules = policy(min_rows=1200)
    history = days(rules, [DRIFT] * 6, incumbent=champion(since=START - DAY))
    assert passed(history) == [2, 5]
    assert history[1].why == "1000 new rows since 2013-02-28, 1200 are needed"
    assert history[3].why == "500 new rows since 2013-03-03, 1200 are needed"


def test_rows_of_overlapping_windows_count_once() -> None:
    history: list[Decision] = []
    for number in range(3):
        weekly = window(number, rows=700, length=7 * DAY)
        history.append(decide(policy(), weekly, drift=QUIET, live=None, champion=champion(), history=history))
    assert [one.rows for one in history] == [700, 100, 100]


def test_a_window_that_comes_late_asks_for_nothing() -> None:
    later = day(5, [], policy())
    late = day(2, [later], policy(), drift=DRIFT)
    assert late.suppressed
    assert late.why == "a later window has already been decided"


def test_each_obstacle_is_named() -> None:
    rules = policy(after=2, cooldown=timedelta(days=9), budget=1, min_rows=5000)
    first = Decision(as_of=START - DAY, action="retrain", rule="drift", reasons=["drift"], bad=True, seq=1)
    assert day(0, [first], rules, drift=DRIFT).why == (
        "1 bad window in a row, 2 are needed; 500 new rows since 2013-02-28, 5000 are needed; "
        "cooldown of 9 days since the request of 2013-02-28; budget: 1 of 1 requests within 30 days"
    )


def test_a_suppressed_request_must_say_why() -> None:
    with pytest.raises(ValidationError, match="a suppressed request has a `why`"):
        Decision(as_of=START, action="retrain", rule="drift", reasons=["drift"], suppressed=True)


# ---------------------------------------------------------------- for any history

DRIFTS = st.sampled_from([QUIET, DRIFT, SILENT])
LIVES = st.sampled_from([WELL, DECAY, WORSE, SILENT, None])
GAPS = st.sampled_from([timedelta(hours=6), DAY, 3 * DAY])
WINDOWS = st.lists(st.tuples(GAPS, DRIFTS, LIVES), min_size=1, max_size=40)
RULES = st.builds(
    policy,
    after=st.integers(1, 4),
    cooldown=st.integers(0, 9).map(timedelta),
    budget=st.integers(0, 4),
    period=st.integers(1, 30).map(timedelta),
    min_rows=st.sampled_from([0, 700, 3000]),
)
SEQS = st.lists(st.integers(0, 39), max_size=3)


def replay(rules: Monitoring, windows: list[Any], changes: list[int]) -> list[Decision]:
    """Decide windows in order, with a new champion before some of them."""
    history: list[Decision] = []
    as_of, incumbent = START, champion(1)
    for number, (gap, drift, live) in enumerate(windows):
        if number in changes:
            incumbent = champion(incumbent.seq + 1, since=as_of)
        as_of += gap
        stretch = Window(as_of=as_of, start=as_of - DAY, rows=500)
        history.append(decide(rules, stretch, drift=drift, live=live, champion=incumbent, history=history))
    return history


@given(RULES, WINDOWS, SEQS)
def test_requests_keep_the_budget_of_any_period_and_the_cooldown(
    rules: Monitoring, windows: list[Any], changes: list[int]
) -> None:
    moments = [one.as_of for one in replay(rules, windows, changes) if one.requests_retraining]
    settings = rules.retraining
    for moment in moments:
        assert sum(moment <= other < moment + settings.period for other in moments) <= settings.budget
    for first, second in zip(moments, moments[1:], strict=False):
        assert second - first >= settings.cooldown


@given(RULES, WINDOWS, SEQS)
def test_every_decision_gives_its_reasons_and_each_suppressed_one_says_why(
    rules: Monitoring, windows: list[Any], changes: list[int]
) -> None:
    history = replay(rules, windows, changes)
    assert len(history) == len(windows)
    for one in history:
        assert all(one.reasons)
        assert not one.suppressed or one.why
        assert one == Decision.model_validate_json(one.model_dump_json())


@given(RULES, WINDOWS, SEQS, st.randoms())
def test_a_decided_window_is_never_decided_otherwise(
    rules: Monitoring, windows: list[Any], changes: list[int], chance: Any
) -> None:
    history = replay(rules, windows, changes)
    shuffled = list(history)
    chance.shuffle(shuffled)
    for one in history:
        stretch = Window(as_of=one.as_of, rows=7)
        assert decide(rules, stretch, drift=DRIFT, live=DECAY, champion=champion(9), history=shuffled) == one


@given(RULES, WINDOWS, st.randoms())
def test_the_order_in_which_history_is_read_does_not_matter(rules: Monitoring, windows: list[Any], chance: Any) -> None:
    history = replay(rules, windows, [])
    as_of = history[-1].as_of
    shuffled = history[:-1]
    chance.shuffle(shuffled)
    _, drift, live = windows[-1]
    stretch = Window(as_of=as_of, start=as_of - DAY, rows=500)
    assert decide(rules, stretch, drift=drift, live=live, champion=champion(1), history=shuffled) == history[-1]


@given(RULES, st.lists(GAPS, min_size=1, max_size=40), SEQS)
def test_a_quiet_history_keeps_the_champion(rules: Monitoring, gaps: list[timedelta], changes: list[int]) -> None:
    history = replay(rules, [(gap, QUIET, WELL) for gap in gaps], changes)
    assert {(one.action, one.rule) for one in history} == {("keep", "healthy")}


@given(RULES, WINDOWS, SEQS)
def test_no_champion_is_rolled_back_twice(rules: Monitoring, windows: list[Any], changes: list[int]) -> None:
    back = [one.seq for one in replay(rules, windows, changes) if one.action == "roll_back"]
    assert len(back) == len(set(back))
