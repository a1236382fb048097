"""What is true of the data today and should stay so, with room to move: Great Expectations' own expectations."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.spec import Expectation

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from airflow_mlops_provider.spec import Columns
    from airflow_mlops_provider.spec.frozen import Task

#: A category of at most so many values is held to them; one of more to how many they are.
_MAX_LISTED = 20
#: Share of the rows for which a bound on a feature must hold: one odd row is no reason to stop.
_MOSTLY = 0.99
#: How far beyond the range that was seen a value may lie, as a share of that range.
_ROOM = 0.5
#: Each expectation takes some hundredths of a second in every run: of wide data the first features are held to one.
_MOST_FEATURES = 200


def expectations_of(frame: pd.DataFrame, columns: Columns, task: Task) -> list[Expectation]:
    """Return what to expect of the typed rows of a dataset."""
    found = [_target(frame[columns.target], task)]
    for name in columns.numeric[:_MOST_FEATURES]:
        values = frame[name].dropna()
        low, high = bounds(float(values.min()), float(values.max()))
        found.append(_expect("values_to_be_between", name, min_value=low, max_value=high, mostly=_MOSTLY))
    for name in columns.categorical[:_MOST_FEATURES]:
        known = sorted(str(value) for value in frame[name].dropna().unique())
        if len(known) <= _MAX_LISTED:
            found.append(_expect("values_to_be_in_set", name, value_set=known, mostly=_MOSTLY))
        else:
            half, double = len(known) // 2, len(known) * 2
            found.append(_expect("unique_value_count_to_be_between", name, min_value=half, max_value=double))
    return found


def bounds(low: float, high: float) -> tuple[float, float]:
    """Return round bounds around a range, with room on either side; a range without a negative value keeps to that.

    >>> bounds(4.3, 7.9), bounds(0.0, 1.0), bounds(-3.0, 5.0)
    ((2.5, 9.7), (0, 1.5), (-7, 9))
    """
    room = (high - low) * _ROOM
    below = max(low - room, 0.0) if low >= 0 else low - room
    return _round(below, math.floor), _round(high + room, math.ceil)


def _target(values: pd.Series[Any], task: Task) -> Expectation:
    name = str(values.name)
    if task != "regression":
        classes = [value.item() if hasattr(value, "item") else value for value in sorted(values.unique())]
        return _expect("values_to_be_in_set", name, value_set=classes)
    middle, spread = float(values.mean()), float(values.std())
    low, high = _round(middle - spread, math.floor), _round(middle + spread, math.ceil)
    return _expect("mean_to_be_between", name, min_value=low, max_value=high)


def _expect(what: str, column: str, **kwargs: Any) -> Expectation:
    return Expectation(type=f"expect_column_{what}", kwargs={"column": column, **kwargs})


def _round(value: float, outwards: Callable[[float], int]) -> float:
    """Return a number of three significant digits, rounded outwards; a whole one without a point."""
    if value == 0 or not math.isfinite(value):
        return 0
    digits = 2 - math.floor(math.log10(abs(value)))
    # What binary fractions leave behind is cut first: 4.3 is 4.29999999999999982.
    whole = outwards(round(value * 10.0**digits, 6))
    rounded = float(f"{whole}e{-digits}")
    return int(rounded) if rounded.is_integer() else rounded
