"""Each Arrow type in each role: one result, or one error that names the column."""

from __future__ import annotations

import uuid
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from airflow_mlops_provider.data.batches import python_column
from airflow_mlops_provider.data.conversion import Column, to_category, to_key, to_label, to_moment, to_number
from airflow_mlops_provider.exceptions import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

ROLES: dict[str, Callable[[Column], pa.ChunkedArray]] = {
    "numeric": to_number,
    "categorical": to_category,
    "key": to_key,
    "class": lambda column: to_label(column, "binary"),
    "regression": lambda column: to_label(column, "regression"),
    "timestamp": lambda column: to_moment(column, "UTC"),
}
KINDS = {"float": "double", "text": "string", "whole": "int64", "moment": "timestamp[us, tz=UTC]"}
NOON = datetime(2024, 1, 1, 12)
RUNS = pa.RunEndEncodedArray.from_arrays(pa.array([2], pa.int32()), pa.array([5]))
OPAQUE = pa.ExtensionArray.from_storage(pa.opaque(pa.int32(), "a", "b"), pa.array([1], pa.int32()))
# What each role makes of a type; - for a refusal.
TABLE: list[tuple[str, Any, str]] = [
    ("int8", pa.array([1, 0], pa.int8()), "float text whole whole float -"),
    ("uint32", pa.array([1, 0], pa.uint32()), "float text whole whole float -"),
    ("int64", pa.array([2**53 + 1, 1]), "float text whole whole float -"),
    ("uint64", pa.array([2**63 + 1, 1], pa.uint64()), "float text text - float -"),
    ("half", pa.array(np.array([1, 0], "float16")), "float text whole whole float -"),
    ("float", pa.array([1.0, 0.5], pa.float32()), "float text - - float -"),
    ("whole double", pa.array([4006381333931.0, 7.0]), "float text whole whole float -"),
    ("double with a gap", pa.array([4006381333931.0, None]), "float text whole - - -"),
    ("double beyond 2**53", pa.array([2.0**60, 1.0]), "float - - - float -"),
    ("decimal32", pa.array([Decimal("1.50")], pa.decimal32(5, 2)), "float text text - float -"),
    ("decimal128", pa.array([Decimal(12345678901234567890)], pa.decimal128(20, 0)), "float text text - float -"),
    ("decimal256", pa.array([Decimal("7.0")], pa.decimal256(40, 1)), "float text text whole float -"),
    ("bool", pa.array([True, False]), "float text text whole float -"),
    ("null", pa.nulls(2), "float text text - - -"),
    ("string", pa.array(["a", "b"]), "- text text text - -"),
    ("large string", pa.array(["1", "2"], pa.large_string()), "float text text whole float -"),
    ("string view", pa.array(["a"], pa.string_view()), "- text text text - -"),
    ("dictionary", pa.array(["a"]).dictionary_encode(), "- text text text - -"),
    ("dictionary of numbers", pa.array([1]).dictionary_encode(), "float text whole whole float -"),
    ("run ends", RUNS, "float text whole whole float -"),
    ("digits", pa.array(["007"]), "float text text text float -"),
    ("fractions", pa.array(["1.5"]), "float text text - float -"),
    ("ISO 8601", pa.array(["2024-01-01T12:00:00Z"]), "- text text text - moment"),
    ("binary", pa.array([b"a"]), "- - text - - -"),
    ("large binary", pa.array([b"a"], pa.large_binary()), "- - text - - -"),
    ("binary view", pa.array([b"a"], pa.binary_view()), "- - text - - -"),
    ("binary that is no text", pa.array([b"\xff"]), "- - - - - -"),
    ("16 bytes", pa.array([bytes(range(16))], pa.binary(16)), "- - text - - -"),
    ("3 bytes", pa.array([b"abc"], pa.binary(3)), "- - text - - -"),
    (
        "UUID",
        pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(15) + b"\5"], pa.binary(16))),
        "- text text text - -",
    ),
    ("date32", pa.array([date(2024, 1, 1)]), "- text text text - moment"),
    ("date64", pa.array([date(2024, 1, 1)], pa.date64()), "- text text text - moment"),
    ("timestamp", pa.array([NOON], pa.timestamp("s")), "- text text text - moment"),
    ("timestamp in UTC", pa.array([NOON], pa.timestamp("ns", "UTC")), "- text text text - moment"),
    ("timestamp of a zone", pa.array([NOON], pa.timestamp("us", "Europe/Berlin")), "- text text text - moment"),
    ("timestamp of no calendar", pa.array([2**50]).cast(pa.timestamp("s")), "- - - - - -"),
    ("time32", pa.array([time(1)], pa.time32("s")), "- text text text - -"),
    ("time64", pa.array([time(1)]), "- text text text - -"),
    ("duration", pa.array([timedelta(1)]), "- - - - - -"),
    ("interval", pa.array([(1, 2, 3)], pa.month_day_nano_interval()), "- - - - - -"),
    ("list", pa.array([[1]]), "- - - - - -"),
    ("fixed list", pa.array([[1]], pa.list_(pa.int8(), 1)), "- - - - - -"),
    ("list view", pa.array([[1]], pa.list_view(pa.int8())), "- - - - - -"),
    ("struct", pa.array([{"a": 1}]), "- - - - - -"),
    ("map", pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())), "- - - - - -"),
    ("an extension", OPAQUE, "float text whole whole float -"),
]


def outcome(role: str, values: pa.Array) -> str:
    column = Column("code", pa.chunked_array([values]), "file f", pa.arange(1, len(values) + 1))
    try:
        kind = str(ROLES[role](column).type)
    except DataError as error:
        return "-" if "column 'code'" in str(error) and len(str(error).splitlines()) == 1 else str(error)
    return next(name for name, known in KINDS.items() if known == kind)


@pytest.mark.parametrize(("name", "values", "outcomes"), TABLE, ids=[row[0] for row in TABLE])
def test_each_type_in_each_role_is_one_result_or_one_error(name: str, values: pa.Array, outcomes: str) -> None:
    assert " ".join(outcome(role, values) for role in ROLES) == outcomes, name


@pytest.mark.parametrize(
    ("role", "values", "found"),
    [
        ("key", [4006381333931.0, None], ["4006381333931", None]),
        ("categorical", [4006381333931.0, None], ["4006381333931", None]),
        ("categorical", [2**53 + 1], ["9007199254740993"]),
        ("key", [Decimal("12345678901234567890"), Decimal("7.00")], ["12345678901234567890", "7"]),
        ("key", [uuid.UUID("7ed4bffc-f189-4a00-8000-000000000001")], ["7ed4bffc-f189-4a00-8000-000000000001"]),
        ("key", [uuid.UUID(int=1), "a", 7, 7.0], ["00000000-0000-0000-0000-000000000001", "a", "7", "7"]),
        ("key", [12345678901234567890, 12345678901234567891], ["12345678901234567890", "12345678901234567891"]),
        ("categorical", [1.0, 2.5, None], ["1", "2.5", None]),
        ("numeric", [20, "30", None, " 40 "], ["20", "30", None, "40"]),
    ],
)
def test_python_values_stay_exact(role: str, values: list[Any], found: list[str | None]) -> None:
    column = Column("x", python_column(values, "x", "reader r"), "reader r", pa.arange(1, len(values) + 1))
    assert ROLES[role](column).cast(pa.string()).to_pylist() == found


def test_a_list_among_numbers_is_one_error() -> None:
    with pytest.raises(DataError, match="column 'x' of reader r mixes lists or objects"):
        python_column([1, [2], {"a": 3}], "x", "reader r")
