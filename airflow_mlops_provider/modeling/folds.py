"""How rows come to their folds: by time, by a hash of their own, or by scikit-learn's splitters.

scikit-learn's splitters go by position. They are given the rows in the order of their hashes, so that an assignment
does not depend on the order in which rows are stored, and most rows keep their fold when rows are added.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import DataError, SpecError
from airflow_mlops_provider.modeling.splits import (
    assign_by_boundaries,
    assign_by_hash,
    microseconds,
    mixed,
    row_hashes,
    time_boundary,
    train_mask,
)
from airflow_mlops_provider.spec.preparation import split_problem

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from airflow_mlops_provider.data.tables import Dataset
    from airflow_mlops_provider.modeling.targets import Target
    from airflow_mlops_provider.spec.preparation import Split


@dataclass(frozen=True)
class Assignment:
    """Which rows are held out when, and for which folds the others train; see `modeling.splits`.

    :param folds: 1 for a single holdout.
    :param boundaries: first timestamp of each holdout (ISO 8601), where time decides.
    """

    fold: NDArray[np.int8]
    folds: int = 1
    trains_from: NDArray[np.int8] | None = None
    boundaries: list[str] = field(default_factory=list)
    embargo: timedelta = timedelta(0)

    def train_mask(self, number: int) -> NDArray[np.bool_]:
        """Return which rows train when a fold is held out."""
        return train_mask(self.fold, self.trains_from, number)

    @property
    def idle(self) -> int:
        """Rows that never train for a measured fold, and are never held out: those under embargo."""
        if self.trains_from is None:
            return 0
        return int(((self.fold == 0) & (self.trains_from > self.folds)).sum())


def assign(split: Split, dataset: Dataset, target: Target, seed: int) -> Assignment:
    """Assign every row.

    :raises SpecError: when the columns or the task do not allow such a split.
    :raises DataError: when a timestamp or group is missing, or there are too few rows of a class, or groups.
    """
    columns = dataset.info.columns
    if (problem := split_problem(split, columns, dataset.info.task)) is not None:
        raise SpecError(problem)
    if split.group is not None:
        _refuse_missing(dataset, split.group, "group")
    if split.in_time:
        return _in_time(split, dataset)
    if split.by == "random":
        hashes = row_hashes(dataset.store, dataset.ref, [split.group] if split.group else columns.identity)
        return Assignment(assign_by_hash(hashes, seed=seed, holdout=split.holdout))
    hashes = row_hashes(dataset.store, dataset.ref, columns.identity)
    if split.kind == "k_fold":
        return Assignment(assign_by_hash(hashes, seed=seed, folds=split.folds), split.folds)
    return Assignment(_by_splitter(split, dataset, target, mixed(hashes, seed), seed), split.folds)


def _refuse_missing(dataset: Dataset, name: str, role: str) -> None:
    missing = dataset.column(name).isna().to_numpy()
    if missing.any():
        raise DataError(
            f"{role} {name!r} is missing in {int(missing.sum())} rows, first in row {int(missing.argmax())}"
        )


# ---------------------------------------------------------------- by time


def _in_time(split: Split, dataset: Dataset) -> Assignment:
    """Hold out by time. What trains was labelled before the holdout began, as it is when a model is put to work."""
    import numpy as np

    name = str(dataset.info.columns.timestamp)
    _refuse_missing(dataset, name, "timestamp")
    column = dataset.column(name)
    moments = microseconds(column)
    if split.by == "time":
        boundaries = [time_boundary(moments, split.holdout)]
    else:
        boundaries = _series_boundaries(moments, split.folds)
    embargo = dataset.info.label_delay if split.embargo is None else split.embargo
    fold, trains_from = assign_by_boundaries(moments, boundaries, embargo)
    texts = [column.iloc[int(np.argmax(moments == boundary))].isoformat() for boundary in boundaries]
    return Assignment(fold, len(boundaries), trains_from, texts, embargo)


def _series_boundaries(moments: NDArray[np.int64], folds: int) -> list[int]:
    """Return where the holdouts of scikit-learn's `TimeSeriesSplit` begin, moved back to the start of a moment."""
    import numpy as np
    from sklearn.model_selection import TimeSeriesSplit

    ordered = np.sort(moments)
    return [int(ordered[held[0]]) for _, held in TimeSeriesSplit(n_splits=folds).split(ordered)]


# ---------------------------------------------------------------- by scikit-learn's splitters


def _by_splitter(
    split: Split, dataset: Dataset, target: Target, hashes: NDArray[np.uint64], seed: int
) -> NDArray[np.int8]:
    import numpy as np

    order = np.argsort(hashes, kind="stable")
    groups = None
    if split.group is not None:
        groups = mixed(row_hashes(dataset.store, dataset.ref, [split.group]), seed)
        _refuse_few_groups(split, int(np.unique(groups).size))
    if split.kind != "grouped":
        _refuse_few_of_a_class(split, target, dataset.info.columns.target)
    fold = np.zeros(dataset.rows, np.int8)
    ordered = None if groups is None else groups[order]
    parts = _splitter(split).split(order, target.values[order], ordered)
    for number, (_, held) in enumerate(parts, start=1):
        fold[order[held]] = number
    return fold


def _splitter(split: Split) -> Any:
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, StratifiedKFold

    kinds = {"stratified": StratifiedKFold, "grouped": GroupKFold, "stratified_grouped": StratifiedGroupKFold}
    return kinds[split.kind](n_splits=split.folds)


def _refuse_few_groups(split: Split, groups: int) -> None:
    if groups < split.folds:
        raise DataError(
            f"group {split.group!r} has {groups} distinct values",
            expected=f"at least {split.folds}, one for each of preparation.split.folds",
            hint="Widen data.window, lower preparation.split.folds, or group by another column.",
        )


def _refuse_few_of_a_class(split: Split, target: Target, name: str) -> None:
    import numpy as np

    counts = np.bincount(target.values.astype(np.int64), minlength=target.class_count)
    if counts.min() < split.folds:
        rarest = (target.classes or [])[int(counts.argmin())]
        raise DataError(
            f"class {rarest!r} of target {name!r} has {int(counts.min())} rows",
            expected=f"at least {split.folds}, one for each of preparation.split.folds",
            hint="Widen data.window, lower preparation.split.folds, or set kind to k_fold.",
        )
