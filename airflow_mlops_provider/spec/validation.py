"""The section `validation` of a pipeline file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveInt

from airflow_mlops_provider.spec.expectations import Expectation
from airflow_mlops_provider.spec.frozen import Frozen

#: How the names of expectations begin that look at one value, or at the values of one row, after the other.
_OF_EACH_VALUE = (
    "expect_column_values_to_",
    "expect_column_value_lengths_to_",
    "expect_column_pair_values_",
    "expect_multicolumn_sum_",
    "expect_select_column_values_to_",
)
#: And how those of them end that do not.
_OF_THE_SOURCE = ("_increasing", "_decreasing", "_of_type", "_in_type_list")


class Validation(Frozen):
    """Checks that the training data must pass."""

    policy: Literal["fail", "warn"] = Field(
        "fail", description="Whether a check that does not hold fails the task (`fail`) or is only reported (`warn`)."
    )
    min_rows: PositiveInt = Field(20, description="Smallest number of rows that passes the check.")
    max_rows: PositiveInt | None = Field(
        None, description="Largest number of rows that passes the check. Defaults to no limit."
    )
    required: list[str] = Field(
        default_factory=list,
        description="Columns that must have a value in every row. The target, the timestamp and the keys always must.",
    )
    expectations: list[Expectation] = Field(
        default_factory=list, description="Further checks, written as expectations of Great Expectations."
    )
    keep_failing_rows: int = Field(
        1000,
        ge=0,
        le=100_000,
        description="Largest number of failing rows that are stored as an artifact. 0 stores none.",
    )

    @property
    def of_each_value(self) -> list[Expectation]:
        """The expectations that fail and look at each value: they hold of a few rows as they do of all.

        A mean, a count or a set of values is another one in a short window, and types and order are the source's.
        """
        failing = [each for each in self.expectations if (each.policy or self.policy) == "fail"]
        return [
            each for each in failing if each.type.startswith(_OF_EACH_VALUE) and not each.type.endswith(_OF_THE_SOURCE)
        ]
