"""Measures the dataset and decides: which features stay, which rows are held out. No data is rewritten.

Columns are read one after another, so memory holds one column and the assignment, never the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.data.tables import TableInfo, read_table, table_info, table_rows
from airflow_mlops_provider.exceptions import DataError, SpecError
from airflow_mlops_provider.job import Job, Outcome
from airflow_mlops_provider.modeling.leakage import association_of_categories, association_of_numbers, sample_rows
from airflow_mlops_provider.modeling.splits import (
    Split,
    SplitPlan,
    assign_by_hash,
    assign_by_time,
    row_hashes,
    write_split,
)
from airflow_mlops_provider.modeling.targets import Target, target_of
from airflow_mlops_provider.results import first_within
from airflow_mlops_provider.spec import Preparation

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from pydantic import JsonValue

    from airflow_mlops_provider.results import ArtifactRef
    from airflow_mlops_provider.storage import ArtifactStore

Section = Preparation
LIBRARIES = ("numpy", "pandas", "pyarrow")

#: A side with fewer rows measures nothing.
MIN_SIDE_ROWS = 10
#: What of a list goes into XCom, in bytes of JSON; the artifact holds it whole.
_SHOWN_BYTES = 800


@dataclass(frozen=True)
class _Table:
    """The dataset, read a column at a time."""

    store: ArtifactStore
    ref: ArtifactRef
    info: TableInfo
    rows: int

    def column(self, name: str) -> pd.Series[Any]:
        return read_table(self.store, self.ref, [name])[name]


def run(section: Preparation, job: Job) -> Outcome:
    """Store the artifacts `split` and `assignment`.

    :raises DataError: names the column and the number that is over its limit, or the class that a side lacks.
    """
    ref = job.artifact("dataset", "dataset")
    table = _Table(job.store, ref, table_info(job.store, ref), table_rows(job.store, ref))
    if table.rows < 2 * MIN_SIDE_ROWS:
        raise DataError(
            "the dataset has too few rows to train and to measure",
            got=f"{table.rows} rows",
            expected=f"at least {2 * MIN_SIDE_ROWS}",
            hint="Widen data.window, or look at what ingest kept.",
        )
    columns = table.info.columns
    target = target_of(table.column(columns.target), table.info.task)
    fold, boundary = _assign(section, table, job.seed)
    folds = section.split.folds if section.split.by == "cross_validation" else 1
    _check_sides(fold, folds, target, columns.target)
    if section.split.by == "time" and columns.keys:
        _check_keys(table, fold)
    dropped = _check_features(section, table, fold, folds, target)
    plan = _plan(section, table, fold, target, dropped, boundary)
    return Outcome(artifacts=write_split(job.store, Split(plan, fold)), facts=_facts(plan))


def _plan(
    section: Preparation,
    table: _Table,
    fold: NDArray[np.int8],
    target: Target,
    dropped: dict[str, float],
    boundary: str | None,
) -> SplitPlan:
    columns = table.info.columns
    kept = columns.model_copy(
        update={
            "numeric": [name for name in columns.numeric if name not in dropped],
            "categorical": [name for name in columns.categorical if name not in dropped],
        }
    )
    if not kept.features:
        raise DataError("every feature has too many missing values", got=dropped)
    cross = section.split.by == "cross_validation"
    fitted = target.values if cross else target.values[fold == 0]
    return SplitPlan(
        task=table.info.task,
        columns=kept,
        dropped=dropped,
        by=section.split.by,
        holdout=None if cross else section.split.holdout,
        folds=section.split.folds if cross else 1,
        rows=table.rows,
        rows_train=fitted.size,
        rows_holdout=int((fold > 0).sum()),
        boundary=boundary,
        classes=target.classes,
        class_shares={
            str(label): round(float((fitted == code).mean()), 6) for code, label in enumerate(target.classes or [])
        },
    )


def _facts(plan: SplitPlan) -> dict[str, JsonValue]:
    facts: dict[str, JsonValue] = {
        "rows_train": plan.rows_train,
        "rows_holdout": plan.rows_holdout,
        "features": len(plan.columns.features),
    }
    if plan.folds > 1:
        facts["folds"] = plan.folds
    if plan.boundary is not None:
        facts["boundary"] = plan.boundary
    if plan.dropped:
        facts["dropped"] = dict(first_within(plan.dropped.items(), _SHOWN_BYTES))
    if plan.classes is not None:
        facts["class_shares"] = dict(first_within(plan.class_shares.items(), _SHOWN_BYTES))
    return facts


# ---------------------------------------------------------------- split


def _assign(section: Preparation, table: _Table, seed: int) -> tuple[NDArray[np.int8], str | None]:
    """Return the assignment, and the first timestamp of the holdout where time decides."""
    split, columns = section.split, table.info.columns
    if split.by == "time":
        return _assign_by_time(table, split.holdout)
    hashes = row_hashes(table.store, table.ref, columns.identity)
    if split.by == "random":
        return assign_by_hash(hashes, seed=seed, holdout=split.holdout), None
    return assign_by_hash(hashes, seed=seed, folds=split.folds), None


def _assign_by_time(table: _Table, holdout: float) -> tuple[NDArray[np.int8], str]:
    import numpy as np

    name = table.info.columns.timestamp
    if name is None:
        raise SpecError("a split by time needs data.columns.timestamp", hint="Else set preparation.split.by to random.")
    moments = table.column(name)
    if (missing := moments.isna().to_numpy()).any():
        raise DataError(
            f"timestamp {name!r} is missing in {int(missing.sum())} rows, first in row {int(missing.argmax())}"
        )
    fold, position = assign_by_time(np.asarray(moments.astype("int64"), np.int64), holdout)
    return fold, moments.iloc[position].isoformat()


def _check_sides(fold: NDArray[np.int8], folds: int, target: Target, name: str) -> None:
    """Refuse a side that is too small, or that lacks a class."""
    import numpy as np

    for number in range(1, folds + 1):
        held = fold == number
        sides = {"the holdout": held, "the training rows": ~held}
        where = "" if folds == 1 else f" of fold {number}"
        for side, mask in sides.items():
            if (rows := int(mask.sum())) < MIN_SIDE_ROWS:
                raise DataError(
                    f"{side}{where} would have {rows} rows",
                    expected=f"at least {MIN_SIDE_ROWS}",
                    hint="More rows are needed, or another preparation.split: many rows may share one timestamp.",
                )
        # In cross-validation the held-out rows of all folds are measured together.
        checked = sides if folds == 1 else {"the training rows": ~held}
        for side, mask in checked.items():
            if target.classes is None:
                continue
            counts = np.bincount(target.values[mask].astype(np.int64), minlength=len(target.classes))
            if (counts == 0).any():
                raise DataError(
                    f"{side}{where} would hold no row of class {target.classes[int(counts.argmin())]!r} "
                    f"of target {name!r}",
                    got={str(label): int(count) for label, count in zip(target.classes, counts, strict=True)},
                    expected="every class on both sides",
                    hint="Widen data.window, enlarge preparation.split.holdout, or split at random.",
                )


def _check_keys(table: _Table, fold: NDArray[np.int8]) -> None:
    """Refuse a row that is both trained on and held out: the same keys, features and target at two times."""
    columns = table.info.columns
    held = fold == 1
    if not _on_both_sides(row_hashes(table.store, table.ref, columns.keys), held).any():
        return
    same = [*columns.keys, *columns.features, columns.target]
    whole = row_hashes(table.store, table.ref, same)
    twice = _on_both_sides(whole, held)
    if twice.any():
        row = int(twice.argmax())
        frame = read_table(table.store, table.ref, columns.keys).iloc[row]
        raise DataError(
            f"{int(twice.sum())} held-out rows are also trained on, with the same keys, features and target; "
            f"first row {row}",
            got=frame.to_dict(),
            expected="each row once",
            hint="Drop duplicates in the reader.",
        )


def _on_both_sides(hashes: NDArray[np.uint64], held: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which held-out rows have the hash of a training row."""
    import pandas as pd

    twice = held.copy()
    twice[held] = pd.Series(hashes[held]).isin(hashes[~held]).to_numpy()
    return twice


