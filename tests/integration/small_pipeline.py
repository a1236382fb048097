"""The least that a pipeline of the tests says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def small_pipeline(name: str, csv: Path, *, window: str | None = None, **sections: Any) -> dict[str, Any]:
    """Return a pipeline over a CSV file with the columns `id`, `at`, `warmth`, `colour` and `good`."""
    columns = {
        "target": "good",
        "timestamp": "at",
        "keys": ["id"],
        "numeric": ["warmth"],
        "categorical": ["colour"],
    }
    data = {"source": {"uri": str(csv)}, "columns": columns, "window": window}
    return {
        "name": name,
        "task": "binary",
        "data": {key: value for key, value in data.items() if value is not None},
        **sections,
    }
