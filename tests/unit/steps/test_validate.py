from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from airflow_mlops_provider.data.tables import TableInfo, read_table, write_table
from airflow_mlops_provider.exceptions import DataError, MLOpsError, SpecError
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.results import StepResult
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.spec import Columns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

AS_OF = datetime(2013, 3, 1, tzinfo=UTC)
COLUMNS = {"target": "late", "timestamp": "at", "keys": ["id"], "numeric": ["x", "y"], "categorical": ["c"]}


def rows(count: int = 200) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": range(count),
            "at": pd.date_range("2013-02-01", periods=count, freq="min", tz="UTC"),
            "x": [float(index % 10) for index in range(count)],
            "y": [index / 2 for index in range(count)],
            "c": ["abcd"[index % 4] for index in range(count)],
            "late": [index % 2 for index in range(count)],
        }
    )


@pytest.fixture
def dataset(steps: Any, tmp_path: Path) -> Callable[..., StepResult]:
    def make(frame: pd.DataFrame | None = None, task: str = "binary") -> StepResult:
        path = tmp_path / "d.parquet"
        (rows() if frame is None else frame).to_parquet(path, index=False)
        result: StepResult = steps.ingest({"source": {"uri": str(path)}, "columns": COLUMNS}, task=task)
        return result

    return make


def expectation(kind: str, policy: str | None = None, **kwargs: Any) -> dict[str, Any]:
    return {"type": f"expect_{kind}", "kwargs": kwargs, "policy": policy}


def checks(steps: Any, result: StepResult) -> dict[str, dict[str, Any]]:
    report = steps.store.read_json(result.artifacts["validation"])
    return {check["name"]: check for check in report["checks"]}


def test_good_data_passes_with_every_check_in_the_artifact(steps: Any, dataset: Any) -> None:
    result = steps.validate(
        dataset(), expectations=[expectation("column_values_to_be_between", column="x", min_value=0, max_value=9)]
    )
    assert result.failure is None
    assert result.facts == {"checks": 7, "failed": 0, "warned": 0, "rows": 200}
    assert sorted(result.artifacts) == ["report", "validation"]
    assert checks(steps, result)["expect_column_values_to_be_between"] == {
        "name": "expect_column_values_to_be_between",
        "column": "x",
        "policy": "fail",
        "passed": True,
        "expected": "min_value 0, max_value 9",
        "got": "0 of 200 values",
        "unexpected": 0,
        "share": 0.0,
    }


def test_a_failed_expectation_is_a_result_that_names_it_and_keeps_its_rows(steps: Any, dataset: Any) -> None:
    result = steps.validate(
        dataset(),
        expectations=[
            expectation("column_values_to_be_in_set", column="c", value_set=["a", "b", "c"]),
            expectation("column_values_to_be_between", column="x", min_value=0, max_value=8),
        ],
    )
    assert result.failure is not None
    assert result.failure.what == (
        "2 of 8 checks of 200 rows failed, the worst: expect_column_values_to_be_in_set of column 'c'"
    )
    assert result.failure.got == "50 of 200 values, such as d"
    assert "expect_column_values_to_be_between of column 'x'" in result.failure.hint
    assert result.facts["failed"] == 2
    stored = read_table(steps.store, result.artifacts["failing_rows"])
    assert stored.groupby("failed_check", observed=True).size().to_dict() == {
        "expect_column_values_to_be_between": 20,
        "expect_column_values_to_be_in_set": 50,
    }
    worst = stored[stored["failed_column"] == "x"]
    assert set(worst["x"]) == {9.0}
    # Rows are counted from 1 in the snapshot, whose keys here are counted from 0.
    assert (worst["row"] == worst["id"] + 1).all()


def test_failing_rows_are_bounded_and_shared_among_checks(steps: Any, dataset: Any) -> None:
    bad = [
        expectation("column_values_to_be_between", column="y", max_value=-1),
        expectation("column_values_to_be_in_set", column="c", value_set=["a"]),
    ]
    result = steps.validate(dataset(), expectations=bad, keep_failing_rows=10)
    stored = read_table(steps.store, result.artifacts["failing_rows"])
    assert stored["failed_column"].value_counts().to_dict() == {"y": 5, "c": 5}
    none = steps.validate(dataset(), expectations=bad, keep_failing_rows=0)
    assert "failing_rows" not in none.artifacts
    assert none.facts["failed"] == 2


