"""Airflow connections by their id."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError
from airflow.sdk.log import amask_secret, mask_secret

from airflow_mlops_provider.exceptions import SpecError, TransientServiceError
from airflow_mlops_provider.redaction import remember, secrets_of

if TYPE_CHECKING:
    from airflow.sdk import Connection
    from pydantic import JsonValue

#: Airflow masks no shorter text, and warns of each.
_LEAST_MASKED = 5


def defined_connection(conn_id: str) -> Connection:
    """Return a connection.

    :raises SpecError: when there is none of that id.
    """
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise _undefined(conn_id) from error
    mask_secret(_remembered(connection))
    return connection


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
        connection = await BaseHook.aget_connection(conn_id)
    except AirflowNotFoundException as error:
        raise _undefined(conn_id) from error
    except AirflowRuntimeError as error:
        raise TransientServiceError(f"Airflow did not return connection {conn_id!r}", got=str(error)) from error
    await amask_secret(_remembered(connection))
    return connection


def _remembered(connection: Connection) -> list[JsonValue]:
    """Return what nobody may see of a connection, and hide it in errors from now on.

    Airflow itself masks the password and what is named like a secret; not what stands in an address.
    """
    secrets = secrets_of(
        {
            "password": connection.password or "",
            "host": connection.host or "",
            "schema": connection.schema or "",
            "extra": _extra(connection),
        }
    )
    remember(secrets)
    return [secret for secret in sorted(secrets) if len(secret) >= _LEAST_MASKED]


def _extra(connection: Connection) -> object:
    # Not `extra_dejson`, which speaks to the supervisor: an event loop must not wait for that.
    try:
        return json.loads(connection.extra or "{}")
    except ValueError:
        return connection.extra


def _undefined(conn_id: str) -> SpecError:
    return SpecError(
        f"connection {conn_id!r} is not defined",
        hint=f"Add it under Admin, Connections, or by the environment variable AIRFLOW_CONN_{conn_id.upper()}.",
    )
