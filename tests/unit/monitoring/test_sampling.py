from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_mlops_provider.data.tables import TableInfo, write_table
from airflow_mlops_provider.monitoring.sampling import fits, sample_positions, survey
from airflow_mlops_provider.spec import Columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_mlops_provider.results import ArtifactRef
    from airflow_mlops_provider.storage import ArtifactStore

INFO = TableInfo(task="binary", columns=Columns(target="y", numeric=["x"]))


def write(store: ArtifactStore, columns: Mapping[str, Any], groups: int = 1) -> ArtifactRef:
    table = pa.table(columns)
    return write_table(store, [table] * groups, table.schema, INFO)


@pytest.mark.parametrize(("rows", "size"), [(0, 5), (1, 5), (5, 5), (6, 5), (1000, 7), (10**12, 1000)])
def test_a_sample_has_its_size_and_is_spread_evenly(rows: int, size: int) -> None:
    positions = sample_positions(rows, size, seed=0)
    assert len(positions) == min(rows, size)
    assert (np.diff(positions) > 0).all()
    assert ((positions >= 0) & (positions < rows)).all()
    if rows > size:
        stretches = positions * size // rows
        assert np.abs(stretches - np.arange(size)).max() <= 1


def test_a_sample_is_the_same_each_time_and_another_with_another_seed() -> None:
    first, again, other = (sample_positions(10_000, 100, seed).tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_sample_is_blind_to_periods_of_the_data() -> None:
    weekdays = np.arange(70_000) % 7
    shares = np.bincount(weekdays[sample_positions(70_000, 10_000, seed=0)]) / 10_000
    assert shares == pytest.approx(1 / 7, abs=0.02)


def test_every_row_is_counted_whatever_the_size_of_the_sample(store: ArtifactStore) -> None:
    numbers = [1.0, None, float("nan"), float("inf"), -3.0, 9.0, 0.5, 2.0]
    texts = pa.array(["a", "b", None, "a", "c", "a", "a", "b"]).dictionary_encode()
    ref = write(store, {"x": pa.array(numbers), "c": texts}, groups=3)
    found = survey(store, ref, {"x": "numeric", "c": "categorical"}, 4, 0, {"x": (0.0, 5.0)})
    assert (found.rows, found.sampled) == (24, 4)
    x, c = found.columns["x"], found.columns["c"]
    assert (x.rows, x.missing, x.infinite, x.low, x.high, x.outside) == (24, 6, 3, -3.0, 9.0, 6)
    assert x.missing_share == pytest.approx(9 / 24)
    assert (c.rows, c.missing, c.counts) == (24, 3, {"a": 12, "b": 6, "c": 3})
    assert [len(column.sample) for column in (x, c) if column.sample is not None] == [4, 4]


@pytest.mark.parametrize(
    ("column", "kind", "values"),
    [
        (pa.array([1, 2, 3], pa.int8()), "numeric", [1.0, 2.0, 3.0]),
        (pa.array([2**63, 0, 1], pa.uint64()), "numeric", [2.0**63, 0.0, 1.0]),
        (pa.array([True, False, None]), "numeric", [1.0, 0.0]),
        (pa.array([None, None, None], pa.null()), "numeric", []),
        (pa.array([1, 2, 3]), "categorical", ["1", "2", "3"]),
        (pa.array([True, False, None]), "categorical", ["true", "false"]),
        (pa.array(["ж", None, ""]), "categorical", ["ж", ""]),
        (pa.array([None, None, None], pa.null()), "categorical", []),
    ],
)
def test_a_column_is_read_as_its_kind(store: ArtifactStore, column: pa.Array, kind: Any, values: list[Any]) -> None:
    assert fits(kind, column.type)
    found = survey(store, write(store, {"x": column}), {"x": kind}, 10, 0).columns["x"]
    assert found.values().tolist() == values


@pytest.mark.parametrize(
    ("type_", "kind"),
    [(pa.string(), "numeric"), (pa.list_(pa.int8()), "categorical"), (pa.float64(), "categorical")],
)
def test_a_column_of_another_type_does_not_fit(type_: pa.DataType, kind: Any) -> None:
    assert not fits(kind, type_)


def test_categories_without_end_are_counted_together(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_mlops_provider.monitoring.sampling.MAX_CATEGORIES", 10)
    ref = write(store, {"c": pa.array([f"user {index}" for index in range(100)])}, groups=2)
    found = survey(store, ref, {"c": "categorical"}, 5, 0).columns["c"]
    assert (len(found.counts), sum(found.counts.values()), found.uncounted, found.constant) == (10, 20, 180, False)


def test_memory_does_not_grow_with_rows(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    allocated: list[int] = []
    read = pq.ParquetFile.read_row_group

    def watched(*args: Any, **settings: Any) -> Any:
        group = read(*args, **settings)
        allocated.append(pa.total_allocated_bytes())
        return group

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", watched)
    columns = {"x": pa.array(np.arange(50_000.0)), "c": pa.array(["a", "b"] * 25_000).dictionary_encode()}
    survey(store, write(store, columns, groups=40), {"x": "numeric", "c": "categorical"}, 1000, 0)
    assert len(allocated) == 40
    assert max(allocated) < 3 * max(allocated[:3])


def test_a_survey_reads_one_row_group_at_a_time(store: ArtifactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[tuple[int, list[str]]] = []
    read = pq.ParquetFile.read_row_group

    def watched(file: Any, index: int, columns: list[str], **settings: Any) -> Iterator[Any]:
        requested.append((index, columns))
        return read(file, index, columns=columns, **settings)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", watched)
    ref = write(store, {"x": pa.array([1.0, 2.0]), "other": pa.array([1, 2])}, groups=3)
    survey(store, ref, {"x": "numeric"}, 10, 0)
    assert requested == [(0, ["x"]), (1, ["x"]), (2, ["x"])]
