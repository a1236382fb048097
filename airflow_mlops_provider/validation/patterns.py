"""Regular expressions in time that grows with the text alone: by RE2, which Arrow has, and not by backtracking."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def pattern_problem(pattern: str) -> str | None:
    """Return why RE2 does not take a pattern; None when it does."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        pc.match_substring_regex(pa.array([""]), pattern)
    except pa.ArrowInvalid as error:
        return str(error)
    return None


def matches(column: pd.Series[Any], pattern: str) -> pd.Series[Any]:
    """Return which values hold a match."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = pa.array(column.astype(str).tolist(), pa.string())
    return pd.Series(pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False), index=column.index)


@cache
def use_bounded_patterns() -> None:
    """Make this process's Great Expectations match by RE2: its registry takes the last definition of a metric."""
    from great_expectations.execution_engine import PandasExecutionEngine
    from great_expectations.expectations.metrics.map_metric_provider import (
        ColumnMapMetricProvider,
        column_condition_partial,
    )

    on_pandas: Any = column_condition_partial(engine=PandasExecutionEngine)

    def combined(column: Any, regex_list: list[str], match_on: str | None) -> Any:
        if match_on not in (None, "any", "all"):
            raise ValueError("match_on must be 'any' or 'all'")
        first, *others = (matches(column, each) for each in regex_list)
        for mask in others:
            first = first & mask if match_on == "all" else first | mask
        return first

    registry = logging.getLogger("great_expectations.expectations.registry")
    level = registry.level
    registry.setLevel(logging.ERROR)  # that it is overwritten is what is wanted
    try:

        class MatchRegex(ColumnMapMetricProvider):  # type: ignore[misc]  # the library carries no types here
            condition_metric_name = "column_values.match_regex"
            condition_value_keys = ("regex",)

            _pandas = on_pandas(lambda _cls, column, regex, **_: matches(column, regex))

        class NotMatchRegex(ColumnMapMetricProvider):  # type: ignore[misc]  # as above
            condition_metric_name = "column_values.not_match_regex"
            condition_value_keys = ("regex",)

            _pandas = on_pandas(lambda _cls, column, regex, **_: ~matches(column, regex))

        class MatchRegexList(ColumnMapMetricProvider):  # type: ignore[misc]  # as above
            condition_metric_name = "column_values.match_regex_list"
            condition_value_keys = ("regex_list", "match_on")
            default_kwarg_values = {"match_on": "any"}  # the library's own way

            _pandas = on_pandas(
                lambda _, column, regex_list, match_on=None, **more: combined(column, regex_list, match_on)
            )

        class NotMatchRegexList(ColumnMapMetricProvider):  # type: ignore[misc]  # as above
            condition_metric_name = "column_values.not_match_regex_list"
            condition_value_keys = ("regex_list",)

            _pandas = on_pandas(lambda _cls, column, regex_list, **_: ~combined(column, regex_list, "any"))

    finally:
        registry.setLevel(level)
