"""Rows that lack a feature: which, and of which."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa


def lacking(table: pa.Table, features: Sequence[str]) -> dict[str, pa.Array]:
    """Return of each feature that is missing somewhere in which rows it is."""
    import pyarrow.compute as pc

    missing = {name: pc.is_null(table[name], nan_is_null=True) for name in features}
    combined = {name: each.combine_chunks() for name, each in missing.items()}
    return {name: each for name, each in combined.items() if each.true_count}


def any_of(missing: dict[str, pa.Array], rows: int) -> pa.Array:
    """Return which rows lack a feature."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return reduce(pc.or_, missing.values(), pa.repeat(pa.scalar(False), rows))
