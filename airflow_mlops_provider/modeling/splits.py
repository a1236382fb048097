"""The split of a dataset: which rows are held out, and what else was decided before anything is fitted.

A split is two artifacts. The plan is JSON that people can read. The assignment is one small integer a row, in the
order of the dataset: `1…folds` is held out in that fold, `0` in none. A single holdout is fold 1. Where time counts, a
second number says from which fold on a row trains: a row after a holdout never trains for it, and neither does one
whose label became known only when the holdout had begun. Rows that train for fold `k` are those whose number is not
`k`, and that train from `k` or an earlier fold on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from airflow_mlops_provider.data.tables import iter_tables
from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.exceptions import ArtifactError
from airflow_mlops_provider.spec.data import Columns
from airflow_mlops_provider.spec.frozen import Task
from airflow_mlops_provider.spec.preparation import FoldKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from airflow_mlops_provider.results import ArtifactRef
    from airflow_mlops_provider.storage import ArtifactStore

#: A class of a classification target, as JSON keeps it.
ClassLabel = bool | int | float | str


class SplitPlan(Document):
    """What `prepare` decided.

    :param columns: the roles of the columns, without the features that were dropped.
    :param dropped: share missing of each dropped feature.
    :param by: how rows were assigned.
    :param holdout: share that was to be held out; None for cross-validation.
    :param folds: 1 for a single holdout, else the folds of the cross-validation.
    :param rows: rows of the dataset; equal to the length of the assignment.
    :param rows_train: rows that the stored model is fitted to; all of them for cross-validation.
    :param rows_holdout: rows that are held out in some fold; all of them for cross-validation.
    :param kind: how a cross-validation assigns rows; None for a single holdout.
    :param group: the column whose rows stay together.
    :param boundary: first timestamp of the holdout (ISO 8601), of the first one in a cross-validation, by time.
    :param boundaries: first timestamp of each holdout, for a cross-validation by time.
    :param embargo: time before a holdout whose rows do not train for it.
    :param rows_embargoed: rows that neither train for any fold nor are held out.
    :param warnings: what looks like a leak and was let pass, in words.
    :param classes: the classes in sorted order, which is the order of probability columns; None for regression.
    :param class_shares: share of each class (by its text) among the rows that the stored model is fitted to.
    """

    SCHEMA = 2

    task: Task
    columns: Columns
    dropped: dict[str, float] = Field(default_factory=dict)
    by: Literal["time", "random", "cross_validation"]
    holdout: float | None = None
    folds: int = Field(ge=1, le=50)
    rows: int = Field(ge=1)
    rows_train: int = Field(ge=1)
    rows_holdout: int = Field(ge=1)
    kind: FoldKind | None = None
    group: str | None = None
    boundary: str | None = None
    boundaries: list[str] = Field(default_factory=list)
    embargo: timedelta = timedelta(0)
    rows_embargoed: int = 0
    warnings: list[str] = Field(default_factory=list)
    classes: list[ClassLabel] | None = None
    class_shares: dict[str, float] = Field(default_factory=dict)

    @property
    def in_time(self) -> bool:
        """Whether what trains lies before what is held out."""
        return self.by == "time" or self.kind == "time_series"


@dataclass(frozen=True)
class StoredSplit:
    """A plan with its assignment.

    :param fold: int8, one for each row of the dataset, in its order.
    :param trains_from: int8 likewise: the first fold that a row trains for; None when all do from the first.
    """

    plan: SplitPlan
    fold: NDArray[np.int8]
    trains_from: NDArray[np.int8] | None = None

    def train_mask(self, fold: int) -> NDArray[np.bool_]:
        """Return which rows train when `fold` is held out."""
        return train_mask(self.fold, self.trains_from, fold)

    def holdout_mask(self, fold: int) -> NDArray[np.bool_]:
        """Return which rows are held out in `fold`."""
        mask: NDArray[np.bool_] = self.fold == fold
        return mask

    @property
    def scopes(self) -> dict[str, NDArray[np.bool_]]:
        """The training rows of each fit: last of the model to keep, before it of each fold that is held out."""
        import numpy as np

        if self.plan.folds == 1:
            return {"final": self.train_mask(1)}
        folds = {f"fold-{fold}": self.train_mask(fold) for fold in range(1, self.plan.folds + 1)}
        return {**folds, "final": np.ones(len(self.fold), bool)}


def train_mask(fold: NDArray[np.int8], trains_from: NDArray[np.int8] | None, number: int) -> NDArray[np.bool_]:
    """Return which rows of an assignment train when fold `number` is held out.

    >>> import numpy as np
    >>> train_mask(np.array([0, 0, 1, 2]), np.array([1, 2, 2, 3]), 2).tolist()
    [True, True, True, False]
    """
    mask: NDArray[np.bool_] = fold != number
    return mask if trains_from is None else mask & (trains_from <= number)


def write_split(store: ArtifactStore, split: StoredSplit) -> dict[str, ArtifactRef]:
    """Store a split as the artifacts `split` (the plan) and `assignment`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with store.workspace() as folder:
        file = folder / "assignment.parquet"
        columns = {"fold": pa.array(split.fold, pa.int8())}
        if split.trains_from is not None:
            columns["trains_from"] = pa.array(split.trains_from, pa.int8())
        pq.write_table(pa.table(columns), file, compression="zstd")
        assignment = store.add(file, ".parquet")
    return {"split": store.add_document(split.plan), "assignment": assignment}


