"""One expectation of `validation.expectations`: its name, and arguments that Great Expectations only compares.

The library hands some arguments to whatever evaluates them: a text condition to `DataFrame.query`, which runs any
Python, a pattern to an engine that may never come back, a schema's `$ref` to a web client. So arguments are known by
name, and each is plain data of a known form.
"""

from __future__ import annotations

import difflib
import re
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from airflow_mlops_provider.bounds import check_depth
from airflow_mlops_provider.spec.frozen import ExpectationName, Frozen

#: What is only compared with data, counted, or names a column.
_COMPARED = frozenset(
    {
        "allow_relative_error", "bucketize_data", "column", "column_A", "column_B", "column_index", "column_list",
        "column_set", "double_sided", "escape", "exact_match", "ignore_row_if", "internal_weight_holdout",
        "like_pattern", "like_pattern_list", "match_on", "max_value", "method", "min_value", "mostly", "multiplier",
        "or_equal", "partition_object", "quantile_ranges", "strict_max", "strict_min", "strictly", "sum_total",
        "tail_weight_holdout", "threshold", "ties_okay", "value", "value_pairs_set", "value_set",
    }
)  # fmt: skip
#: What the library evaluates, each checked below.
_EVALUATED = frozenset({"json_schema", "regex", "regex_list", "row_condition", "strftime_format", "type_", "type_list"})
ARGUMENTS = _COMPARED | _EVALUATED
#: Those that are mappings; `{$PARAMETER: …}` could stand for any other.
_MAPPINGS = frozenset({"json_schema", "partition_object", "quantile_ranges", "row_condition"})

_MAX_TEXT = 10_000
_MAX_PATTERN = 1000
_MAX_ARGUMENT_DEPTH = 16
#: A type of pandas, numpy or Python by its name; numpy reads much more into a text.
_TYPE = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,60}(\[[A-Za-z0-9_, /]{1,40}\])?")
_CONDITION_FORM = (
    "a mapping as Great Expectations writes one: {type: comparison, column: {name: age}, operator: '>', parameter: 18}"
)

# ---------------------------------------------------------------- conditions


class ConditionColumn(Frozen):
    """The column that a condition tests."""

    name: str


class Comparison(Frozen):
    """Compares a column with one value, or with a list of values."""

    type: Literal["comparison"]
    column: ConditionColumn
    operator: Literal["==", "!=", "<", "<=", ">", ">=", "IN", "NOT_IN"]
    parameter: str | bool | int | float | datetime | date | list[str | bool | int | float]

    @model_validator(mode="after")
    def _a_list_for_in(self) -> Comparison:
        if isinstance(self.parameter, list) != (self.operator in ("IN", "NOT_IN")):
            raise ValueError("IN and NOT_IN take a list, the others one value")
        return self


class Nullity(Frozen):
    """Tests whether a column has a value."""

    type: Literal["nullity"]
    column: ConditionColumn
    is_null: bool


_Leaf = Annotated[Comparison | Nullity, Field(discriminator="type")]


class AllOf(Frozen):
    """Holds when every one of its conditions holds."""

    type: Literal["and"]
    conditions: list[_Leaf] = Field(min_length=1, max_length=100)


class AnyOf(Frozen):
    """Holds when at least one of its conditions holds."""

    type: Literal["or"]
    conditions: list[Annotated[Comparison | Nullity | AllOf, Field(discriminator="type")]] = Field(
        min_length=1, max_length=100
    )


Condition = Comparison | Nullity | AllOf | AnyOf
_CONDITION: TypeAdapter[Condition] = TypeAdapter(Annotated[Condition, Field(discriminator="type")])


def columns_of(condition: Condition | None) -> list[str]:
    """Return the columns that a condition looks at."""
    if condition is None:
        return []
    if isinstance(condition, AllOf | AnyOf):
        return [name for part in condition.conditions for name in columns_of(part)]
    return [condition.column.name]


# ---------------------------------------------------------------- expectations


