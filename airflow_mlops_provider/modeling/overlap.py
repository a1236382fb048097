"""What stands on both sides of a split: held-out rows that a model may know from training.

A row counts for the fold in which it is held out, against the rows that train for that fold. A share that passes is
still reported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.exceptions import DataError
from airflow_mlops_provider.modeling.splits import row_hashes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from airflow_mlops_provider.data.tables import Dataset
    from airflow_mlops_provider.modeling.folds import Assignment
    from airflow_mlops_provider.spec.preparation import Overlap, Preparation


def check_overlap(section: Preparation, dataset: Dataset, assignment: Assignment) -> list[str]:
    """Return what is on both sides and let pass, in words.

    :raises DataError: names the first such row, the share, and the columns, when a policy says so.
    """
    columns, split, rules = dataset.info.columns, section.split, section.leakage
    by_keys = not split.in_time and split.kind == "k_fold" and split.group is None  # then equal keys lie on one side
    if columns.keys and not by_keys:
        _refuse_same_rows(dataset, assignment)
    reported = []
    if rules.duplicates is not None:
        features = [*columns.features, columns.target]
        reported += _judged(
            rules.duplicates, dataset, assignment, features, "every feature and the target", "duplicates"
        )
    if rules.keys is not None and columns.keys:
        reported += _judged(rules.keys, dataset, assignment, columns.keys, f"keys {columns.keys}", "keys")
    if split.group is not None:
        reported += _judged(rules.groups, dataset, assignment, [split.group], f"group {split.group!r}", "groups")
    return reported


def _judged(
    rule: Overlap, dataset: Dataset, assignment: Assignment, columns: Sequence[str], alike: str, setting: str
) -> list[str]:
    known = known_rows(row_hashes(dataset.store, dataset.ref, columns), assignment)
    rows, held = int(known.sum()), int((assignment.fold > 0).sum())
    if rows <= rule.max_share * held:
        return []
    what = f"{rows} of {held} held-out rows ({rows / held:.2%}) equal a training row in {alike}"
    if rule.policy == "warn":
        return [f"{what}; preparation.leakage.{setting} allows {rule.max_share:.2%}"]
    raise DataError(
        f"{what}, first row {int(known.argmax())}",
        expected=f"at most {rule.max_share:.2%}",
        hint="Drop duplicates in the source, split by group, "
        f"or set preparation.leakage.{setting} to a share or to warn.",
    )


def _refuse_same_rows(dataset: Dataset, assignment: Assignment) -> None:
    """Refuse a row that is both trained on and held out: the same keys, features and target."""
    columns = dataset.info.columns
    if not known_rows(row_hashes(dataset.store, dataset.ref, columns.keys), assignment).any():
        return
    whole = [*columns.keys, *columns.features, columns.target]
    known = known_rows(row_hashes(dataset.store, dataset.ref, whole), assignment)
    if known.any():
        row = int(known.argmax())
        raise DataError(
            f"{int(known.sum())} held-out rows are also training rows, with the same keys, features and target; "
            f"first row {row}",
            got={name: dataset.column(name).iloc[row] for name in columns.keys},
            expected="each row once",
            hint="Drop duplicates in the source.",
        )


def known_rows(hashes: NDArray[np.uint64], assignment: Assignment) -> NDArray[np.bool_]:
    """Return which held-out rows have the hash of a row that trains for their fold."""
    import numpy as np
    import pandas as pd

    known = np.zeros(len(hashes), bool)
    repeated = np.flatnonzero(pd.Series(hashes).duplicated(keep=False).to_numpy())  # no other can be on two sides
    fold, few = assignment.fold[repeated], hashes[repeated]
    for number in range(1, assignment.folds + 1):
        held = fold == number
        trained = assignment.train_mask(number)[repeated]
        known[repeated[held]] = pd.Series(few[held]).isin(few[trained]).to_numpy()
    return known
