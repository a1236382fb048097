"""Data sets as the files that a user has."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_data(name: str, folder: Path) -> tuple[Path, str]:
    """Write a data set as a CSV file; return it and its target."""
    file = folder / f"{name}.csv"
    if name == "flights":
        import pyarrow.compute as pc
        from pyarrow import csv

        from flights import read_flights

        rows = read_flights(datetime(2013, 2, 1, tzinfo=UTC), datetime(2013, 1, 1, tzinfo=UTC))
        csv.write_csv(rows.take(pc.sort_indices(rows, [("scheduled_departure", "ascending")])), file)
        return file, "late"
    from sklearn import datasets

    getattr(datasets, f"load_{name}")(as_frame=True).frame.rename(columns={"target": "y"}).to_csv(file, index=False)
    return file, "y"
