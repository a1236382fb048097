"""Files in the shape of well-known public ones, made anew: as people download them, with all their oddities."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

_SEED = 7


@dataclass(frozen=True)
class PublicFile:
    """A file, and what `init` has to find in it.

    :param types: Arrow types of columns of the dataset.
    :param data: settings of the section `data` that are drafted besides.
    :param first: the first row's timestamp.
    """

    write: Callable[[Path], None]
    target: str
    task: str
    keys: list[str]
    features: list[str]
    timestamp: str | None = None
    types: dict[str, str] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    first: datetime | None = None


def _write(path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]], separator: str = ",") -> None:
    with path.open("w", newline="", encoding="utf-8") as text:
        written = csv.writer(text, delimiter=separator)
        written.writerow(header)
        written.writerows(rows)


def telco(path: Path) -> None:
    """Customers who leave: a key by its camel case, and a total that is blank for those who came this month."""
    chance = Random(_SEED)
    rows = []
    for _ in range(600):
        letters = "".join(chance.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(5))
        tenure, monthly = chance.choice([0] * 1 + list(range(1, 73))), round(chance.uniform(18, 119), 2)
        contract = chance.choice(["Month-to-month", "One year", "Two year"])
        odds = 0.8 - 0.012 * tenure + (0.3 if contract == "Month-to-month" else -0.3)
        total = f"{tenure * monthly * chance.uniform(0.9, 1.1):.2f}" if tenure else " "
        leaves = "Yes" if chance.random() < odds else "No"
        rows.append(
            [f"{chance.randint(1000, 9999)}-{letters}", chance.randint(0, 1), tenure, contract, monthly, total, leaves]
        )
    header = ["customerID", "SeniorCitizen", "tenure", "Contract", "MonthlyCharges", "TotalCharges", "Churn"]
    _write(path, header, rows)


def rentals(path: Path) -> None:
    """Bicycles by the day over two years: more in the second than in the first, and counts that add up."""
    chance = Random(_SEED)
    rows = []
    for number in range(731):
        day = date(2011, 1, 1) + timedelta(days=number)
        warm = 0.5 - 0.35 * math.cos(2 * math.pi * number / 365) + chance.gauss(0, 0.05)
        growth = 1 + 1.5 * number / 731
        registered = max(20, int(growth * (1500 + 2500 * warm) + chance.gauss(0, 250)))
        casual = max(2, int(growth * 900 * warm * (2 if day.weekday() > 4 else 1) + chance.gauss(0, 120)))
        rows.append(
            [number + 1, day, (day.month % 12) // 3 + 1, day.year - 2011, day.month, day.weekday(), round(warm, 6),
             round(chance.uniform(0.2, 0.95), 6), casual, registered, casual + registered]
        )  # fmt: skip
    header = ["instant", "dteday", "season", "yr", "mnth", "weekday", "temp", "hum", "casual", "registered", "cnt"]
    _write(path, header, rows)


def air_quality(path: Path) -> None:
    """A sensor's log of Europe: day and time apart, semicolons, decimal commas, points in the time."""
    chance = Random(_SEED)
    began = datetime(2004, 3, 10, 18, tzinfo=UTC)
    rows = []
    for hour in range(24 * 40):
        at = began + timedelta(hours=hour)
        level = 2 + math.sin(2 * math.pi * at.hour / 24) + abs(chance.gauss(0, 0.5))
        numbers = [level, 48 + 9 * math.sin(2 * math.pi * at.hour / 24), 13.6 + chance.gauss(0, 3)]
        shown = [f"{number:.1f}".replace(".", ",") for number in numbers]
        rows.append(
            [f"{at:%d/%m/%Y}", f"{at:%H.%M.%S}", shown[0], int(900 + 180 * level + chance.gauss(0, 60)), *shown[1:]]
        )
    _write(path, ["Date", "Time", "CO(GT)", "PT08.S1(CO)", "RH", "T"], rows, ";")


def prices(path: Path) -> None:
    """Rooms to let: prices with a currency and thousands, rates in per cent."""
    chance = Random(_SEED)
    rows = []
    for number in range(600):
        beds, area = chance.randint(1, 6), chance.choice(["Brooklyn", "Manhattan", "Queens"])
        price = (beds * 230 + (350 if area == "Manhattan" else 0)) * chance.uniform(0.8, 1.25)
        clean = f"${round(20 + price / 9 * chance.uniform(0.5, 1.5)):,}.00"
        rows.append(
            [
                20_000 + 37 * number + chance.randint(0, 30),
                area,
                beds,
                clean,
                f"{chance.randint(50, 100)}%",
                f"${price:,.2f}",
            ]
        )
    _write(path, ["id", "neighbourhood", "beds", "cleaning_fee", "host_response_rate", "price"], rows)


def deliveries(path: Path) -> None:
    """Parcels with bar codes of 13 digits, of which some are missing, and numbers of 20 digits."""
    chance = Random(_SEED)
    rows = []
    for number in range(600):
        weight, far = round(chance.lognormvariate(0, 0.7), 2), chance.randint(1, 900)
        late = chance.random() < 0.1 + 0.8 * far / 900
        code = "" if number % 50 == 3 else 4_006_381_000_000 + chance.randint(0, 999_999)
        rows.append([f"{10**19 + chance.randint(0, 10**18)}", code, weight, far, "late" if late else "in time"])
    _write(path, ["shipment_id", "ean", "weight", "distance", "arrived"], rows)


FILES: dict[str, PublicFile] = {
    "telco_churn": PublicFile(
        telco,
        "Churn",
        "binary",
        keys=["customerID"],
        features=["SeniorCitizen", "tenure", "MonthlyCharges", "TotalCharges", "Contract"],
        types={"customerID": "string", "TotalCharges": "double", "tenure": "double"},
    ),
    "bike_sharing": PublicFile(
        rentals,
        "cnt",
        "regression",
        keys=["instant"],
        features=["season", "yr", "mnth", "weekday", "temp", "hum"],
        timestamp="dteday",
        types={"instant": "string", "dteday": "timestamp[us, tz=UTC]", "cnt": "double"},
        data={"timezone": "UTC"},
        first=datetime(2011, 1, 1, tzinfo=UTC),
    ),
    "air_quality": PublicFile(
        air_quality,
        "CO(GT)",
        "regression",
        keys=[],
        features=["PT08.S1(CO)", "RH", "T"],
        timestamp="Date",
        types={"Date": "timestamp[us, tz=UTC]", "T": "double"},
        data={"timezone": "UTC", "time_of_day": "Time"},
        first=datetime(2004, 3, 10, 18, tzinfo=UTC),
    ),
    "room_prices": PublicFile(
        prices,
        "price",
        "regression",
        keys=["id"],
        features=["beds", "cleaning_fee", "host_response_rate", "neighbourhood"],
        types={"id": "string", "price": "double", "cleaning_fee": "double"},
    ),
    "shipments": PublicFile(
        deliveries,
        "arrived",
        "binary",
        keys=["shipment_id"],
        features=["weight", "distance"],
        types={"shipment_id": "string", "weight": "double"},
    ),
}
