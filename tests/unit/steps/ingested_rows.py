"""Rows of every kind of column, as a source has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).parents[3]
COLUMNS = {"target": "late", "timestamp": "at", "keys": ["id"], "numeric": ["x"], "categorical": ["c"]}


def rows(count: int, *, start: datetime = datetime(2013, 2, 1, tzinfo=UTC)) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": [f"r{index:05}" for index in range(count)],
            "at": [start + timedelta(minutes=index) for index in range(count)],
            "x": [index / 7 if index % 11 else None for index in range(count)],
            "c": [None if index % 13 == 12 else "abc"[index % 3] for index in range(count)],
            "late": [index % 2 for index in range(count)],
            "unused": [object()] * count,
        }
    )


def parquet(frame: pd.DataFrame, path: Path, row_group_size: int | None = None) -> dict[str, Any]:
    frame.drop(columns="unused", errors="ignore").to_parquet(path, index=False, row_group_size=row_group_size)
    return {"source": {"uri": str(path)}, "columns": COLUMNS}
