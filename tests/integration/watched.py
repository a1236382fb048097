"""Pipelines whose world turns, or does not: what monitoring is tested on."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ROWS_A_DAY = 60
#: The first day of another world, where there is one.
TURN = 17
POLICY = {
    "drift": {"min_rows": 50, "numeric_threshold": 0.5, "categorical_threshold": 0.3},
    "live": {"min_rows": 50, "margin": 0.3},
    "retraining": {"after": 2, "cooldown": "7 days", "budget": 2, "period": "30 days", "min_rows": 100},
}


def day(number: int) -> str:
    """Return the date of a day of the data."""
    return (START + number * DAY).date().isoformat()


def write_csv(file: Path, *, days: int, turn: int | None) -> None:
    """Write sixty rows a day; from `turn` on it is warmer, and what is good is another matter."""
    chance = random.Random(3)
    lines = ["id,at,warmth,colour,good"]
    for number in range(days * ROWS_A_DAY):
        turned = turn is not None and number // ROWS_A_DAY >= turn
        warmth, colour = chance.gauss(3 if turned else 0, 1), chance.choice(["red", "green"])
        good = int(warmth + chance.gauss(0, 0.5) > (3.5 if turned else 0))
        at = START + number * DAY / ROWS_A_DAY
        lines.append(f"{number},{at.isoformat()},{warmth:.4f},{colour},{good}")
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def pipeline(name: str, csv: Path) -> dict[str, Any]:
    """Return a pipeline that is watched day by day."""
    return {
        "name": name,
        "task": "binary",
        "data": {
            "source": {"uri": str(csv)},
            "columns": {
                "target": "good",
                "timestamp": "at",
                "keys": ["id"],
                "numeric": ["warmth"],
                "categorical": ["colour"],
            },
            "window": "14 days",
        },
        "training": {
            "candidates": {
                "good": {"estimator": "sklearn.linear_model.LogisticRegression"},
                "poor": {"estimator": "sklearn.dummy.DummyClassifier"},
            }
        },
        "evaluation": {"metrics": ["log_loss"]},
        "scoring": {"window": "1 day"},
        "monitoring": POLICY,
    }


def write_watched(folder: Path) -> None:
    """Write a world that turns, one that does not, one that turns for a month, and one with a bad champion."""
    worlds = {"turning": (30, TURN), "steady": (30, None), "stormy": (50, TURN), "probed": (30, None)}
    for name, (days, turn) in worlds.items():
        write_csv(folder / f"{name}.csv", days=days, turn=turn)
        spec = yaml.safe_dump(pipeline(name, folder / f"{name}.csv"), sort_keys=False)
        (folder / f"{name}.yaml").write_text(spec, encoding="utf-8")
