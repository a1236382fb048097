"""A pipeline to look at: watched, with a column whose name would run if any page took it for HTML."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import yaml
from history import Past
from watched import DAY, ROWS_A_DAY, START
from watched import pipeline as watched_pipeline

if TYPE_CHECKING:
    from pathlib import Path

    from local_airflow import LocalAirflow

NAME = "part_quality"
EVIL = "</script><script>alert(1)</script>"
#: Days of the data on which a training made a champion, up to the day before the last that is watched; from the first
#: on it is warmer.
DAYS, WATCHED = (15, 20), 24


def write_shown(folder: Path) -> None:
    """Write the pipeline and its rows."""
    chance = random.Random(4)
    lines = [f"id,at,warmth,{EVIL},colour,good"]
    for number in range(30 * ROWS_A_DAY):
        later = number // ROWS_A_DAY >= DAYS[0]
        warmth, colour = chance.gauss(1.5 if later else 0, 1), chance.choice(["red", "green"])
        good = int(warmth + (colour == "red") + chance.gauss(0, 0.5) > (2 if later else 0.5))
        at = START + number * DAY / ROWS_A_DAY
        lines.append(f"{number},{at.isoformat()},{warmth:.4f},{chance.gauss(0, 1):.4f},{colour},{good}")
    csv = folder / f"{NAME}.csv"
    csv.write_text("\n".join(lines) + "\n", encoding="utf-8")
    spec = watched_pipeline(
        NAME,
        csv,
        description="Will a part be good when it is warm?",
        evaluation={"metrics": ["log_loss", "roc_auc"], "min_slice_rows": 20, "slices": ["colour"]},
        # A holdout of three days says how good a model is, not how sure that is.
        gates=[{"kind": "absolute", "metric": "roc_auc", "min": 0.6}, {"kind": "model_size"}],
    )
    spec["data"]["columns"]["numeric"].append(EVIL)
    (folder / f"{NAME}.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")


def write_past(airflow: LocalAirflow) -> None:
    """Give the pipeline its past: two champions, and each day's window decided."""
    past = Past.of(airflow, airflow.home / "pipelines" / f"{NAME}.yaml")
    now = datetime.now(UTC)
    for number in range(DAYS[0], WATCHED):
        as_of = START + number * DAY
        if number in DAYS:
            past.promoted(as_of, now - (WATCHED - number) * DAY)
        else:
            past.watched(as_of)
