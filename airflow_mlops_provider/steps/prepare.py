"""Measures the dataset and decides: which features stay, which rows are held out. No data is rewritten.

Columns are read one after another, so memory holds one column and the assignment, never the table.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.data.tables import Dataset
from airflow_mlops_provider.exceptions import DataError
from airflow_mlops_provider.job import Job, Outcome
from airflow_mlops_provider.modeling.folds import Assignment, assign
from airflow_mlops_provider.modeling.leakage import association_of_categories, association_of_numbers, sample_rows
from airflow_mlops_provider.modeling.overlap import check_overlap
from airflow_mlops_provider.modeling.parts import PARTS_ROWS, as_numbers, parts_of_target
from airflow_mlops_provider.modeling.splits import SplitPlan, StoredSplit, write_split
from airflow_mlops_provider.modeling.targets import Target, target_of
from airflow_mlops_provider.results import first_within
from airflow_mlops_provider.spec import Preparation

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from pydantic import JsonValue

log = logging.getLogger(__name__)

Section = Preparation
#: Raised when rows are split otherwise than before, so that what was stored is made anew.
FORMAT = 2
LIBRARIES = ("numpy", "pandas", "pyarrow", "sklearn")

#: A side with fewer rows measures nothing.
MIN_SIDE_ROWS = 10
#: What of a list goes into XCom, in bytes of JSON; the artifact holds it whole.
_SHOWN_BYTES = 800


def run(section: Preparation, job: Job) -> Outcome:
    """Store the artifacts `split` and `assignment`.

    :raises DataError: names the column and the number that is over its limit, or the class that a side lacks.
    """
    ref = job.artifact("dataset", "dataset")
    table = Dataset.open(job.store, ref)
    if table.rows < 2 * MIN_SIDE_ROWS:
        raise DataError(
            "the dataset has too few rows to train and evaluate",
            got=f"{table.rows} rows",
            expected=f"at least {2 * MIN_SIDE_ROWS}",
            hint="Widen data.window, or check which rows ingest left out.",
        )
    columns = table.info.columns
    target = target_of(table.column(columns.target), table.info.task)
    assignment = assign(section.split, table, target, job.seed)
    _check_sides(assignment, target, columns.target)
    overlaps = check_overlap(section, table, assignment)
    features = _check_features(section, table, assignment, target)
    plan = _plan(section, table, assignment, target, features.dropped, [*overlaps, *features.suspected])
    for warning in plan.warnings:
        log.warning("%s", warning)
    return Outcome(
        artifacts=write_split(job.store, StoredSplit(plan, assignment.fold, assignment.trains_from)), facts=_facts(plan)
    )


def _plan(
    section: Preparation,
    table: Dataset,
    assignment: Assignment,
    target: Target,
    dropped: dict[str, float],
    warnings: list[str],
) -> SplitPlan:
    columns = table.info.columns
    remaining = columns.model_copy(
        update={
            "numeric": [name for name in columns.numeric if name not in dropped],
            "categorical": [name for name in columns.categorical if name not in dropped],
        }
    )
    if not remaining.features:
        raise DataError("every feature has too many missing values", got=dropped)
    split = section.split
    cross = split.by == "cross_validation"
    fitted = target.values if cross else target.values[assignment.train_mask(1)]
    return SplitPlan(
        task=table.info.task,
        columns=remaining,
        dropped=dropped,
        by=split.by,
        holdout=None if cross else split.holdout,
        folds=assignment.folds,
        kind=split.kind if cross else None,
        group=split.group,
        rows=table.rows,
        rows_train=fitted.size,
        rows_holdout=int((assignment.fold > 0).sum()),
        boundary=assignment.boundaries[0] if assignment.boundaries else None,
        boundaries=assignment.boundaries if cross else [],
        embargo=assignment.embargo,
        rows_embargoed=0 if cross else assignment.idle,
        warnings=warnings,
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
    if plan.rows_embargoed:
        facts["rows_embargoed"] = plan.rows_embargoed
    if plan.warnings:
        facts["warnings"] = list(first_within(plan.warnings, _SHOWN_BYTES))
    if plan.dropped:
        facts["dropped"] = dict(first_within(plan.dropped.items(), _SHOWN_BYTES))
    if plan.classes is not None:
        facts["class_shares"] = dict(first_within(plan.class_shares.items(), _SHOWN_BYTES))
    return facts


# ---------------------------------------------------------------- split


def _check_sides(assignment: Assignment, target: Target, name: str) -> None:
    """Refuse a side that is too small, or that lacks a class."""
    import numpy as np

    folds = assignment.folds
    for number in range(1, folds + 1):
        training = assignment.train_mask(number)
        sides = {"the holdout": assignment.fold == number, "the training rows": training}
        where = "" if folds == 1 else f" of fold {number}"
        for side, mask in sides.items():
            if (rows := int(mask.sum())) < MIN_SIDE_ROWS:
                raise DataError(
                    f"{side}{where} would have {rows} rows",
                    expected=f"at least {MIN_SIDE_ROWS}",
                    hint="Provide more rows, or change preparation.split: many rows may share one timestamp, "
                    "or lie within the embargo.",
                )
        # In cross-validation the held-out rows of all folds are measured together.
        checked = sides if folds == 1 else {"the training rows": training}
        for side, mask in checked.items():
            if target.classes is None:
                continue
            counts = np.bincount(target.values[mask].astype(np.int64), minlength=len(target.classes))
            if (counts == 0).any():
                raise DataError(
                    f"{side}{where} would have no rows of class {target.classes[int(counts.argmin())]!r} "
                    f"of target {name!r}",
                    got={str(label): int(count) for label, count in zip(target.classes, counts, strict=True)},
                    expected="every class on both sides",
                    hint="Widen data.window, enlarge preparation.split.holdout, or split at random.",
                )


# ---------------------------------------------------------------- features


@dataclass(frozen=True)
class _Features:
    """What was found of the features.

    :param dropped: share missing of each feature that is dropped.
    :param suspected: in words, those that tell the target almost too well.
    """

    dropped: dict[str, float]
    suspected: list[str]


def _check_features(section: Preparation, table: Dataset, assignment: Assignment, target: Target) -> _Features:
    """Return which features are dropped or suspected; refuse what cannot be trained on."""
    import numpy as np

    # A feed that broke lately is missing from the holdout alone, so each side is measured.
    single = assignment.folds == 1
    sides = [assignment.train_mask(1), assignment.fold == 1] if single else [np.ones(table.rows, bool)]
    sample = sample_rows(table.rows)
    sampled = target.values[sample]
    over: dict[str, float] = {}
    strengths: dict[str, float] = {}
    few = sample_rows(sample.size, PARTS_ROWS)
    numbers: dict[str, NDArray[np.float64]] = {}
    columns = table.info.columns
    for name in columns.features:
        column = table.column(name)
        if (share := _missing_share(column, sides)) > section.missing.max_share:
            over[name] = round(share, 6)
            continue
        if name in columns.numeric:
            values = _numbers(column)[sample]
            strength = association_of_numbers(values, sampled, classes=target.class_count)
            numbers[name] = values[few]
        else:
            codes = _codes(column, section.max_categories)[sample]
            strength = association_of_categories(codes, sampled, classes=target.class_count)
            if (flags := as_numbers(codes[few])) is not None:
                numbers[name] = flags
        strengths[name] = round(strength, 6)
    suspected = _refuse_leaks(strengths, section, target)
    together = parts_of_target(numbers, sampled[few], classes=target.class_count)
    suspected += [f"{parts.words(columns.target)}. Were they known beforehand?" for parts in together]
    if over and section.missing.over == "fail":
        worst = max(over, key=over.__getitem__)
        raise DataError(
            f"feature {worst!r} is missing in {over[worst]:.1%} of the training or held-out rows",
            got=over,
            expected=f"at most {section.missing.max_share:.1%}",
            hint="Repair the source, set preparation.missing.over to drop, or raise max_share.",
        )
    return _Features(over, suspected)


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
            hint="Make it finite or missing in the reader.",
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


def _refuse_leaks(strengths: dict[str, float], section: Preparation, target: Target) -> list[str]:
    """Return in words which features tell the target almost too well; refuse those that tell it too well."""
    measure = "|rank correlation|" if target.classes is None else "AUC"
    if leaks := {name: value for name, value in strengths.items() if value > section.max_target_association}:
        worst = max(leaks, key=leaks.__getitem__)
        raise DataError(
            f"feature {worst!r} alone reveals the target: it cannot have been known beforehand",
            got=leaks,
            expected=f"{measure} of at most {section.max_target_association}",
            hint="Leave it out of data.columns, or raise preparation.max_target_association if it is legitimate.",
        )
    return [
        f"feature {name!r} alone almost reveals the target: {measure} {value}. Was it known beforehand?"
        for name, value in strengths.items()
        if value > section.warn_target_association
    ]
