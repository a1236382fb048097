"""The shipped pipeline of the flights on fewer of them, in the order of their days and dealt to days at random."""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    import pyarrow as pa

PROJECT = Path(__file__).resolve().parents[2]
#: One flight in so many is read.
EVERY = 4
END = datetime(2013, 9, 25, tzinfo=UTC)


def write_flights(folder: Path) -> None:
    """Write `autumn`, and `dealt`, where each flight has the departure of another: no day differs from any other.

    All else is the same: the rows, the days, how many rows a day has, the pipeline.
    """
    import numpy as np
    import pyarrow.parquet as pq

    rows = read_flights(END, EVERY)
    time, deal = "scheduled_departure", np.random.default_rng(0).permutation(rows.num_rows)
    dealt = rows.set_column(rows.schema.get_field_index(time), time, rows[time].take(deal))
    for name, table in (("autumn", rows), ("dealt", dealt)):
        pq.write_table(table, folder / f"{name}.parquet")
        (folder / f"{name}.yaml").write_text(
            yaml.safe_dump(pipeline(name, folder / f"{name}.parquet"), sort_keys=False), encoding="utf-8"
        )


def read_flights(end: datetime, every: int) -> pa.Table:
    """Return one flight in so many of those before a moment, in the order of departure."""
    import pyarrow as pa

    spec = importlib.util.spec_from_file_location("flights", PROJECT / "plugins" / "flights.py")
    assert spec is not None
    assert spec.loader is not None
    flights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(flights)
    rows = flights.read_flights(end, None).sort_by([("scheduled_departure", "ascending"), ("flight_key", "ascending")])
    return rows.take(pa.array(range(0, rows.num_rows, every)))


def pipeline(name: str, file: Path) -> dict[str, Any]:
    """Return the shipped pipeline over a file, with its numbers of rows scaled down, and one candidate."""
    shipped = PROJECT / "config" / "pipelines" / "flight_delays.yaml"
    spec: dict[str, Any] = yaml.safe_load(shipped.read_text(encoding="utf-8"))
    del spec["schedule"]
    spec |= {"name": name, "data": {**spec["data"], "source": {"uri": str(file)}}}
    # A gain on so few flights is seldom beyond chance.
    spec["gates"][-1] |= {"rule": "not_worse", "margin": 0.01}
    spec["training"]["candidates"] = {"boosting": spec["training"]["candidates"]["boosting"]}
    spec["evaluation"]["latency_calls"] = 10
    for section in (spec["validation"], *(spec["monitoring"][part] for part in ("drift", "live", "retraining"))):
        section["min_rows"] //= EVERY
    # Of so few flights two weeks that drift are all that there are, before the first cool days are usual.
    spec["monitoring"]["retraining"]["after"] = 2
    return spec
