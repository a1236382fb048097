"""The `mlflow` connection."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.sdk import BaseHook

from airflow_mlops_provider.exceptions import MLOpsError, SpecError
from airflow_mlops_provider.hooks.connections import adefined_connection, defined_connection

if TYPE_CHECKING:
    from airflow_mlops_provider.registry import Registry

#: What the connection's extra may hold; anything else is an error, not a silent setting.
_EXTRAS = ("registry_uri", "artifact_root", "ui_url")


class MlflowHook(BaseHook):
    """Give clients of the MLflow server or database behind a connection.

    The connection's host is the tracking URI: `https://mlflow.example.org`, or a database such as
    `sqlite:////data/mlflow.db`. Login and password are MLflow's basic auth; a password without a login is a token.

    :param conn_id: the connection.
    """

    conn_name_attr = "conn_id"
    default_conn_name = "mlflow_default"
    conn_type = "mlflow"
    hook_name = "MLflow"

    def __init__(self, conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.conn_id = conn_id

    @cached_property
    def _connection(self) -> Any:
        return defined_connection(self.conn_id)

    @property
    def _extra(self) -> dict[str, Any]:
        extra: dict[str, Any] = self._connection.extra_dejson
        if unknown := sorted(set(extra) - set(_EXTRAS)):
            raise SpecError(
                f"connection {self.conn_id!r} has an unknown extra", got=unknown, expected=", ".join(_EXTRAS)
            )
        return extra

    @property
    def tracking_uri(self) -> str:
        """The tracking URI.

        :raises SpecError: when the connection has no host.
        """
        host = self._connection.host
        if not host:
            raise SpecError(
                f"connection {self.conn_id!r} has no tracking URI",
                expected="a host such as https://mlflow.example.org or sqlite:////data/mlflow.db",
            )
        return str(host)

    @property
    def ui_url(self) -> str | None:
        """Where the MLflow UI is, None when there is none to link to. Links are for everybody: no password in it."""
        url = str(self._extra.get("ui_url") or self.tracking_uri)
        if not url.startswith("http"):
            return None
        parts = urlsplit(url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")

    def registry(self) -> Registry:
        """Return the client of runs, versions and the ledger. Nothing is connected before its first use."""
        from airflow_mlops_provider.registry import Registry

        return Registry.connect(
            self.tracking_uri,
            registry_uri=self._extra.get("registry_uri"),
            artifact_root=self._extra.get("artifact_root"),
            environment=self._environment(),
        )

    async def aregistry(self) -> Registry:
        """Return the same client from within an event loop, which is not blocked."""
        self._connection = await adefined_connection(self.conn_id)
        # In a thread: reading the extras tells the log what to mask, and waits for it.
        return await asyncio.to_thread(self.registry)

    def _environment(self) -> dict[str, str]:
        """Return MLflow's own variables for the secrets, which it reads from nowhere else."""
        connection = self._connection
        if connection.login:
            return {
                "MLFLOW_TRACKING_USERNAME": connection.login,
                "MLFLOW_TRACKING_PASSWORD": connection.password or "",
            }
        return {"MLFLOW_TRACKING_TOKEN": connection.password} if connection.password else {}

    def test_connection(self) -> tuple[bool, str]:
        """Answer the connection form's Test button."""
        try:
            return True, self.registry().ping()
        except MLOpsError as error:
            return False, str(error)
