"""Database connections to frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

from airflow_mlops_provider.exceptions import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

_CHUNK_ROWS = 100_000


def read_sql(conn_id: str, query: str) -> Iterator[pd.DataFrame]:
    """Yield the rows of a query through an Airflow connection, in bounded frames.

    :raises SpecError: when the connection is not one of a database.
    """
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    hook = BaseHook.get_connection(conn_id).get_hook()  # type: ignore[no-untyped-call]
    if not isinstance(hook, DbApiHook):
        raise SpecError(
            f"connection {conn_id!r} is not one of a database", got=type(hook).__name__, expected="a DbApiHook"
        )
    yield from hook.get_df_by_chunks(query, chunksize=_CHUNK_ROWS)
