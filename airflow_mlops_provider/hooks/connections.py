"""Airflow connections by their id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_mlops_provider.exceptions import SpecError

if TYPE_CHECKING:
    from airflow.sdk import Connection


def defined_connection(conn_id: str) -> Connection:
    """Return a connection.

    :raises SpecError: when there is none of that id.
    """
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise SpecError(
            f"connection {conn_id!r} is not defined",
            hint=f"Add it under Admin, Connections, or by the environment variable AIRFLOW_CONN_{conn_id.upper()}.",
        ) from error
