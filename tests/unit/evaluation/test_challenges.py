"""The champion is challenged each day: the small form of `benchmarks/judging/challenges.py`."""

from __future__ import annotations

import sys
from pathlib import Path

BENCHMARKS = str(Path(__file__).parents[3] / "benchmarks")
if BENCHMARKS not in sys.path:
    sys.path.append(BENCHMARKS)

from judging.challenges import BEFORE, NOW, falsely_replaced, refreshed  # noqa: E402
from judging.worlds import World  # noqa: E402

HISTORIES = 8
SMALL = World(20, 30, positives=0.5)


def test_equally_good_challengers_seldom_replace_the_champion_in_ninety_days() -> None:
    now, before = (sum(falsely_replaced(SMALL, 3, gate, seed) for seed in range(HISTORIES)) for gate in (NOW, BEFORE))
    assert now <= 1
    assert before >= 3, "the world tells the rules apart"


def test_the_champions_recipe_goes_on_meanwhile() -> None:
    assert sum(refreshed(SMALL, NOW, seed) for seed in range(HISTORIES)) >= HISTORIES - 1
    assert sum(refreshed(SMALL, BEFORE, seed) for seed in range(HISTORIES)) <= 2
