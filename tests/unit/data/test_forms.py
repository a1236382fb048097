"""How values are written, in every format: what ingest reads by a setting, and what it says without."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from airflow_mlops_provider.data.tables import read_table
from airflow_mlops_provider.drafting.keys import names_a_key
from airflow_mlops_provider.exceptions import DataError
from airflow_mlops_provider.spec import Csv

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = {"target": "y", "numeric": ["x"], "categorical": ["c"]}


def write(kind: str, folder: Path, **columns: list[Any]) -> str:
    path = folder / f"rows.{kind}"
    rows = list(zip(*columns.values(), strict=True))
    if kind == "jsonl":
        path.write_text("\n".join(json.dumps(dict(zip(columns, row, strict=True))) for row in rows))
    elif kind == "csv":
        quoted = [["" if value is None else f'"{value}"' for value in row] for row in rows]
        path.write_text("\n".join(",".join(row) for row in [list(columns), *quoted]))
    else:
        pq.write_table(pa.table(columns), path)
    return str(path)


def ingest(steps: Any, uri: str, csv: dict[str, Any], columns: dict[str, Any] = COLUMNS) -> Any:
    data = {"source": {"uri": uri, "csv": csv}, "columns": columns}
    result = steps.ingest(data, as_of=datetime(2030, 1, 1, tzinfo=UTC))
    return read_table(steps.store, result.artifacts["dataset"])


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(
    ("texts", "csv", "found"),
    [
        (["1,284,680", "7"], {"thousands": ","}, [1284680, 7]),
        (["1.284,5", "7"], {"decimal": ",", "thousands": "."}, [1284.5, 7]),
        (["1 284,5", "1\u00a0284,5"], {"decimal": ",", "thousands": " "}, [1284.5, 1284.5]),
        (["$5.25", "-$1"], {}, [5.25, -1]),
        (["12 €", "7,5 €"], {"decimal": ","}, [12, 7.5]),
        (["5%", "12.5 %"], {}, [5, 12.5]),
        ([" 5 ", "+7"], {}, [5, 7]),
        (["NA", "1"], {}, [None, 1]),
        ([" ", "1"], {"missing": ["", " "]}, [None, 1]),
        (["1e3", "-2.5E-1"], {}, [1000, -0.25]),
    ],
)
def test_numbers_are_read_as_they_are_written(
    kind: str, texts: list[str], csv: dict[str, Any], found: list[float | None], steps: Any, tmp_path: Path
) -> None:
    frame = ingest(steps, write(kind, tmp_path, x=texts, c=["a", "b"], y=[0, 1]), csv)
    assert [None if value != value else value for value in frame["x"].tolist()] == found


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ([" ", "1", " "], "row 1 of .*got ' '; 2 of 3 values are not numbers: ' ' .rows 1, 3.*data.source.csv.missing"),
        (["7", "?", "1"], "row 2 of .*got [?], expected a number.*add texts .*to data.source.csv.missing"),
        (["1,284,680", "7", "1"], "Set data.source.csv.thousands to ','"),
        (["1,5", "7,25", "1"], "Set data.source.csv.decimal to ','"),
        (["1.284,5", "7", "1"], "Set data.source.csv.decimal to ',' and thousands to '.'"),
        (["5%", "0.05", "7%"], "row 2 of .*got 0.05, expected a number"),
        (["$5", "€5", "$7"], "row 2 of .*got €5, expected a number"),
        (["1,2,3", "12,34", "1"], "2 of 3 values are not numbers: '1,2,3', '12,34'"),
    ],
)
def test_what_is_no_number_is_counted_and_the_setting_that_reads_it_named(
    kind: str, texts: list[str], says: str, steps: Any, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=says) as raised:
        ingest(steps, write(kind, tmp_path, x=texts, c=["a", "b", "a"], y=[0, 1, 0]), {})
    assert "column 'x'" in str(raised.value)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_the_empty_text_is_no_value_and_na_is_one_in_every_format(kind: str, steps: Any, tmp_path: Path) -> None:
    uri = write(kind, tmp_path, x=[1.5, 2.5, 3.5], c=["", "NA", "a"], y=[0, 1, 0])
    assert ingest(steps, uri, {})["c"].astype(object).where(lambda values: values.notna(), None).tolist() == [
        None,
        "NA",
        "a",
    ]
    assert ingest(steps, uri, {"missing": ["", "NA"]})["c"].isna().sum() == 2
    assert ingest(steps, uri, {"missing": []})["c"].tolist() == ["", "NA", "a"]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_class_na_is_a_class(kind: str, steps: Any, tmp_path: Path) -> None:
    frame = ingest(steps, write(kind, tmp_path, x=[1.5, 2.5], c=["a", "b"], y=["NA", "ZA"]), {})
    assert frame["y"].tolist() == ["NA", "ZA"]


@pytest.mark.parametrize(
    ("values", "dates", "first"),
    [
        (["2024-01-02 03:04:05 UTC"], None, "2024-01-02T03:04:05+00:00"),
        (["2024-01-02T03:04:05.123456789+01:00"], None, "2024-01-02T02:04:05.123456+00:00"),
        (["2.1.2024 3:04"], "%d.%m.%Y %H:%M", "2024-01-02T03:04:00+00:00"),
        (["1/2/24 3:04 PM"], "%m/%d/%y %I:%M %p", "2024-01-02T15:04:00+00:00"),
        (["2024-01-02 03:04:05 EST"], "%Y-%m-%d %H:%M:%S EST", "2024-01-02T03:04:05+00:00"),
        ([20240102], "%Y%m%d", "2024-01-02T00:00:00+00:00"),
        ([1704164645], "epoch_seconds", "2024-01-02T03:04:05+00:00"),
        ([1704164645123], "epoch_milliseconds", "2024-01-02T03:04:05.123000+00:00"),
        ([1704164645123456], "epoch_microseconds", "2024-01-02T03:04:05.123456+00:00"),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_moments_are_read_as_they_are_written(
    kind: str, values: list[Any], dates: str | None, first: str, steps: Any, tmp_path: Path
) -> None:
    uri = write(kind, tmp_path, at=values, x=[1.5], c=["a"], y=[0])
    data = {"source": {"uri": uri, "csv": {"dates": dates}}, "columns": {**COLUMNS, "timestamp": "at"}}
    result = steps.ingest({**data, "timezone": "UTC"}, as_of=datetime(2030, 1, 1, tzinfo=UTC))
    assert result.facts["first"] == first


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (["31.12.2023", "1.1.2024"], "2 of 2 values are not timestamps.*Set data.source.csv.dates to '%d.%m.%Y'"),
        (["1/2/2024", "3/2/2024"], "dates to '%m/%d/%Y' or '%d/%m/%Y', whichever is right"),
        ([1704164645123, 1704164645124], "dates to 'epoch_milliseconds'"),
        ([20240102, 20240103], "dates to '%Y%m%d'"),
        (["2024-01-02", "0000-00-00"], "row 2 of .*got 0000-00-00, expected a timestamp"),
        (["2024-01-02", "2024-02-30"], "row 2 of .*got 2024-02-30, expected a timestamp"),
        (["2024-01-02T00:00:00Z", "2024-01-02T00:00:00"], "row 2 of .*with a time zone, like the rows before.*1 of 2"),
        (["2024-01-02 00:00:00 EST", "2024-01-03 00:00:00 EST"], "dates to '%Y-%m-%d %H:%M:%S EST'"),
    ],
)
def test_what_is_no_moment_is_named_with_the_form_that_reads_it(
    values: list[Any], says: str, steps: Any, tmp_path: Path
) -> None:
    uri = write("jsonl", tmp_path, at=values, x=[1.5, 2.5], c=["a", "b"], y=[0, 1])
    with pytest.raises(DataError, match=says):
        ingest(steps, uri, {}, {**COLUMNS, "timestamp": "at"})


def test_an_open_end_of_96_bits_does_not_come_back_in_1816(steps: Any, tmp_path: Path) -> None:
    from airflow_mlops_provider.data.batches import Wanted
    from airflow_mlops_provider.data.sources import read_parquet

    moments = pa.array([datetime(9999, 12, 31), datetime(2024, 1, 1)], pa.timestamp("us"))
    pq.write_table(pa.table({"at": moments}), tmp_path / "d.parquet", use_deprecated_int96_timestamps=True)
    [batch] = read_parquet(tmp_path / "d.parquet", "file d", Wanted())
    assert batch.table["at"].to_pylist() == [datetime(9999, 12, 31), datetime(2024, 1, 1)]


@pytest.mark.parametrize(
    ("csv", "says"),
    [
        ({"separator": ";;"}, "at most 1 character"),
        ({"separator": '"'}, "cannot separate fields"),
        ({"decimal": ",", "thousands": ","}, "decimal and thousands are both"),
        ({"encoding": "rot13"}, "is not known to Python"),
        ({"dates": "%d.%m."}, "has no year"),
        ({"dates": "%Q"}, "contains %Q, which is not supported"),
        ({"dates": "%Y-%m-%d %I"}, "without %p"),
    ],
)
def test_a_form_that_could_not_be_read_by_is_refused(csv: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Csv(**csv)


@pytest.mark.parametrize(
    "name",
    ["id", "ID", "customerID", "customer_id", "PassengerId", "CUSTOMERID", "rowid", "order no", "OrderNo", "user_uuid",
     "Unnamed: 0", "USERID", "orderid", "ean", "record key", "invoice_number", "userGuid", "index"],
)  # fmt: skip
def test_a_name_is_one_of_a_key(name: str) -> None:
    assert names_a_key(name)


@pytest.mark.parametrize("name", ["paid", "PAID", "humid", "grid", "Covid", "number", "monkey", "mid", "idle", "width"])
def test_a_name_is_none_of_a_key(name: str) -> None:
    assert not names_a_key(name)
