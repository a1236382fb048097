"""Database connections: frames from queries, and rows into tables."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException

from airflow_mlops_provider.exceptions import DataError, SpecError, TransientServiceError
from airflow_mlops_provider.hooks.connections import defined_connection
from airflow_mlops_provider.redaction import cause_to_show
from airflow_mlops_provider.registry.errors import LASTING_SQL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pandas as pd
    import pyarrow as pa
    import sqlalchemy
    from airflow.providers.common.sql.hooks.sql import DbApiHook

_CHUNK_ROWS, _INSERTED_ROWS = 100_000, 10_000
#: What a database says to the second of two that make one table, or insert one row, at once.
_AT_ONCE = re.compile(
    "already exists|duplicate key|unique constraint failed|duplicate entry|could not serialize", re.IGNORECASE
)
#: What a DB-API driver (PEP 249) calls trouble that is not the query's; SQLite has none but a lock.
_AWAY = frozenset({"OperationalError", "InterfaceError"})


def read_sql(conn_id: str, query: str) -> Iterator[pd.DataFrame]:
    """Yield the rows of a query through an Airflow connection, in bounded frames.

    :raises SpecError: when the connection is not one of a database.
    :raises DataError: when the database refuses the query.
    :raises TransientServiceError: when the database cannot be reached.
    """
    hook = database(conn_id)
    with _speaking_of(conn_id, "the query", "Correct data.source.sql, or the connection."):
        yield from hook.get_df_by_chunks(query, chunksize=_CHUNK_ROWS)


def ping(conn_id: str) -> None:
    """Return when a database answers.

    :raises SpecError: when the connection is not one of a database.
    :raises DataError: when it refuses.
    :raises TransientServiceError: when it cannot be reached.
    """
    with _speaking_of(conn_id, "a test query", "Correct the connection."), _engine(conn_id) as engine:
        engine.connect().close()


@contextmanager
def _engine(conn_id: str) -> Iterator[sqlalchemy.Engine]:
    """Yield SQLAlchemy's way to a database, by the hook's own connections: with its TLS and all other extras."""
    hook = database(conn_id)
    # An error of SQLAlchemy's would show the rows.
    settings = {"creator": hook.get_conn, "hide_parameters": True, "isolation_level": "SERIALIZABLE"}
    engine = hook.get_sqlalchemy_engine(settings)
    try:
        yield engine
    finally:
        engine.dispose()


def replace_rows(conn_id: str, table: str, partition: tuple[str, str], rows: Iterable[pa.Table]) -> int:
    """Replace the rows of one partition of a table, as a whole; return how many there are now.

    The table is created when it does not exist. Readers see the rows before or those after: all of it is one
    transaction. Of two that replace the same partition at once, the database lets one wait or fail.

    :param table: its name, or schema and name.
    :param partition: a column, and the value that these rows have in it.
    :raises SpecError: the connection is not one of a database, or the table lacks a column.
    :raises DataError: the database refuses the rows.
    :raises TransientServiceError: the database cannot be reached, or another transaction was quicker.
    """
    import sqlalchemy

    name, schema = table.rpartition(".")[2], table.rpartition(".")[0] or None
    column, value = partition
    written, target = 0, None
    doing = _speaking_of(conn_id, f"writing to table {table}", "Correct the sink, or the table.")
    with doing, _engine(conn_id) as engine, engine.begin() as transaction:
        for part in rows:
            if target is None:
                if not sqlalchemy.inspect(transaction).has_table(name, schema):
                    _new_table(name, schema, part.schema, column).create(transaction)
                target = sqlalchemy.Table(name, sqlalchemy.MetaData(), schema=schema, autoload_with=transaction)
                _check_columns(conn_id, table, target, part.schema.names, column)
                transaction.execute(target.delete().where(target.c[column] == value))
            for start in range(0, len(part), _INSERTED_ROWS):
                transaction.execute(target.insert(), part.slice(start, _INSERTED_ROWS).to_pylist())
            written += len(part)
    return written


def _new_table(name: str, schema: str | None, columns: pa.Schema, partition: str) -> sqlalchemy.Table:
    import pyarrow as pa
    import sqlalchemy

    kinds = (
        (pa.types.is_boolean, sqlalchemy.Boolean),
        (pa.types.is_integer, sqlalchemy.BigInteger),
        (pa.types.is_floating, sqlalchemy.Double),
        (pa.types.is_timestamp, lambda: sqlalchemy.DateTime(timezone=True)),
    )

    def type_of(kind: pa.DataType) -> Any:
        return next((made() for fits, made in kinds if fits(kind)), sqlalchemy.Text())

    # Rows are looked for by it: some databases compare no long text.
    short = {partition: sqlalchemy.String(64)}
    fields = [sqlalchemy.Column(field.name, short.get(field.name) or type_of(field.type)) for field in columns]
    return sqlalchemy.Table(name, sqlalchemy.MetaData(), *fields, schema=schema)


def _check_columns(conn_id: str, table: str, target: sqlalchemy.Table, names: Sequence[str], partition: str) -> None:
    import sqlalchemy

    if lacking := [name for name in names if name not in target.c]:
        raise SpecError(
            f"table {table} of {conn_id!r} lacks a column of the predictions",
            got=f"columns {', '.join(target.c.keys())}",
            expected=f"also {', '.join(lacking)}",
            hint="Add them, or name another table.",
        )
    if not isinstance(kind := target.c[partition].type, sqlalchemy.String):
        raise SpecError(
            f"column {partition!r} of table {table} of {conn_id!r} is not text",
            got=str(kind),
            expected="a type such as varchar(64)",
            hint="Change it, or name another table.",
        )


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
            f"connection {conn_id!r} is not a database connection",
            got=connection.conn_type,
            expected="a connection type such as postgres or mysql",
        )
    return hook


@contextmanager
def _speaking_of(conn_id: str, what: str, hint: str) -> Iterator[None]:
    """Turn a driver's error into ours. Drivers share no class, only the names that PEP 249 gives theirs."""
    try:
        yield
    except Exception as error:
        causes = [kind for cause in (error, error.__cause__) for kind in type(cause).__mro__]
        names = {kind.__name__ for kind in causes}
        text = str(getattr(error, "orig", None) or error)
        if names.isdisjoint({"DatabaseError", "SQLAlchemyError", *_AWAY}):
            raise
        if _AT_ONCE.search(text):
            raise TransientServiceError(
                f"{what} on {conn_id!r} conflicted with another process", got=text
            ) from cause_to_show(error)
        own_file = any(kind.__module__ == "sqlite3" for kind in causes) and "locked" not in text
        if names.isdisjoint(_AWAY) or own_file or LASTING_SQL.search(text):
            raise DataError(f"{what} on {conn_id!r} failed", got=text, hint=hint) from cause_to_show(error)
        shown = cause_to_show(error)
        raise TransientServiceError(f"the database of {conn_id!r} did not answer", got=text) from shown
