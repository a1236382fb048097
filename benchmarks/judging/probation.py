"""How often a new champion is rolled back that is as good as the former one, and how often one that is worse.

Every day of a probation is a look. What judges is the package's own: the errors of days that an evaluation keeps, the
metrics of a window, and the governor's decision, which reads the decisions before it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from airflow_mlops_provider.evaluation.resampling import row_units
from airflow_mlops_provider.monitoring.governor import Incumbent, Window, decide
from airflow_mlops_provider.monitoring.live_metrics import Plan
from airflow_mlops_provider.monitoring.probation import look
from airflow_mlops_provider.spec.operations import Monitoring, Probation
from judging.parallel import each
from judging.rates import Rate
from judging.watched import DAY, START, WORLDS, Watched

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.monitoring.governor import Decision
    from judging.watched import Days

DAYS = 7
FALSE, SEEN, NEEDED = (
    "an equally good champion is rolled back within 7 days",
    "a champion worse by {} is rolled back within 7 days",
    "a champion worse by {} is rolled back within the length that is printed",
)
_LONGEST = 200


def rates(repetitions: int, seed: int, worlds: Sequence[str] = tuple(WORLDS)) -> list[Rate]:
    """Return how often probation is wrong, and how often it sees what it should."""
    return [rate for rates_of_one in each(partial(_of_world, repetitions, seed), worlds) for rate in rates_of_one]


def _of_world(repetitions: int, seed: int, name: str) -> list[Rate]:
    chance = np.random.default_rng(seed)
    loss = WORLDS[name].worse
    equal = [Watched(WORLDS[name], DAYS, chance) for _ in range(repetitions)]
    before = sum(_by_rows(one, DAYS) for one in equal)
    found = [
        Rate("probation", name, FALSE, before, repetitions, rule="before", at_most=0.025),
        Rate("probation", name, FALSE, sum(back(one, DAYS) for one in equal), repetitions, at_most=0.025),
    ]
    worse = [Watched(WORLDS[name], DAYS, chance, loss) for _ in range(repetitions)]
    seen = sum(back(one, DAYS) for one in worse)
    independent = WORLDS[name].share == 0
    found.append(Rate("probation", name, SEEN.format(loss), seen, repetitions, at_least=0.8 if independent else None))
    if not independent:
        lengths = [_printed(WORLDS[name], loss, chance) for _ in range(repetitions)]
        short = [back(one, length) for one, length in lengths if length is not None]
        found.append(Rate("probation", name, NEEDED.format(loss), sum(short), len(short), at_least=0.8))
    return found


def back(watched: Watched, length: int) -> bool:
    """Return whether the champion is rolled back on probation, with a look a day."""
    policy = Monitoring(probation=Probation(length=length * DAY))
    history: list[Decision] = []
    for day in range(1, length + 1):
        found = watched.measured(*watched.window(day), seed=day, resamples=2)
        facts = watched.facts(found, policy.live.margin)
        history.append(decide(policy, _window(day), drift=None, live=facts, champion=_CHAMPION, history=history))
        if history[-1].action == "roll_back":
            return True
    return False


def _by_rows(watched: Watched, length: int) -> bool:
    """Return whether one of the days says so by itself, were its rows independent: the rule of the first releases."""
    for day in range(1, length + 1):
        versions, drawn = watched.window(day)
        rows = row_units(drawn.rows.rows)
        found = watched.measured(versions, Plan(rows, rows), seed=day, resamples=500)
        if (high := found.differences[watched.world.metric].high) is not None and high < 0:
            return True
    return False


def _printed(world: Days, loss: float, chance: np.random.Generator) -> tuple[Watched, int | None]:
    """Return a champion that is worse, and how long its probation has to be by what its first day prints."""
    watched = Watched(world, _LONGEST, chance, loss)
    found = watched.measured(*watched.window(1), seed=0, resamples=2)
    if found.comparison is None:
        return watched, None
    seen = look(Probation(length=DAYS * DAY), _window(1), found.comparison, _CHAMPION, [], decay=loss)
    return watched, None if seen.needs is None or seen.needs > _LONGEST * DAY else round(seen.needs / DAY)


_CHAMPION = Incumbent(seq=2, version=2, promoted_as_of=START, trained=START)


def _window(day: int) -> Window:
    return Window(as_of=START + day * DAY, start=START + (day - 1) * DAY, rows=0)