def test_rows_of_a_table_longer_than_one_row_group_keep_their_numbers(steps: Any, dataset: Any) -> None:
    frame = rows(70_000).assign(at=pd.date_range("2012-01-01", periods=70_000, freq="min", tz="UTC"))
    frame.loc[[3, 69_990], "x"] = [-1.0, -2.0]
    bad = [
        expectation("column_min_to_be_between", column="x", min_value=0),
        expectation("column_values_to_be_between", column="x", min_value=0),
    ]
    result = steps.validate(dataset(frame), expectations=bad)
    stored = read_table(steps.store, result.artifacts["failing_rows"])
    assert stored[["row", "id", "x"]].to_numpy().tolist() == [[4, 3, -1.0], [69_991, 69_990, -2.0]]


def test_a_guard_counts_over_all_row_groups(steps: Any, dataset: Any) -> None:
    frame = rows(70_000).assign(at=pd.date_range("2012-01-01", periods=70_000, freq="min", tz="UTC"))
    frame.loc[[69_990, 69_995], "c"] = None
    result = steps.validate(dataset(frame), required=["c"])
    assert (
        checks(steps, result)["column_has_no_null"]["got"]
        == "2 of 70000 values, the first in row 69991 of the snapshot"
    )
    assert read_table(steps.store, result.artifacts["failing_rows"])["id"].tolist() == [69_990, 69_995]


def test_a_table_that_ingest_did_not_make_is_guarded_too(steps: Any) -> None:
    columns = Columns(target="late", numeric=["x"])
    table = pa.table({"x": [float("nan")] * 30, "late": [0, 1] * 15})
    ref = write_table(steps.store, [table], table.schema, TableInfo(task="binary", columns=columns))
    made = StepResult(step="ingest", pipeline="tested", key="a" * 64, as_of=AS_OF, artifacts={"dataset": ref})
    failure = steps.validate(made).failure
    assert failure is not None
    assert "column_is_not_all_null of column 'x'" in failure.what


@pytest.mark.parametrize("count", [0, 1])
def test_a_table_with_hardly_a_row_fails(steps: Any, count: int) -> None:
    columns = Columns(target="late", numeric=["x"])
    table = pa.table({"x": [1.0] * count, "late": pa.array([1] * count, pa.int64())})
    ref = write_table(steps.store, [table], table.schema, TableInfo(task="binary", columns=columns))
    made = StepResult(step="ingest", pipeline="tested", key="a" * 64, as_of=AS_OF, artifacts={"dataset": ref})
    in_set = expectation("column_values_to_be_in_set", column="late", value_set=[0, 1])
    result = steps.validate(made, min_rows=1, expectations=[in_set])
    assert checks(steps, result)["rows_are_enough"]["passed"] is False
    assert result.failure is not None


@pytest.mark.parametrize(
    ("section", "own", "failed", "warned"),
    [("fail", None, 1, 0), ("warn", None, 0, 1), ("fail", "warn", 0, 1), ("warn", "fail", 1, 0)],
)
def test_an_expectation_may_override_the_policy(
    steps: Any, dataset: Any, section: str, own: str | None, failed: int, warned: int
) -> None:
    result = steps.validate(
        dataset(), policy=section, expectations=[expectation("column_mean_to_be_between", own, column="x", max_value=1)]
    )
    assert (result.facts["failed"], result.facts["warned"]) == (failed, warned)
    assert (result.failure is None) == (failed == 0)
    assert checks(steps, result)["expect_column_mean_to_be_between"]["got"] == "4.5"


