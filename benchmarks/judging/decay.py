"""How often a year a champion is found to have decayed, and a retraining asked for, where nothing has changed.

Each day of a year is a window of the day before, judged by the package's own: the errors of days that an evaluation
keeps, the metrics of a window, the governor with its settings as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from airflow_mlops_provider.evaluation.resampling import row_units
from airflow_mlops_provider.monitoring.governor import Incumbent, Window, decide
from airflow_mlops_provider.monitoring.live_metrics import Plan
from airflow_mlops_provider.spec.operations import Monitoring
from judging.rates import Rate
from judging.watched import DAY, START, WORLDS, Watched

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.monitoring.governor import Decision

YEAR = 365
ASKED, FELL = "a year asks for more than one retraining", "within 14 days a fall of twice the margin asks for one"
_RESAMPLES = 200


def rates(repetitions: int, seed: int, worlds: Sequence[str] = tuple(WORLDS)[:5], margin: float = 0.1) -> list[Rate]:
    """Return in how many years more than one retraining is asked for, and how often a champion's fall is found."""
    found = []
    for name in worlds:
        chance = np.random.default_rng(seed)
        where = name if margin == 0.1 else f"{name}, live.margin {margin:g}"
        for rule in ("before", "now"):
            years = [requests(Watched(WORLDS[name], YEAR, chance), YEAR, margin, rule) for _ in range(repetitions)]
            most = sum(one > 1 for one in years)
            found.append(Rate("decay", where, ASKED, most, repetitions, rule=rule, at_most=0.05))
        worse = [Watched(WORLDS[name], 14, chance) for _ in range(repetitions)]
        for one in worse:
            one.worse = 2 * margin * one.holdout
        seen = sum(requests(one, 14, margin, "now") > 0 for one in worse)
        found.append(Rate("decay", where, FELL, seen, repetitions))
    return found


def requests(watched: Watched, days: int, margin: float, rule: str) -> int:
    """Return how many retrainings so many days ask for; each brings the same champion, with a holdout of its own."""
    policy = Monitoring.model_validate({"live": {"margin": margin}})
    history: list[Decision] = []
    champion = Incumbent(seq=1, version=1, promoted_as_of=START, trained=START, promoted=False)
    count = 0
    for day in range(1, days + 1):
        (version, _), drawn = watched.window(day)
        if rule == "before":
            rows = row_units(drawn.rows.rows)
            drawn = Plan(rows, rows)
        facts = watched.facts(watched.measured([version], drawn, seed=day, resamples=_RESAMPLES), margin)
        window = Window(as_of=START + day * DAY, start=START + (day - 1) * DAY, rows=watched.world.rows)
        history.append(decide(policy, window, drift=None, live=facts, champion=champion, history=history[-60:]))
        if history[-1].requests_retraining:
            count += 1
            watched.promise_again(day)
            champion = champion.model_copy(
                update={"seq": champion.seq + 1, "since": window.as_of, "trained": window.as_of}
            )
    return count
