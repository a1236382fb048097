from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_mlops_provider.data.tables import (
    ROW_GROUP_ROWS,
    TableInfo,
    iter_tables,
    read_table,
    table_info,
    table_rows,
    table_schema,
    write_table,
)
from airflow_mlops_provider.exceptions import ArtifactError, DataError
from airflow_mlops_provider.spec import Columns

if TYPE_CHECKING:
    from airflow_mlops_provider.results import ArtifactRef
    from airflow_mlops_provider.storage import ArtifactStore

INFO = TableInfo(task="binary", columns=Columns(target="late", numeric=["x"], categorical=["c"]))


def table(count: int = 10, offset: int = 0) -> pa.Table:
    return pa.table(
        {
            "x": pa.array([index + offset for index in range(count)], pa.float64()),
            "c": pa.array(["abc"[index % 3] for index in range(count)]).dictionary_encode(),
            "late": pa.array([index % 2 for index in range(count)], pa.int64()),
        }
    )


def write(store: ArtifactStore, *parts: pa.Table) -> ArtifactRef:
    return write_table(store, parts, parts[0].schema, INFO)


def test_a_table_says_what_its_columns_mean(store: ArtifactStore) -> None:
    ref = write(store, table())
    assert table_info(store, ref) == INFO
    assert table_rows(store, ref) == 10
    assert table_schema(store, ref).names == ["x", "c", "late"]
    assert ref.uri.endswith(".parquet")


def test_columns_come_in_the_order_asked_for_with_categories_kept(store: ArtifactStore) -> None:
    frame = read_table(store, write(store, table(3), table(3, 3)), ["late", "c"])
    assert list(frame.columns) == ["late", "c"]
    assert isinstance(frame["c"].dtype, pd.CategoricalDtype)
    assert frame["c"].tolist() == ["a", "b", "c", "a", "b", "c"]


def test_tables_come_by_row_group(store: ArtifactStore) -> None:
    ref = write(store, table(ROW_GROUP_ROWS + 5), table(7))
    assert [len(part) for part in iter_tables(store, ref)] == [ROW_GROUP_ROWS, 5, 7]
    assert [part.column_names for part in iter_tables(store, ref, ["c"])] == [["c"]] * 3


def test_equal_tables_have_equal_digests(store: ArtifactStore) -> None:
    assert write(store, table()) == write(store, table())
    assert write(store, table()) != write(store, table(9))


def test_a_batch_of_another_schema_is_refused_and_nothing_is_stored(store: ArtifactStore) -> None:
    with pytest.raises(ValueError, match="schema"):
        write(store, table(), table().drop_columns("x"))
    root = store.objects.root
    assert [path for path in root.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("columns", [["y"], ["x", "y"]])
def test_a_missing_column_is_named_with_what_is_there(store: ArtifactStore, columns: list[str]) -> None:
    ref = write(store, table())
    with pytest.raises(DataError, match=r"has no column 'y': got \['x', 'c', 'late'\], expected \['y'\]"):
        read_table(store, ref, columns)
    with pytest.raises(DataError, match="has no column 'y'"):
        list(iter_tables(store, ref, columns))


def test_a_file_that_is_no_parquet_is_named(store: ArtifactStore) -> None:
    ref = store.add_bytes(b"PAR1 this is not", ".parquet")
    with pytest.raises(ArtifactError, match="is not a Parquet table"):
        read_table(store, ref)


def test_parquet_by_others_does_not_say_what_it_means(store: ArtifactStore) -> None:
    with store.workspace() as folder:
        pq.write_table(table(), folder / "t.parquet")
        ref = store.add(folder / "t.parquet", ".parquet")
    with pytest.raises(ArtifactError, match="does not describe its columns.*Create it with ingest"):
        table_info(store, ref)


def test_a_large_table_is_streamed_in_bounded_memory(store: ArtifactStore) -> None:
    part = table(ROW_GROUP_ROWS)
    ref = write_table(store, (part for _ in range(30)), part.schema, INFO)
    pool = pa.default_memory_pool()
    before, most = pool.bytes_allocated(), 0
    for batch in iter_tables(store, ref):
        most = max(most, pool.bytes_allocated() - before)
        del batch
    assert table_rows(store, ref) == 30 * ROW_GROUP_ROWS
    assert most < 4 * part.nbytes