class Expectation(Frozen):
    """One expectation of Great Expectations, under its name in that library."""

    type: ExpectationName = Field(
        description="Name of the expectation in Great Expectations, such as `expect_column_values_to_be_between`."
    )
    kwargs: dict[str, Any] = Field(
        default_factory=dict,
        description="Arguments of the expectation, under their names in Great Expectations. `row_condition` must have "
        "the structured form: a condition written as text is refused.",
    )
    policy: Literal["fail", "warn"] | None = Field(
        None,
        description="Whether this expectation fails the task (`fail`) or is only reported (`warn`) when it does not "
        "hold. Defaults to `validation.policy`.",
    )

    @property
    def condition(self) -> Condition | None:
        """Of which rows it must hold; None of all."""
        given = self.kwargs.get("row_condition")
        return None if given is None else _CONDITION.validate_python(given)

    @model_validator(mode="after")
    def _arguments_are_data(self) -> Expectation:
        for name, value in self.kwargs.items():
            if (problem := _problem(name, value)) is not None:
                raise ValueError(f"{self.type}: {problem}")
        return self


def _problem(name: str, value: Any) -> str | None:
    """Return what is wrong with an argument; None when it may be given to the library."""
    if name == "condition_parser":
        return f"condition_parser would have a text evaluated: leave it out, and make row_condition {_CONDITION_FORM}"
    if name not in ARGUMENTS:
        nearest = difflib.get_close_matches(name, ARGUMENTS, n=1)
        return f"unknown argument {name!r}" + (f"; did you mean {nearest[0]!r}?" if nearest else "")
    if isinstance(value, dict) and name not in _MAPPINGS:
        return f"{name} is a mapping; expected a value or a list"
    try:
        check_depth(value, _MAX_ARGUMENT_DEPTH)
    except ValueError as error:
        return f"{name} is {error}"
    if (strange := _not_plain(value)) is not None:
        return f"{name} contains {strange}"
    check = _CHECKS.get(name)
    return None if check is None or value is None else check(name, value)


def _not_plain(value: Any) -> str | None:
    """Return what of a value is no plain data."""
    if isinstance(value, dict):
        if strange := [key for key in value if not isinstance(key, str) or key.startswith("$")]:
            return f"the key {strange[0]!r}, which the library would evaluate or fetch"
        return next((found for item in value.values() if (found := _not_plain(item)) is not None), None)
    if isinstance(value, list):
        return next((found for item in value if (found := _not_plain(item)) is not None), None)
    if isinstance(value, str) and len(value) > _MAX_TEXT:
        return f"a text of {len(value)} characters, more than {_MAX_TEXT}"
    if value is None or isinstance(value, str | int | float | date):
        return None
    return f"a value of type {type(value).__name__}"


def _condition_problem(name: str, value: Any) -> str | None:
    if not isinstance(value, dict):
        return f"{name} is a text, which would be evaluated; expected {_CONDITION_FORM}"
    if value.get("type") == "pass_through":
        return f"{name} of type pass_through contains a text, which would be evaluated; expected {_CONDITION_FORM}"
    try:
        _CONDITION.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return f"{name}.{where}: {first['msg']}; expected {_CONDITION_FORM}"
    return None


def _pattern_problem(name: str, value: Any) -> str | None:
    for pattern in value if isinstance(value, list) else [value]:
        if not isinstance(pattern, str):
            return f"{name} contains {pattern!r}; expected a text"
        if len(pattern) > _MAX_PATTERN:
            return f"{name} has {len(pattern)} characters, more than {_MAX_PATTERN}"
    return None


def _type_problem(name: str, value: Any) -> str | None:
    for each in value if isinstance(value, list) else [value]:
        if not isinstance(each, str) or _TYPE.fullmatch(each) is None:
            return f"{name} contains {each!r}; expected the name of a type, such as int64"
    return None


def _schema_problem(name: str, value: Any) -> str | None:
    """Refuse what a JSON schema matches by backtracking; keys with `$`, which refer and fetch, are refused already."""
    nodes = [value]
    while nodes:
        node = nodes.pop()
        if isinstance(node, list):
            nodes += node
        elif isinstance(node, dict):
            if isinstance(node.get("pattern"), str) or "patternProperties" in node:
                return f"{name} contains a pattern; use expect_column_values_to_match_regex, whose time is bounded"
            nodes += node.values()
    return None


_CHECKS = {
    "row_condition": _condition_problem,
    "regex": _pattern_problem,
    "regex_list": _pattern_problem,
    "strftime_format": _pattern_problem,
    "type_": _type_problem,
    "type_list": _type_problem,
    "json_schema": _schema_problem,
}
