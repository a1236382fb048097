"""What the documentation's commands are carried out on: its pipelines, made small, in one real Airflow.

The data are flights of a few stretches of 2013, those that a command names a date of. A replay that meets a day without
flights has nothing to do there, so nine months of days are replayed in seconds.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import yaml
from history import Past
from sampled_flights import PROJECT, read_flights

if TYPE_CHECKING:
    from pathlib import Path

    from local_airflow import LocalAirflow

#: From the first of these days up to the second: before the trainings, the scoring runs and the replays.
_STRETCHES = (
    *(("01-29", "02-01"), ("02-12", "02-15"), ("02-26", "03-01"), ("06-29", "07-01")),
    *(("08-30", "09-02"), ("09-09", "09-12"), ("09-29", "10-01")),
)
#: What the versions of `churn` know, and the day on which each became champion.
_CHURN = {"02-01": "02-02", "02-15": "02-16", "03-01": "03-10", "07-01": "07-02", "09-02": None}
#: One flight in so many.
_EVERY = 8
#: From the year of the flights to the year in which the examples' customers leave.
_LATER = timedelta(days=13 * 365 + 3)


def write_pipelines(folder: Path) -> None:
    """Write `flight_delays`, the shipped pipeline, and `churn`, the same by weeks and of 2026."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    rows = read_flights(datetime(2013, 11, 1, tzinfo=UTC), _EVERY)
    time = rows["scheduled_departure"]
    chosen = pa.array([False] * rows.num_rows)
    for start, end in _STRETCHES:
        first, last = (pa.scalar(datetime.fromisoformat(f"2013-{day}T00:00:00Z"), time.type) for day in (start, end))
        chosen = pc.or_(chosen, pc.and_(pc.greater_equal(time, first), pc.less(time, last)))
    rows, time = rows.filter(chosen), time.filter(chosen)
    later = rows.set_column(
        rows.schema.get_field_index("scheduled_departure"), "scheduled_departure", pc.add(time, pa.scalar(_LATER))
    )
    schedule = {"cron": "@weekly", "end": "2026-01-01"}
    for name, table, changes in (("flight_delays", rows, {}), ("churn", later, {"schedule": schedule})):
        pq.write_table(table, folder / f"{name}.parquet")
        spec = _pipeline(name, folder / f"{name}.parquet") | changes
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")


def _pipeline(name: str, file: Path) -> dict[str, Any]:
    """Return the shipped pipeline with what costs time made small: columns, candidates, checks, measurements."""
    shipped = PROJECT / "config" / "pipelines" / "flight_delays.yaml"
    spec: dict[str, Any] = yaml.safe_load(shipped.read_text(encoding="utf-8"))
    columns = spec["data"]["columns"] | {"numeric": ["temp", "minute_of_day"], "categorical": ["origin"]}
    monitoring = spec["monitoring"] | {"drift": {"min_rows": 100}, "live": {"metric": "roc_auc", "min_rows": 100}}
    return spec | {
        "name": name,
        "data": {"source": {"uri": str(file)}, "columns": columns, "window": "4 days", "label_delay": "PT1H"},
        "scoring": {"window": "2 days"},
        "validation": {},
        "training": {"candidates": {"logistic": spec["training"]["candidates"]["logistic"]}},
        "evaluation": {"metrics": ["roc_auc", "log_loss"], "latency_calls": 10, "importance": None},
        "gates": [{"kind": "absolute", "metric": "log_loss", "max": 2.0}],
        "monitoring": monitoring,
    }


def write_customers(file: Path) -> None:
    """Write the data that a pipeline file is made from: of the customers, the younger leave."""
    chance = random.Random(1)
    rows = ["customer_id,seen_at,age,plan,left"]
    for number in range(300):
        age, seen = chance.randint(18, 80), datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=number)
        left = int(age + chance.gauss(0, 10) < 45)
        rows.append(f"c{number},{seen.isoformat()},{age},{chance.choice('AB')},{left}")
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")


def write_champions(airflow: LocalAirflow, pipelines: Path) -> None:
    """Give `churn` the history that the examples speak of: versions 1 to 4 served one after another, 5 is registered.

    Steps and effects are those of the DAG; what is made up is the time at which a version became champion.
    """
    past = Past.of(airflow, pipelines / "churn.yaml")
    for day, served in _CHURN.items():
        as_of = datetime.fromisoformat(f"2026-{day}T00:00:00Z")
        if served is None:
            past.published(as_of)
        else:
            past.promoted(as_of, datetime.fromisoformat(f"2026-{served}T12:00:00Z"))