# ---------------------------------------------------------------- features


def _check_features(
    section: Preparation, table: _Table, fold: NDArray[np.int8], folds: int, target: Target
) -> dict[str, float]:
    """Return the share missing of each feature that is dropped; refuse what cannot be trained on."""
    import numpy as np

    # A feed that broke lately is missing from the holdout alone, so each side is measured.
    sides = [np.ones(table.rows, bool)] if folds > 1 else [fold == 0, fold == 1]
    sample = sample_rows(table.rows)
    sampled = target.values[sample]
    over: dict[str, float] = {}
    leaks: dict[str, float] = {}
    columns = table.info.columns
    for name in columns.features:
        column = table.column(name)
        if (share := _missing_share(column, sides)) > section.missing.max_share:
            over[name] = round(share, 6)
            continue
        if name in columns.numeric:
            strength = association_of_numbers(_numbers(column)[sample], sampled, classes=target.class_count)
        else:
            codes = _codes(column, section.max_categories)
            strength = association_of_categories(codes[sample], sampled, classes=target.class_count)
        if strength > section.max_target_association:
            leaks[name] = round(strength, 6)
    _refuse_leaks(leaks, section.max_target_association, target)
    if over and section.missing.over == "fail":
        worst = max(over, key=over.__getitem__)
        raise DataError(
            f"feature {worst!r} is missing in {over[worst]:.1%} of the training or of the held-out rows",
            got=over,
            expected=f"at most {section.missing.max_share:.1%}",
            hint="Repair the source, set preparation.missing.over to drop, or raise max_share.",
        )
    return over


def _missing_share(column: pd.Series[Any], sides: list[NDArray[np.bool_]]) -> float:
    missing = column.isna().to_numpy()
    return max(float(missing[side].mean()) for side in sides) if missing.any() else 0.0


def _numbers(column: pd.Series[Any]) -> NDArray[np.float64]:
    import numpy as np

    try:
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"feature {column.name!r} is not numeric",
            got=str(column.dtype),
            hint="List it under data.columns.categorical, or make it a number in the reader.",
        ) from error
    if (infinite := np.isinf(values)).any():
        raise DataError(
            f"feature {column.name!r} is infinite in {int(infinite.sum())} rows, first in row {int(infinite.argmax())}",
            hint="Make it a finite number, or a missing one, in the reader.",
        )
    return values


def _codes(column: pd.Series[Any], limit: int) -> NDArray[np.integer]:
    import numpy as np

    codes = column.astype("category").cat.codes.to_numpy()
    count = np.unique(codes[codes >= 0]).size
    if count > limit:
        raise DataError(
            f"category {column.name!r} has {count} distinct values",
            expected=f"at most {limit}",
            hint="Group rare values in the reader, leave the column out, or raise preparation.max_categories.",
        )
    return codes


def _refuse_leaks(leaks: dict[str, float], limit: float, target: Target) -> None:
    if leaks:
        worst = max(leaks, key=leaks.__getitem__)
        raise DataError(
            f"feature {worst!r} alone tells the target: it cannot have been known beforehand",
            got=leaks,
            expected=f"{'|rank correlation|' if target.classes is None else 'AUC'} of at most {limit}",
            hint="Leave it out of data.columns, or raise preparation.max_target_association if it is honest.",
        )