def test_guards_follow_the_policy_of_the_section(steps: Any, dataset: Any) -> None:
    result = steps.validate(dataset(rows().assign(late=0)), policy="warn")
    assert result.failure is None
    assert result.facts["warned"] == 1


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (
            expectation("column_kl_divergence_to_be_less_than", column="c", threshold=0.1,
                        partition_object={"values": ["a", "b", "c", "d"], "weights": [0.25] * 4}),
            expectation("column_kl_divergence_to_be_less_than", column="c", threshold=0.1,
                        partition_object={"values": ["a", "b", "c", "d"], "weights": [0.97, 0.01, 0.01, 0.01]}),
        ),
        (
            expectation("column_kl_divergence_to_be_less_than", column="x", threshold=0.1,
                        partition_object={"bins": [0, 5, 10], "weights": [0.5, 0.5]}),
            expectation("column_kl_divergence_to_be_less_than", column="x", threshold=0.1,
                        partition_object={"bins": [0, 5, 10], "weights": [0.99, 0.01]}),
        ),
        (
            expectation("column_quantile_values_to_be_between", column="y",
                        quantile_ranges={"quantiles": [0.5], "value_ranges": [[40, 60]]}),
            expectation("column_quantile_values_to_be_between", column="y",
                        quantile_ranges={"quantiles": [0.5], "value_ranges": [[0, 10]]}),
        ),
        (
            expectation("column_stdev_to_be_between", column="x", min_value=2, max_value=4),
            expectation("column_stdev_to_be_between", column="x", min_value=5),
        ),
        (
            expectation("column_pair_values_a_to_be_greater_than_b", column_A="y", column_B="late", or_equal=True,
                        mostly=0.9),
            expectation("column_pair_values_a_to_be_greater_than_b", column_A="late", column_B="y"),
        ),
        (
            expectation("compound_columns_to_be_unique", column_list=["x", "y"]),
            expectation("compound_columns_to_be_unique", column_list=["x", "c"]),
        ),
        (
            expectation("table_row_count_to_be_between", min_value=100),
            expectation("table_row_count_to_be_between", min_value=300),
        ),
        (
            expectation("table_columns_to_match_set", column_set=["id", "at", "x", "y", "c", "late"]),
            expectation("table_columns_to_match_set", column_set=["id"], exact_match=True),
        ),
        (
            expectation("column_values_to_be_unique", column="y"),
            expectation("column_values_to_be_unique", column="c"),
        ),
        (
            expectation("column_values_to_match_regex", column="c", regex="^[a-d]$"),
            expectation("column_values_to_match_regex", column="c", regex="^[a-c]$"),
        ),
        (
            expectation("column_values_to_be_between", column="y", max_value=10, row_condition=
                        {"type": "comparison", "column": {"name": "y"}, "operator": "<", "parameter": 9}),
            expectation("column_values_to_be_between", column="y", max_value=10, row_condition=
                        {"type": "comparison", "column": {"name": "x"}, "operator": ">=", "parameter": 3}),
        ),
    ],
    ids=lambda item: "-".join([item["type"].removeprefix("expect_"), str(item["kwargs"].get("column", ""))]),
)  # fmt: skip
def test_expectations_of_every_kind_pass_and_fail(
    steps: Any, dataset: Any, good: dict[str, Any], bad: dict[str, Any]
) -> None:
    made = dataset()
    assert steps.validate(made, expectations=[good]).failure is None
    failure = steps.validate(made, expectations=[bad]).failure
    assert failure is not None
    assert bad["type"] in failure.what


def test_an_unknown_expectation_names_the_nearest_before_anything_runs(steps: Any, dataset: Any) -> None:
    with pytest.raises(SpecError) as caught:
        steps.validate(
            dataset(),
            expectations=[
                expectation("column_values_to_be_in_set", column="c", value_set=["a"]),
                expectation("column_values_to_be_betwen", column="x", min_value=0),
                expectation("column_values_to_be_between", column="x", min_value=0, mostly=7),
            ],
        )
    text = str(caught.value)
    assert "validation.expectations.1" in text
    assert "did you mean 'expect_column_values_to_be_between'?" in text
    assert "validation.expectations.2" in text
    assert "mostly" in text


@pytest.mark.parametrize(
    "section",
    [
        {"expectations": [expectation("column_values_to_be_between", column="xx", min_value=0)]},
        {"expectations": [expectation("column_pair_values_to_be_equal", column_A="late", column_B="xx")]},
        {"expectations": [expectation("compound_columns_to_be_unique", column_list=["late", "xx"])]},
        {"required": ["xx"]},
    ],
)
def test_an_unknown_column_names_the_nearest(steps: Any, dataset: Any, section: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"validation\.(required|expectations\.0).*got xx.*Did you mean 'x'\?"):
        steps.validate(dataset(), **section)


def test_an_expectation_that_cannot_be_computed_is_a_setting_error_and_not_a_verdict(steps: Any, dataset: Any) -> None:
    with pytest.raises(SpecError) as caught:
        steps.validate(
            dataset(), expectations=[expectation("column_values_to_be_between", column="c", min_value=1, max_value=2)]
        )
    assert "validation.expectations.0, expect_column_values_to_be_between" in str(caught.value)


def test_validation_without_a_dataset_says_what_to_pass(steps: Any) -> None:
    with pytest.raises(MLOpsError, match="needs the result of one 'dataset' task"):
        steps.run("validate", {})


