"""Bounds on the timestamp, in every way in which YAML and people write a moment."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from airflow_mlops_provider.exceptions import SpecError

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = {"target": "late", "timestamp": "at", "keys": ["id"], "numeric": ["x"]}


@pytest.fixture
def dataset(steps: Any, tmp_path: Path) -> Any:
    at = [f"2013-02-01T{hour % 24:02}:00:00Z" for hour in range(40)]
    frame = pd.DataFrame({"id": range(40), "at": at, "x": 1.0, "late": [0, 1] * 20})
    frame.to_csv(tmp_path / "d.csv", index=False)
    return steps.ingest({"source": {"uri": str(tmp_path / "d.csv")}, "columns": COLUMNS})


@pytest.mark.parametrize("kind", ["values", "max", "min"])
@pytest.mark.parametrize(
    ("low", "high"),
    [
        ("2013-01-01", "2014-01-01"),
        ("2013-01-01T00:00:00Z", "2014-01-01 00:00:00+01:00"),
        (date(2013, 1, 1), date(2014, 1, 1)),
        (datetime(2013, 1, 1), datetime(2014, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_bound_on_the_timestamp_may_be_any_moment(dataset: Any, steps: Any, kind: str, low: Any, high: Any) -> None:
    name = f"expect_column_{kind}_to_be_between"
    within = {"type": name, "kwargs": {"column": "at", "min_value": low, "max_value": high}}
    assert steps.validate(dataset, expectations=[within]).failure is None
    beyond = {"type": name, "kwargs": {"column": "at", "min_value": high}}
    assert steps.validate(dataset, expectations=[beyond]).failure is not None


def test_a_bound_that_is_no_moment_is_a_setting_error(dataset: Any, steps: Any) -> None:
    wrong = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "at", "min_value": "spring"}}
    with pytest.raises(SpecError, match="has a bound on the timestamp that is not a date or time: got spring"):
        steps.validate(dataset, expectations=[wrong])
