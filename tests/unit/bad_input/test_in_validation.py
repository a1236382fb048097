"""Bad input that validation stops: each gives one failure that names what, where, got, expected and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from bad_files import COLUMNS, Case, csv, good, parquet, replaced

if TYPE_CHECKING:
    from pathlib import Path

IN_VALIDATION = [
    Case("one row", csv(good(1)), "d.csv", ("rows_are_enough", "1 row,", "at least 20 rows")),
    Case("one row, allowed", csv(good(1)), "d.csv", ("rows_are_enough", "at least 2 rows"), validation={"min_rows": 1}),
    Case(
        "too many rows",
        csv(good()),
        "d.csv",
        ("rows_are_not_too_many", "40 rows", "at most 30"),
        validation={"max_rows": 30},
    ),
    Case(
        "a single-class target",
        csv(good().assign(late=1)),
        "d.csv",
        ("target_varies of column 'late'", "1 class: 1", "exactly 2 classes"),
    ),
    Case(
        "three classes of two",
        csv(good().assign(late=[0, 1, 2, 1] * 10)),
        "d.csv",
        ("target_varies", "3 classes: 0, 1, 2"),
    ),
    Case(
        "a constant regression target",
        csv(good().assign(late=1.5)),
        "d.csv",
        ("target_varies", "1 value: 1.5"),
        task="regression",
    ),
    Case(
        "a class label of another type", csv(replaced("late", 30, "maybe")), "d.csv", ("target_varies", "0, 1, maybe")
    ),
    Case(
        "an all-null number",
        csv(good().assign(x=None)),
        "d.csv",
        ("column_is_not_all_null of column 'x'", "40 of 40 values"),
    ),
    Case(
        "an all-null category", parquet(good().assign(c=None)), "d.parquet", ("column_is_not_all_null of column 'c'",)
    ),
    Case(
        "an infinite feature",
        parquet(replaced("x", 11, float("inf")).astype({"x": float})),
        "d.parquet",
        ("column_is_finite of column 'x'", "1 of 40 values, the first in row 12", "no infinite value"),
    ),
    Case(
        "a missing required value",
        csv(replaced("c", 4, None)),
        "d.csv",
        ("column_has_no_null of column 'c'", "row 5", "a value in every row"),
        validation={"required": ["c"]},
    ),
    Case("a missing key", csv(replaced("id", 4, None)), "d.csv", ("column_has_no_null of column 'id'", "row 5")),
    Case(
        "a repeated key",
        csv(replaced("id", 4, "r003")),
        "d.csv",
        ("keys_are_unique of column 'id'", "1 repeated rows, such as id=r003", "each id once"),
    ),
]


@pytest.mark.parametrize("case", IN_VALIDATION, ids=lambda case: case.name)
def test_bad_input_stops_in_validation(case: Case, steps: Any, tmp_path: Path) -> None:
    path = tmp_path / case.file
    case.write(path)
    dataset = steps.ingest({"source": {"uri": str(path)}, "columns": COLUMNS}, task=case.task)
    failure = steps.validate(dataset, **case.validation).failure
    assert failure is not None
    message = f"{failure.what}: got {failure.got}, expected {failure.expected}. {failure.hint}"
    for part in case.says:
        assert part in message
