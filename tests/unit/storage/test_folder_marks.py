"""Objects by which consoles and tools mark a folder on S3 are no data."""

from __future__ import annotations

import pytest

from airflow_mlops_provider.storage.sources import SourceFile, data_objects


def objects(**sizes: int) -> list[SourceFile]:
    return [SourceFile(f"s3://bucket/in/{name}", name, "etag", size) for name, size in sizes.items()]


@pytest.mark.parametrize(
    "mark",
    ["", "date=2013-03-01/", "date=2013-03-01", "date=2013-03-01_$folder$", "a_$folder$/x.csv", "_SUCCESS", ".keep"],
)
def test_a_mark_of_a_folder_is_no_data(mark: str) -> None:
    found = data_objects(objects(**{mark: 0, "date=2013-03-01/part.csv": 9, "date=2013-03-02/part.csv": 9}))
    assert [file.name for file in found] == ["date=2013-03-01/part.csv", "date=2013-03-02/part.csv"]


def test_an_empty_file_is_data_that_reading_refuses() -> None:
    assert [file.name for file in data_objects(objects(**{"a.csv": 0, "b.csv": 9}))] == ["a.csv", "b.csv"]
