"""The rows that a condition means.

Great Expectations would write it as a text for `DataFrame.query`, into which a column's name could smuggle code.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import SpecError
from airflow_mlops_provider.spec.expectations import AllOf, AnyOf, Nullity

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from airflow_mlops_provider.spec.expectations import Comparison, Condition

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def rows_where(frame: pd.DataFrame, condition: Condition) -> pd.DataFrame:
    """Return the rows that a condition holds for, each with the number that it has in the frame.

    :raises SpecError: when a column cannot be compared with the condition's value.
    """
    found: pd.DataFrame = frame[_mask(frame, condition)]
    return found


def _mask(frame: pd.DataFrame, condition: Condition) -> Any:
    if isinstance(condition, AllOf | AnyOf):
        first, *others = (_mask(frame, part) for part in condition.conditions)
        for mask in others:
            first = first & mask if isinstance(condition, AllOf) else first | mask
        return first
    column = frame[condition.column.name]
    if isinstance(condition, Nullity):
        return column.isna() if condition.is_null else column.notna()
    try:
        return _compared(column, condition)
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"row_condition cannot compare column {condition.column.name!r} with {condition.parameter!r}",
            got=str(error),
            hint="Give a value of the column's own type.",
        ) from error


def _compared(column: pd.Series[Any], condition: Comparison) -> Any:
    if condition.operator in ("IN", "NOT_IN"):
        found = column.isin(list(condition.parameter))  # type: ignore[arg-type]  # a list, as the spec has checked
        return found if condition.operator == "IN" else ~found
    # A missing value has no order; among texts, comparing it even raises an error.
    known = _OPERATORS[condition.operator](column.dropna(), condition.parameter)
    return known.astype(bool).reindex(column.index, fill_value=condition.operator == "!=")