def read_split(store: ArtifactStore, plan: ArtifactRef, assignment: ArtifactRef) -> StoredSplit:
    """Return a stored split.

    :raises ArtifactError: when an artifact is damaged, or the two do not belong together.
    """
    import pyarrow.parquet as pq

    decided = store.read_document(plan, SplitPlan)
    table = pq.read_table(store.fetch(assignment), memory_map=False)
    fold = table["fold"].to_numpy()
    if len(fold) != decided.rows:
        raise ArtifactError(
            f"assignment {assignment.uri} does not belong to split {plan.uri}",
            got=f"{len(fold)} rows",
            expected=f"{decided.rows} rows",
            hint="Clear the prepare task with the Param `recompute` set.",
        )
    return StoredSplit(decided, fold, table["trains_from"].to_numpy() if "trains_from" in table.column_names else None)


def time_boundary(timestamps: NDArray[np.int64], holdout: float) -> int:
    """Return the first timestamp of the last `holdout` share.

    All rows of one moment go to one side, so the holdout may be a little larger than requested.

    >>> import numpy as np
    >>> time_boundary(np.array([1, 2, 3, 3, 4]), 0.4)
    3
    """
    import numpy as np

    rows = len(timestamps)
    cut = min(rows - 1, rows - round(rows * holdout))
    return int(np.partition(timestamps, cut)[cut])


def microseconds(timestamps: pd.Series[Any]) -> NDArray[np.int64]:
    """Return timestamps as numbers, in microseconds."""
    import numpy as np

    return np.asarray(timestamps.dt.as_unit("us").astype("int64"), np.int64)


def assign_by_boundaries(
    timestamps: NDArray[np.int64], boundaries: Sequence[int], embargo: timedelta
) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Assign each row to the fold that begins last before it, 0 before the first; and the first fold it trains for.

    A row trains for a fold when it lies more than `embargo` before its boundary.

    >>> import numpy as np
    >>> fold, trains_from = assign_by_boundaries(np.array([1, 2, 3, 4, 5]), [3, 5], timedelta(microseconds=1))
    >>> fold.tolist(), trains_from.tolist()
    ([0, 0, 1, 1, 2], [1, 2, 2, 3, 3])

    :param timestamps: in microseconds.
    :param boundaries: first timestamp of each fold, ascending.
    """
    import numpy as np

    limits = np.asarray(boundaries, np.int64)
    fold = np.searchsorted(limits, timestamps, side="right").astype(np.int8)
    known = timestamps + embargo // timedelta(microseconds=1)
    return fold, (np.searchsorted(limits, known, side="right") + 1).astype(np.int8)


def assign_by_hash(
    hashes: NDArray[np.uint64], *, seed: int, holdout: float | None = None, folds: int = 1
) -> NDArray[np.int8]:
    """Assign each row by its own hash, so that it stays on its side whatever other rows come and go.

    :param holdout: the share that is held out, in fold 1; None assigns each row to one of `folds` folds.
    """
    import numpy as np

    spread = mixed(hashes, seed)
    if holdout is None:
        return (spread % np.uint64(folds) + np.uint64(1)).astype(np.int8)
    uniform = (spread >> np.uint64(11)) * 2.0**-53
    return (uniform < holdout).astype(np.int8)


def mixed(hashes: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Return hashes that differ from seed to seed (the finalizer of splitmix64: Steele, Lea & Flood 2014)."""
    import numpy as np

    golden = np.full(1, 0x9E3779B97F4A7C15, np.uint64)
    spread = hashes + golden * np.uint64(seed + 1)
    spread = (spread ^ (spread >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    spread = (spread ^ (spread >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    finished: NDArray[np.uint64] = spread ^ (spread >> np.uint64(31))
    return finished


def row_hashes(store: ArtifactStore, table: ArtifactRef, columns: Sequence[str]) -> NDArray[np.uint64]:
    """Return a hash of some columns for each row, read one row group at a time.

    The hash is of values alone: it does not change with row groups, dictionaries or other rows' nulls.
    """
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    # Without these, integers would hash as floats wherever their row group holds a null.
    nullable = {
        pa.int8(): pd.Int8Dtype(), pa.int16(): pd.Int16Dtype(), pa.int32(): pd.Int32Dtype(),
        pa.int64(): pd.Int64Dtype(), pa.uint8(): pd.UInt8Dtype(), pa.uint16(): pd.UInt16Dtype(),
        pa.uint32(): pd.UInt32Dtype(), pa.uint64(): pd.UInt64Dtype(), pa.bool_(): pd.BooleanDtype(),
    }  # fmt: skip
    parts = [
        pd.util.hash_pandas_object(
            group.to_pandas(ignore_metadata=True, types_mapper=nullable.get), index=False, categorize=False
        ).to_numpy()
        for group in iter_tables(store, table, columns)
    ]
    return np.concatenate(parts) if parts else np.empty(0, np.uint64)
