from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from ingested_rows import COLUMNS, parquet, rows

from airflow_mlops_provider.data.tables import read_table, table_schema
from airflow_mlops_provider.exceptions import DataError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def scored(steps: Any, data: dict[str, Any], *, task: str = "binary", **section: Any) -> Any:
    as_of = section.pop("as_of", datetime(2013, 2, 1, 2, tzinfo=UTC))
    return steps.run("ingest", {"task": task, "data": data, "purpose": "scoring", **section}, as_of=as_of)


def target_of(steps: Any, result: Any) -> list[Any] | None:
    ref = result.artifacts["dataset"]
    if "late" not in table_schema(steps.store, ref).names:
        return None
    values = read_table(steps.store, ref, ["late"])["late"].astype(object)
    return values.where(values.notna(), None).tolist()


def test_what_training_asks_keeps_its_key_and_its_request(steps: Any, tmp_path: Path) -> None:
    from airflow_mlops_provider.steps.ingest import Section

    data = parquet(rows(10), tmp_path / "d.parquet")
    section = Section(task="binary", data=data).model_dump(mode="json")
    assert sorted(section) == ["data", "task"]
    assert Section.model_validate(section).purpose == "training"
    training = steps.ingest(data, as_of=datetime(2013, 2, 1, 2, tzinfo=UTC))
    assert scored(steps, data).key != training.key


def test_scoring_reads_the_rows_of_its_window_up_to_as_of(steps: Any, tmp_path: Path) -> None:
    # The window and the delay of labels are those of training.
    data = {**parquet(rows(300), tmp_path / "d.parquet"), "label_delay": "PT50M", "window": "PT1M"}
    facts = scored(steps, data, start="2013-02-01T01:00:00+00:00").facts
    assert (facts["rows"], facts["first"][11:16], facts["last"][11:16]) == (60, "01:00", "01:59")
    assert facts["excluded"] == {"future": 180, "unlabelled": 0, "older": 60}
    assert facts["start"] == "2013-02-01T01:00:00+00:00"


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_scoring_needs_no_target(steps: Any, tmp_path: Path, suffix: str) -> None:
    frame, file = rows(100).drop(columns=["unused", "late"]), tmp_path / f"d.{suffix}"
    writers: dict[str, Any] = {
        "parquet": lambda: frame.to_parquet(file),
        "csv": lambda: frame.to_csv(file, index=False),
        "jsonl": lambda: frame.to_json(file, orient="records", lines=True, date_format="iso"),
    }
    writers[suffix]()
    data = {"source": {"uri": str(file)}, "columns": COLUMNS, "timezone": "UTC"}
    result = scored(steps, data)
    assert (result.facts["rows"], target_of(steps, result)) == (100, None)
    with pytest.raises(DataError, match="no column 'late'"):
        steps.ingest(data, as_of=datetime(2013, 2, 1, 2, tzinfo=UTC))


def test_a_reader_of_rows_to_score_needs_no_target(steps: Any, reader: Callable[[str], str]) -> None:
    name = reader(
        """
        import pandas as pd

        def read(as_of, start):
            at = [start, as_of - pd.Timedelta(seconds=1)]
            yield pd.DataFrame({"at": at, "id": [1, 2], "x": [1, 2], "c": ["a", "b"]})
        """
    )
    facts = scored(steps, {"source": {"reader": name}, "columns": COLUMNS}, start="2013-02-01T00:00:00+00:00").facts
    assert (facts["first"], facts["last"]) == ("2013-02-01T00:00:00+00:00", "2013-02-01T01:59:59+00:00")


@pytest.mark.parametrize(
    ("labels", "stored"),
    [([0, 1, 1, 0], [0, 1, 1, 0]), ([0, None, None, None], [0, None, None, None]), ([None] * 4, None)],
)
def test_scoring_keeps_the_labels_that_are_known(
    steps: Any, tmp_path: Path, labels: list[int | None], stored: list[int | None] | None
) -> None:
    frame = rows(4).assign(late=labels)
    result = scored(steps, parquet(frame, tmp_path / "d.parquet", row_group_size=2))
    assert target_of(steps, result) == stored


def test_labels_that_come_and_go_from_file_to_file_are_kept_where_they_are_known(steps: Any, tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    frame = rows(6).drop(columns="unused")
    frame.iloc[:2].to_parquet(folder / "a.parquet")
    frame.iloc[2:4].drop(columns="late").to_parquet(folder / "b.parquet")
    frame.iloc[4:].to_parquet(folder / "c.parquet")
    result = scored(steps, {"source": {"uri": str(folder)}, "columns": COLUMNS})
    assert target_of(steps, result) == [0, 1, None, None, 0, 1]


def test_a_live_window_has_labelled_rows_only(steps: Any, tmp_path: Path) -> None:
    frame = rows(300)
    frame.loc[frame["at"] >= datetime(2013, 2, 1, 1, 30, tzinfo=UTC), "late"] = None
    data = {**parquet(frame, tmp_path / "d.parquet"), "label_delay": "PT30M", "window": "PT1M"}
    result = scored(steps, data, purpose="live", start="2013-02-01T00:30:00+00:00")
    assert (result.facts["rows"], result.facts["first"][11:16], result.facts["last"][11:16]) == (60, "00:30", "01:29")
    with pytest.raises(DataError, match="'late', row 91 .*expected a target in every row"):
        scored(steps, {**data, "label_delay": "PT20M"}, purpose="live", start="2013-02-01T00:30:00+00:00")


def test_a_window_without_rows_says_what_there_is(steps: Any, tmp_path: Path) -> None:
    data = parquet(rows(30), tmp_path / "d.parquet")
    with pytest.raises(DataError, match="rows from 2013-02-01.*expected rows before as_of, from 2013-02-01T01:00"):
        scored(steps, data, start="2013-02-01T01:00:00+00:00")
