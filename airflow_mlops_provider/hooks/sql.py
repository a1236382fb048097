"""Database connections to frames."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowException

from airflow_mlops_provider.exceptions import DataError, SpecError, TransientServiceError
from airflow_mlops_provider.hooks.connections import defined_connection
from airflow_mlops_provider.redaction import cause_to_show
from airflow_mlops_provider.registry.errors import LASTING_SQL

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from airflow.providers.common.sql.hooks.sql import DbApiHook

_CHUNK_ROWS = 100_000
#: What a DB-API driver (PEP 249) calls trouble that is not the query's; SQLite has none but a lock.
_AWAY = frozenset({"OperationalError", "InterfaceError"})


def read_sql(conn_id: str, query: str) -> Iterator[pd.DataFrame]:
    """Yield the rows of a query through an Airflow connection, in bounded frames.

    :raises SpecError: when the connection is not one of a database.
    :raises DataError: when the database refuses the query.
    :raises TransientServiceError: when the database cannot be reached.
    """
    hook = database(conn_id)
    with _speaking_of(conn_id):
        yield from hook.get_df_by_chunks(query, chunksize=_CHUNK_ROWS)


def database(conn_id: str) -> DbApiHook:
    """Return the hook of a database.

    :raises SpecError: when the connection is not one of a database.
    """
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    connection = defined_connection(conn_id)
    try:
        hook = connection.get_hook()
    except (AirflowException, ImportError) as error:
        raise SpecError(
            f"connection {conn_id!r} cannot be used",
            got=str(error),
            hint=f"Install the Airflow provider of connection type {connection.conn_type!r}.",
        ) from cause_to_show(error)
    if not isinstance(hook, DbApiHook):
        raise SpecError(
            f"connection {conn_id!r} is not one of a database",
            got=connection.conn_type,
            expected="a connection type such as postgres or mysql",
        )
    return hook


@contextmanager
def _speaking_of(conn_id: str) -> Iterator[None]:
    """Turn a driver's error into ours. Drivers share no class, only the names that PEP 249 gives theirs."""
    try:
        yield
    except Exception as error:
        causes = [kind for cause in (error, error.__cause__) for kind in type(cause).__mro__]
        names = {kind.__name__ for kind in causes}
        if names.isdisjoint({"DatabaseError", *_AWAY}):
            raise
        own_file = any(kind.__module__ == "sqlite3" for kind in causes) and "locked" not in str(error)
        if names.isdisjoint(_AWAY) or own_file or LASTING_SQL.search(str(error)):
            raise DataError(
                f"the query on {conn_id!r} failed", got=str(error), hint="Correct data.source.sql, or the connection."
            ) from cause_to_show(error)
        shown = cause_to_show(error)
        raise TransientServiceError(f"the database of {conn_id!r} did not answer", got=str(error)) from shown
