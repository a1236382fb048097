"""Airflow connections by their id."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError

from airflow_mlops_provider.exceptions import SpecError, TransientServiceError

if TYPE_CHECKING:
    from airflow.sdk import Connection


def defined_connection(conn_id: str) -> Connection:
    """Return a connection.

    :raises SpecError: when there is none of that id.
    """
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise _undefined(conn_id) from error


def password_of(conn_id: str) -> str | None:
    """Return the password of a connection.

    :raises SpecError: when there is none of that id.
    """
    password: str | None = defined_connection(conn_id).password
    return password


async def adefined_connection(conn_id: str) -> Connection:
    """Return a connection, as `defined_connection`, from within an event loop.

    :raises TransientServiceError: when Airflow does not answer: a trigger has no retries of its own.
    """
    try:
        return await BaseHook.aget_connection(conn_id)
    except AirflowNotFoundException as error:
        raise _undefined(conn_id) from error
    except AirflowRuntimeError as error:
        raise TransientServiceError(f"Airflow did not give connection {conn_id!r}", got=str(error)) from error


def _undefined(conn_id: str) -> SpecError:
    return SpecError(
        f"connection {conn_id!r} is not defined",
        hint=f"Add it under Admin, Connections, or by the environment variable AIRFLOW_CONN_{conn_id.upper()}.",
    )
