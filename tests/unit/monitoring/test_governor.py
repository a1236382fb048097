from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from airflow_mlops_provider.monitoring.governor import Decision, Incumbent, Window, decide
from airflow_mlops_provider.monitoring.incidents import left_out
from airflow_mlops_provider.spec.operations import Incident, Monitoring

DAY = timedelta(days=1)
START = datetime(2013, 3, 1, tzinfo=UTC)
QUIET = {"drifted": False, "prediction_drift": False, "columns": [], "why": "No drift: none of 2 features drifted."}
DRIFT = {
    "drifted": True,
    "prediction_drift": True,
    "columns": ["wind", "rain"],
    "why": "Drift: 2 of 2 features drifted.",
}
WELL = {"decayed": False, "against_holdout": "log_loss 0.5, 0.5 on the holdout"}
DECAY = {**WELL, "decayed": True, "against_holdout": "log_loss 0.8, 0.5 on the holdout"}
WORSE = {
    **WELL,
    "comparison": {"difference": -0.3, "variance": 0.0025, "rows": 500},
    "against_former": "log_loss 0.8, version 1 has 0.5",
}
SILENT = {"judged": False, "why": "3 rows, 200 are needed"}


def policy(**retraining: Any) -> Monitoring:
    settings = {"after": 1, "cooldown": timedelta(0), "budget": 100, "min_rows": 0, **retraining}
    return Monitoring.model_validate({"retraining": settings})


def champion(seq: int = 1, *, since: datetime = START - 60 * DAY, **fields: Any) -> Incumbent:
    return Incumbent(seq=seq, version=seq, promoted_as_of=since, trained=fields.pop("trained", since), **fields)


def window(day: int, *, rows: int = 500, length: timedelta = DAY) -> Window:
    return Window(as_of=START + day * DAY, start=START + day * DAY - length, rows=rows)


def day(
    number: int,
    history: list[Decision],
    rules: Monitoring,
    *,
    drift: Any = QUIET,
    live: Any = WELL,
    incumbent: Incumbent | None = None,
) -> Decision:
    return decide(
        rules, window(number), drift=drift, live=live, champion=incumbent or champion(), history=history
    )  # fmt: skip


def days(rules: Monitoring, drifts: list[Any], **settings: Any) -> list[Decision]:
    history: list[Decision] = []
    for number, drift in enumerate(drifts):
        history.append(day(number, history, rules, drift=drift, **settings))
    return history


# ---------------------------------------------------------------- the rules


@pytest.mark.parametrize(
    ("drift", "live", "rule", "action", "bad"),
    [
        (QUIET, WELL, "healthy", "keep", False),
        (QUIET, SILENT, "healthy", "keep", False),
        (SILENT, WELL, "healthy", "keep", False),
        (SILENT, SILENT, "nothing_new", "keep", False),
        (None, None, "nothing_new", "keep", False),
        (DRIFT, WELL, "drift", "retrain", True),
        (DRIFT, SILENT, "drift", "retrain", True),
        (QUIET, DECAY, "decay", "retrain", True),
        (DRIFT, DECAY, "decay", "retrain", True),
        ({**QUIET, "prediction_drift": True}, WELL, "drift", "retrain", True),
        (QUIET, WORSE, "healthy", "keep", False),
    ],
)
def test_the_first_rule_that_applies_decides(drift: Any, live: Any, rule: str, action: str, bad: bool) -> None:
    decision = day(0, [], policy(), drift=drift, live=live)
    assert (decision.rule, decision.action, decision.bad, decision.suppressed) == (rule, action, bad, False)


FALLEN = {"judged": True, "fallen": True, "why": "roc_auc is 0.6 [0.5, 0.7] by estimate, 0.75 on the holdout"}
STEADY = {**FALLEN, "fallen": False}


@pytest.mark.parametrize(
    ("drift", "live", "estimate", "rule", "bad"),
    [
        (QUIET, SILENT, FALLEN, "estimate", True),
        (SILENT, SILENT, STEADY, "healthy", False),
        (SILENT, SILENT, SILENT, "nothing_new", False),
        (DRIFT, SILENT, FALLEN, "drift", True),
        (DRIFT, DECAY, FALLEN, "decay", True),
    ],
)
def test_an_estimate_that_fell_is_a_rule_after_what_was_seen(
    drift: Any, live: Any, estimate: Any, rule: str, bad: bool
) -> None:
    decision = decide(policy(), window(0), drift=drift, live=live, estimate=estimate, champion=champion(), history=[])
    message = "nothing can be estimated: 3 rows, 200 are needed" if estimate is SILENT else estimate["why"]
    assert (decision.rule, decision.bad, decision.reasons[-1]) == (rule, bad, message)


def test_estimates_that_fall_ask_for_a_retraining_once_enough_windows_in_a_row_do() -> None:
    history: list[Decision] = []
    for number in range(3):
        history.append(
            decide(
                policy(after=3),
                window(number),
                drift=QUIET,
                live=SILENT,
                estimate=FALLEN,
                champion=champion(),
                history=history,
            )
        )
    assert [one.suppressed for one in history] == [True, True, False]
    assert history[-1].reasons == [FALLEN["why"]]