def test_the_report_is_self_contained_escaped_and_small(steps: Any, tmp_path: Path) -> None:
    strange = "</script><script>alert(1)</script>"
    frame = rows().rename(columns={"x": strange})
    frame["c"] = "<b>bold</b>" * 50
    frame.to_parquet(tmp_path / "d.parquet", index=False)
    columns = {**COLUMNS, "numeric": [strange, "y"]}
    made = steps.ingest({"source": {"uri": str(tmp_path / "d.parquet")}, "columns": columns})
    result = steps.validate(
        made,
        expectations=[
            expectation("column_values_to_be_between", column=strange, max_value=1),
            expectation("column_values_to_be_in_set", column="c", value_set=["a"]),
        ],
    )
    page = steps.store.fetch(result.artifacts["report"]).read_text()
    assert "2 of 8 checks failed: the data is not used." in page
    assert "&lt;/script&gt;" in page
    assert "Failing rows, 50 of the 360 stored" in page
    for unwanted in ("<script", "<b>", "http://", "https://", "src=", "@import"):
        assert unwanted not in page
    assert len(page) < 2_000_000
    assert "prefers-color-scheme:dark" in page
    assert "@media print" in page


def test_a_hundred_columns_that_all_fail_stay_below_the_limits(steps: Any, tmp_path: Path) -> None:
    names = [f"a_rather_long_name_of_a_column_{index:03}" for index in range(100)]
    frame = pd.DataFrame({name: [np.inf] * 50 for name in names}).assign(late=[0, 1] * 25)
    frame.to_parquet(tmp_path / "d.parquet", index=False)
    made = steps.ingest(
        {"source": {"uri": str(tmp_path / "d.parquet")}, "columns": {"target": "late", "numeric": names}}
    )
    result = steps.validate(made)
    assert result.facts["failed"] == 100
    assert len(json.dumps(result.xcom())) < 4096
    assert steps.store.fetch(result.artifacts["report"]).stat().st_size < 2_000_000


def test_a_wide_table_is_opened_a_few_times_however_many_expectations_there_are(
    steps: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_mlops_provider.data import tables
    from airflow_mlops_provider.drafting.expectations import expectations_of

    names = [f"x{index:03}" for index in range(250)]
    frame = pd.DataFrame({name: np.arange(60.0) for name in names}).assign(late=[0, 1] * 30)
    frame.to_parquet(tmp_path / "d.parquet", index=False)
    made = steps.ingest(
        {"source": {"uri": str(tmp_path / "d.parquet")}, "columns": {"target": "late", "numeric": names}}
    )
    drafted = expectations_of(frame, Columns(target="late", numeric=names), "binary")
    assert len(drafted) == 201, "of wide data not every feature is held to one"
    opened, once = [], tables._open
    monkeypatch.setattr(tables, "_open", lambda *given: opened.append(given) or once(*given))
    result = steps.validate(made, expectations=[one.model_dump(mode="json", exclude_none=True) for one in drafted])
    assert (result.failure, result.facts["checks"] > 200) == (None, True)
    assert len(opened) < 20


def test_a_failed_check_of_many_columns_stays_below_the_limits(steps: Any, tmp_path: Path) -> None:
    names = [f"столбец_{index:03}" for index in range(100)]
    frame = pd.DataFrame({name: [1.0] * 50 for name in names}).assign(late=[0, 1] * 25)
    frame.to_parquet(tmp_path / "d.parquet", index=False)
    made = steps.ingest(
        {"source": {"uri": str(tmp_path / "d.parquet")}, "columns": {"target": "late", "numeric": names}}
    )
    unique = {"type": "expect_compound_columns_to_be_unique", "kwargs": {"column_list": names}}
    result = steps.validate(made, expectations=[unique] * 4)
    assert result.facts["failed"] == 4
    assert len(json.dumps(result.xcom())) < 4096


def test_equal_data_gives_an_equal_verdict_and_bytes(steps: Any, dataset: Any) -> None:
    bad = [expectation("column_values_to_be_between", column="x", max_value=3)]
    first = steps.validate(dataset(), expectations=bad)
    made = dataset()
    request = StepRequest(
        step="validate",
        pipeline="tested",
        as_of=AS_OF + timedelta(days=1),  # no day is in the verdict or its page
        section={"expectations": bad},
        inputs={"dataset": [made]},
        recompute=True,
    )
    again = run_step(request, steps.store)
    assert (again.artifacts, again.key, again.failure) == (first.artifacts, first.key, first.failure)


def test_a_failed_verdict_is_cached_too(steps: Any, dataset: Any) -> None:
    made = dataset()
    first = steps.validate(made, max_rows=10)
    second = steps.validate(made, max_rows=10)
    assert second.cached
    assert second.failure == first.failure
    assert timedelta(0) == second.as_of - first.as_of
