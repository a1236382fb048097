from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from airflow_mlops_provider.evaluation.block_report import BlockError
from airflow_mlops_provider.monitoring.governor import Decision, Incumbent, Window, decide
from airflow_mlops_provider.monitoring.probation import WindowComparison
from airflow_mlops_provider.spec.operations import Monitoring

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
from judging import decay, probation
from judging.watched import WORLDS, Watched

DAY = timedelta(days=1)
START = datetime(2013, 3, 1, tzinfo=UTC)
CHAMPION = Incumbent(seq=2, version=2, promoted_as_of=START, trained=START)
#: Days of 500 rows: rows explain 0.1 of the standard error of a day, days another 0.1.
DAYS = BlockError(variance=0.02, within=0.01, factor=1.0, blocks=60, freedom=59.0)


def live(difference: float, *, days: float = 1, error: BlockError | None = DAYS, **facts: Any) -> dict[str, Any]:
    compared = WindowComparison(
        difference=difference, variance=0.01 / days, rows=round(500 * days), blocks=days, error=error
    )  # fmt: skip
    return {"allowed": 0.2, "former": 5.0, "comparison": compared.model_dump(mode="json"), **facts}


def windows(differences: list[float], *, length: timedelta = DAY, **settings: Any) -> list[Decision]:
    """Decide one window a day after another."""
    policy, history = Monitoring.model_validate({"probation": settings}), list[Decision]()
    for day, difference in enumerate(differences, 1):
        as_of = START + day * DAY
        days = min(length, as_of - START) / DAY
        stretch = Window(as_of=as_of, start=as_of - length, rows=500)
        facts = live(difference, days=days)
        history.append(decide(policy, stretch, drift=None, live=facts, champion=CHAMPION, history=history))
    return history


def test_what_no_window_shows_by_itself_all_of_them_show() -> None:
    history = windows([-0.2] * 7)
    assert [one.action for one in history] == ["keep"] * 4 + ["roll_back", "keep", "keep"]
    assert "on 2,500 rows of 5 windows that share no rows" in history[4].reasons[1]
    assert "its gain over the former champion is -0.2, at most -0.0" in history[4].reasons[1]


def test_all_looks_together_spend_what_a_probation_may_err() -> None:
    message = [one.reasons[-1] for one in windows([0.0] * 7)]
    spent = [float(words.split("with an error of ")[1].split("%")[0]) / 100 for words in message]
    assert sum(spent) == pytest.approx(0.025, abs=5e-4)
    assert spent == sorted(spent), "most is left for when most is known"


def test_every_look_says_what_it_could_have_seen() -> None:
    first, *_, last = windows([0.0] * 7)
    numbers = [one.reasons[-1].split("a true loss of ")[1].split() for one in (first, last)]
    now, end = (float(numbers[0][index]) for index in (0, 11))
    assert now > 2 * end
    assert float(numbers[1][0]) == pytest.approx(end, rel=0.05)


def test_a_loss_that_counts_as_decay_has_its_length_named() -> None:
    policy = Monitoring.model_validate({"probation": {"length": "2 days"}})
    stretch = Window(as_of=START + DAY, start=START, rows=500)
    found = decide(policy, stretch, drift=None, live=live(0.0), champion=CHAMPION, history=[])
    assert "to see a loss of 0.2, which counts as decay, with 80 % power" in (found.underpowered or "")
    assert (found.underpowered or "?") in found.reasons[-1]
    longer = Monitoring.model_validate({"probation": {"length": "60 days"}})
    assert decide(longer, stretch, drift=None, live=live(0.0), champion=CHAMPION, history=[]).underpowered is None


def test_windows_that_overlap_count_no_row_twice() -> None:
    apart, together = windows([0.0] * 7), windows([0.0] * 7, length=7 * DAY)
    assert "on 3,500 rows of 7 windows" in apart[6].reasons[-1]
    assert "on 3,500 rows of this window" in together[6].reasons[-1]
    assert together[6].comparison is not None
    assert (together[6].comparison.rows, together[6].comparison.error) == (3500, None)


def test_a_window_that_is_late_is_no_look() -> None:
    history = windows([0.0, 0.0, 0.0])
    policy, late = Monitoring(), Window(as_of=START + 2 * DAY, start=START + DAY, rows=500)
    others = [history[0], history[2]]
    found = decide(policy, late, drift=None, live=live(-9.0), champion=CHAMPION, history=others)
    assert (found.action, found.comparison is not None) == ("keep", True)
    assert found.reasons[-1].endswith("a later window has already been looked at")


def test_where_nobody_knows_how_days_differ_rows_alone_count_and_that_is_said() -> None:
    stretch = Window(as_of=START + DAY, start=START, rows=500)
    facts = live(-9.0, error=None)
    found = decide(Monitoring(), stretch, drift=None, live=facts, champion=CHAMPION, history=[])
    assert found.action == "roll_back"
    assert "by rows alone, since its evaluation does not record how much days differ" in " ".join(found.reasons)


def test_a_champion_that_cannot_predict_is_rolled_back_at_once() -> None:
    stretch = Window(as_of=START + DAY, start=START, rows=500)
    facts = {"cannot_predict": True, "against_former": "version 2 cannot predict these rows, but version 1 can"}
    found = decide(Monitoring(), stretch, drift=None, live=facts, champion=CHAMPION, history=[])
    assert (found.action, found.reasons[0]) == ("roll_back", facts["against_former"])


# ---------------------------------------------------------------- worlds whose truth is known


@pytest.mark.parametrize("world", ["5 % in common", "20 % follow an AR(0.8)"])
def test_an_equally_good_champion_stays_where_days_differ(world: str) -> None:
    chance = np.random.default_rng(1)
    champions = [Watched(WORLDS[world], 7, chance) for _ in range(30)]
    assert sum(probation.back(one, 7) for one in champions) <= 2, "by rows alone most are rolled back"


def test_a_worse_champion_is_rolled_back_within_its_probation() -> None:
    chance = np.random.default_rng(1)
    champions = [Watched(WORLDS["nothing in common"], 7, chance, worse=0.15) for _ in range(20)]
    assert sum(probation.back(one, 7) for one in champions) >= 18


def test_a_month_without_change_asks_for_no_retraining() -> None:
    chance = np.random.default_rng(1)
    quiet = Watched(WORLDS["20 % follow an AR(0.8)"], 60, chance)
    assert decay.requests(quiet, 60, 0.1, "now") == 0
    fallen = Watched(WORLDS["nothing in common"], 5, chance, worse=1.0)
    fallen.holdout -= 1.0
    assert decay.requests(fallen, 5, 0.1, "now") == 1


def test_looks_at_windows_of_incidents_spend_nothing() -> None:
    broken = {"drifted": True, "incident": ["wind: gone"], "why": "Drift."}
    policy, history = Monitoring(), list[Decision]()
    for day in range(1, 8):
        stretch = Window(as_of=START + day * DAY, start=START + (day - 1) * DAY, rows=500)
        facts = {**live(0.0, without_broken=True), "judged": True}
        drift = broken if day < 7 else None
        history.append(decide(policy, stretch, drift=drift, live=facts, champion=CHAMPION, history=history))
    assert [one.action for one in history] == ["incident"] * 6 + ["keep"]
    assert "7 windows" in history[-1].reasons[-1], "what they have shown is added up"
    assert "with an error of 2.50%" in history[-1].reasons[-1]