@pytest.mark.parametrize(("held", "words"), [(True, "which held"), (False, "which did not hold")])
def test_what_the_labels_make_of_an_estimate_is_told(held: bool, words: str) -> None:
    live = {**WELL, "estimate": 0.52, "estimate_interval": [0.4512, 0.6], "estimate_held": held}
    [_, message] = day(0, [], policy(), live=live).reasons
    assert message.endswith(f"without labels it was estimated at [0.4512, 0.6], {words}")


def test_every_cause_is_named() -> None:
    decision = day(0, [], policy(), drift=DRIFT, live=DECAY)
    assert decision.reasons == [
        "log_loss 0.8, 0.5 on the holdout",
        "the predictions drifted; 2 of 2 features drifted",
    ]
    assert decision.columns == ["wind", "rain"]


def test_predictions_that_drift_while_features_do_not_are_told_without_a_contradiction() -> None:
    decision = day(0, [], policy(), drift={**QUIET, "prediction_drift": True})
    assert decision.reasons == ["the predictions drifted; none of 2 features drifted"]


def test_a_silent_window_says_what_was_missing() -> None:
    decision = day(0, [], policy(), drift=SILENT, live=None)
    assert decision.reasons == [
        "drift says nothing: 3 rows, 200 are needed",
        "the live metric says nothing: not computed",
    ]


def test_without_a_champion_nothing_is_asked_for() -> None:
    decision = decide(policy(), window(0), drift=DRIFT, live=None, champion=None, history=[])
    assert (decision.action, decision.rule, decision.champion) == ("keep", "nothing_new", None)


def test_a_champion_older_than_max_age_asks_for_a_retraining() -> None:
    rules = policy(after=5).model_copy(update={"max_age": 30 * DAY})
    assert day(0, [], rules, incumbent=champion(trained=START - 30 * DAY)).rule == "healthy"
    stale = day(0, [], rules, incumbent=champion(trained=START - 31 * DAY))
    assert (stale.action, stale.rule, stale.bad, stale.suppressed) == ("retrain", "stale", False, False)
    assert "31 days ago" in stale.reasons[0]


# ---------------------------------------------------------------- probation


def test_a_new_champion_that_does_worse_than_the_former_is_rolled_back_once() -> None:
    new = champion(2, since=START - DAY)
    first = day(0, [], policy(), live=WORSE, incumbent=new)
    assert (first.action, first.rule, first.champion) == ("roll_back", "probation", 2)
    assert first.reasons[0] == WORSE["against_former"]
    second = day(1, [first], policy(), drift=DRIFT, live=WORSE, incumbent=new)
    assert (second.action, second.rule, second.bad) == ("keep", "rolled_back", False)
    # The same version again, promoted by a later entry, is judged anew.
    again = new.model_copy(update={"seq": 4})
    assert day(2, [first, second], policy(), live=WORSE, incumbent=again).action == "roll_back"


def test_a_healthy_window_on_probation_says_how_the_former_champion_does() -> None:
    better = {**WELL, "former": 0.6, "against_former": "log_loss 0.5, version 1 has 0.6"}
    new = champion(2, since=START - DAY)
    assert day(0, [], policy(), live=better, incumbent=new).reasons[1] == (
        "log_loss 0.5, 0.5 on the holdout; on probation, log_loss 0.5, version 1 has 0.6"
    )
    assert day(7, [], policy(), live=better, incumbent=new).reasons[1] == WELL["against_holdout"]


@pytest.mark.parametrize(
    "incumbent",
    [champion(2, since=START - 8 * DAY), champion(3, since=START - DAY, promoted=False)],
    ids=["after probation", "brought back by a rollback"],
)
def test_only_a_new_champion_is_rolled_back(incumbent: Incumbent) -> None:
    assert day(0, [], policy(), live=WORSE, incumbent=incumbent).action == "keep"


def test_probation_comes_before_drift_and_decay() -> None:
    live = {**DECAY, **WORSE, "decayed": True}
    assert day(0, [], policy(), drift=DRIFT, live=live, incumbent=champion(2, since=START - DAY)).rule == "probation"


# ---------------------------------------------------------------- broken data

BROKEN = {**DRIFT, "incident": ["wind: 61.5% of the values are missing, 30% may be; usual are 1.0%"]}


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
            "no champion came of 2 retrainings for decay, and log_loss 0.8, version 1 has 0.5"
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


# ---------------------------------------------------------------- the governor


def passed(history: list[Decision]) -> list[int]:
    return [(one.as_of - START).days for one in history if one.requests_retraining]


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
        "cooldown of 6 days since the request of 2013-03-04: doubled, since the last requests made no champion"
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
    assert late.why == "a later window is decided already"


def test_each_obstacle_is_named() -> None:
    rules = policy(after=2, cooldown=timedelta(days=9), budget=1, min_rows=5000)
    first = Decision(as_of=START - DAY, action="retrain", rule="drift", reasons=["drift"], bad=True, seq=1)
    assert day(0, [first], rules, drift=DRIFT).why == (
        "1 bad window in a row, 2 are needed; 500 new rows since 2013-02-28, 5000 are needed; "
        "cooldown of 9 days since the request of 2013-02-28; budget: 1 of 1 requests within 30 days"
    )


def test_a_suppressed_request_must_say_why() -> None:
    with pytest.raises(ValidationError, match="says why"):
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
