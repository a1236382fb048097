"""Which rule decides a window."""

from __future__ import annotations

from typing import Any

import pytest
from governed import DAY, DECAY, DRIFT, QUIET, SILENT, START, WELL, WORSE, champion, day, policy, window

from airflow_mlops_provider.monitoring.governor import Decision, Incumbent, decide


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


FALLEN = {"judged": True, "fallen": True, "why": "roc_auc is estimated at 0.6 [0.5, 0.7], 0.75 on the holdout"}
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
    message = "no estimate: 3 rows, 200 are needed" if estimate is SILENT else estimate["why"]
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
        "drift cannot be judged: 3 rows, 200 are needed",
        "the live metric cannot be judged: not computed",
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
