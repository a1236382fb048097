"""The rows on which trials are measured: scikit-learn's own splitters, within the training rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import DataError
from airflow_mlops_provider.modeling.splits import assign_by_boundaries, train_mask

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    import numpy as np
    from numpy.typing import NDArray

    from airflow_mlops_provider.modeling.splits import SplitPlan

#: Positions of the rows that train, and of those that are held out.
Fold = tuple["NDArray[np.int64]", "NDArray[np.int64]"]


def folds_of(
    rows: NDArray[np.int64],
    target: NDArray[Any],
    plan: SplitPlan,
    *,
    cv: int,
    seed: int,
    moments: NDArray[np.int64] | None = None,
    groups: NDArray[Any] | None = None,
) -> list[Fold]:
    """Return the folds of some rows.

    As the pipeline's own split has it: by time when that is, each fold held out after all that train for it and after
    the split's embargo (`TimeSeriesSplit`, of moments, so that rows of one moment stay together); else shuffled by the
    seed, with the classes' shares kept (`StratifiedKFold`) or, for a regression, without (`KFold`), and where there are
    groups, with the rows of each together (`StratifiedGroupKFold`, `GroupKFold`).

    :param rows: positions of the training rows.
    :param target: of all rows.
    :param moments: timestamps of all rows in microseconds, for a split by time.
    :param groups: numbers of the groups of all rows, where there are groups.
    :raises DataError: when there are too few rows, or a fold trains on none, or on none of a class.
    """
    from sklearn import model_selection

    known = target[rows]
    try:
        if moments is not None:
            folds = _in_time(rows, moments[rows], cv, plan.embargo)
        else:
            splitter = getattr(model_selection, splitter_of(plan))(cv, shuffle=True, random_state=seed)
            together = None if groups is None else groups[rows]
            folds = [(rows[train], rows[test]) for train, test in splitter.split(rows, known, together)]
    except ValueError as error:
        raise DataError(
            f"the training rows cannot be split into {cv} folds for the search",
            got=str(error),
            hint="Set a smaller search.cv, or widen data.window.",
        ) from error
    for number, (train, _) in enumerate(folds, 1):
        _check_rows(len(train), number, plan)
        _check_classes(target[train], plan.classes or (), number, plan)
    return folds


def _in_time(rows: NDArray[np.int64], moments: NDArray[np.int64], cv: int, embargo: timedelta) -> list[Fold]:
    import numpy as np
    from sklearn.model_selection import TimeSeriesSplit

    distinct = np.unique(moments)
    boundaries = [int(distinct[held[0]]) for _, held in TimeSeriesSplit(cv).split(distinct)]
    fold, trains_from = assign_by_boundaries(moments, boundaries, embargo)
    return [(rows[train_mask(fold, trains_from, number)], rows[fold == number]) for number in range(1, cv + 1)]


def _check_rows(rows: int, number: int, plan: SplitPlan) -> None:
    if not rows:
        raise DataError(
            f"fold {number} of the search would have no training rows: the embargo excludes all before it",
            got=f"no training row more than {plan.embargo} before it",
            hint="Set a smaller search.cv, lower preparation.split.embargo, or widen data.window.",
        )


def _check_classes(known: NDArray[Any], classes: Sequence[Any], number: int, plan: SplitPlan) -> None:
    import numpy as np

    if lacking := [label for label in classes if not np.any(known == label)]:
        raise DataError(
            f"fold {number} of the search would have no training rows of class {lacking[0]!r} "
            f"of target {plan.columns.target!r}",
            hint="Set a smaller search.cv, or widen data.window.",
        )


def splitter_of(plan: SplitPlan) -> str:
    """Return the name of scikit-learn's splitter that the folds are made by."""
    if plan.in_time:
        return "TimeSeriesSplit"
    return f"{'' if plan.classes is None else 'Stratified'}{'' if plan.group is None else 'Group'}KFold"
