"""Where a snapshot's rows came from, and what its columns are, by the settings of ingest."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.lineage.nodes import LineageColumn, Node
from airflow_mlops_provider.lineage.places import Place, place_of
from airflow_mlops_provider.redaction import hide
from airflow_mlops_provider.spec import Data

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

log = logging.getLogger(__name__)


def sources_of(section: Mapping[str, Any]) -> list[Node]:
    """Return what was read: a file or folder, the tables of a query, or a reader, which alone knows what it reads.

    :param section: of the step `ingest`.
    """
    source = Data.model_validate(section["data"]).source
    if source.uri is not None:
        return [Node(place_of(source.uri))]
    if source.reader is not None:
        return [Node(Place("python", source.reader))]
    return _tables(str(source.conn_id), str(source.sql))


def columns_of(section: Mapping[str, Any], dropped: Collection[str] = ()) -> tuple[LineageColumn, ...]:
    """Return the columns of the snapshot, in their roles.

    :param section: of the step `ingest`.
    :param dropped: what `data.privacy` kept out of it.
    """
    columns = Data.model_validate(section["data"]).columns
    number = "numeric" if section["task"] == "regression" else "categorical"
    purpose = section.get("purpose", "training")
    found = [
        *(LineageColumn(name, None, "key") for name in columns.keys),
        *([] if columns.timestamp is None else [LineageColumn(columns.timestamp, "timestamp", "timestamp")]),
        *(LineageColumn(name, "numeric", "feature") for name in columns.numeric),
        *(LineageColumn(name, "categorical", "feature") for name in columns.categorical),
        *(LineageColumn(name, "categorical", "group") for name in columns.groups if purpose == "training"),
        *(LineageColumn(name, "numeric", "amount") for name in columns.amounts if purpose != "scoring"),
        *([] if purpose == "scoring" else [LineageColumn(columns.target, number, "target")]),
    ]
    return tuple(column for column in found if column.name not in dropped)


def _tables(conn_id: str, sql: str) -> list[Node]:
    """Return the tables of a query as the database's own hook names them; else the connection, by its name."""
    from airflow.providers.openlineage.sqlparser import get_openlineage_facets_with_sql

    from airflow_mlops_provider.hooks.sql import database

    hook = database(conn_id)
    try:
        found = get_openlineage_facets_with_sql(hook, sql, conn_id, database=None, use_connection=False)
    except Exception as error:
        # A hook may ask the database for the schema of tables without one; drivers share no class of error.
        log.warning("The tables of the query on %r are left out of the lineage: %s", conn_id, hide(str(error)))
        found = None
    if found is None or not found.inputs:
        return [Node(Place(str(hook.conn_type), conn_id))]
    return [Node(Place(table.namespace, table.name)) for table in found.inputs]
