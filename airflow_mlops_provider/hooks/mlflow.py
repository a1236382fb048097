"""The `mlflow` connection."""

from __future__ import annotations

import asyncio
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook, get_current_context

from airflow_mlops_provider.exceptions import MLOpsError, SpecError
from airflow_mlops_provider.hooks.connections import adefined_connection, defined_connection
from airflow_mlops_provider.redaction import endpoint

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_mlops_provider.registry import Registry
    from airflow_mlops_provider.storage import S3Options

#: What the connection's extra may hold; anything else is an error, not a silent setting.
_EXTRAS = ("registry_uri", "artifact_root", "ui_url", "ca_bundle", "client_cert", "verify", "timeout", "aws_conn_id")
_TIMEOUT, _MOST = 30, 86_400
#: An effect that MLflow leaves hanging waits for at most three requests before it says so: the one that makes
#: something, and two that look whether it was made. That has to be before Airflow ends the task, without a retry.
_WAITS = 4


class MlflowHook(BaseHook):
    """Give clients of the MLflow server or database behind a connection.

    The connection's host is the tracking URI: `https://mlflow.example.org`, or a database such as
    `sqlite:////data/mlflow.db`. Login and password are MLflow's basic auth; a password without a login is a token.
    For `https`, the extra names an authority (`ca_bundle`) and a client's certificate (`client_cert`).

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
    def _connection(self) -> Connection:
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
    def registry_uri(self) -> str:
        """The URI of the model registry: the tracking URI, unless the connection names another."""
        return str(self._extra.get("registry_uri") or self.tracking_uri)

    @property
    def ui_url(self) -> str | None:
        """Where the MLflow UI is, None when there is none to link to. Links are for everybody: no password in it."""
        url = str(self._extra.get("ui_url") or self.tracking_uri)
        if not url.startswith("http"):
            return None
        place = endpoint(url)
        return None if place is None else f"{url.partition('://')[0]}://{place}"

    def registry(self, *, at_most: int | None = None) -> Registry:
        """Return the client of runs, versions and the ledger. Nothing is connected before its first use.

        When the server no longer knows us, the Airflow connection is read again, once for each request: a token may
        have expired, a password may have been changed, while the task was at work.

        :param at_most: seconds that a request may take, when the connection allows for more.
        :raises SpecError: the connection is not defined, or a setting of it is wrong.
        """
        from airflow_mlops_provider.registry import Registry
        from airflow_mlops_provider.registry.client import Connection as MlflowConnection

        return Registry(
            MlflowConnection(
                self.tracking_uri,
                registry_uri=self._extra.get("registry_uri"),
                artifact_root=self._extra.get("artifact_root"),
                environment=self._environment(),
                timeout=min(self._timeout(), at_most or _MOST),
                renew=self._renewed_environment,
                s3=self._s3(),
                name=f"connection {self.conn_id!r}",
            )
        )

    async def aregistry(self) -> Registry:
        """Return the same client from within an event loop, which is not blocked."""
        self._connection = await adefined_connection(self.conn_id)
        # In a thread: reading the extras tells the log what to mask, and waits for it.
        return await asyncio.to_thread(self.registry)

    def _environment(self) -> dict[str, str]:
        """Return MLflow's own variables for the secrets and for TLS, which it reads from nowhere else."""
        return {**self._credentials(), **self._tls()}

    def _renewed_environment(self) -> dict[str, str]:
        self._connection = defined_connection(self.conn_id)
        return self._environment()

    def _credentials(self) -> dict[str, str]:
        login, password = self._connection.login, self._connection.password
        if login:
            return {"MLFLOW_TRACKING_USERNAME": login, "MLFLOW_TRACKING_PASSWORD": password or ""}
        if password:
            # MLflow prefers a login that it finds in the environment.
            return {
                "MLFLOW_TRACKING_USERNAME": "",
                "MLFLOW_TRACKING_PASSWORD": "",
                "MLFLOW_TRACKING_TOKEN": password,
            }
        return {}

    def _tls(self) -> dict[str, str]:
        if not self.tracking_uri.startswith("https"):
            return {}
        files = {name: self._file(name) for name in ("ca_bundle", "client_cert")}
        verify = str(self._extra.get("verify", True)).lower()
        if verify not in ("true", "false"):
            raise self._wrong("verify", "true or false")
        if verify == "false" and files["ca_bundle"]:
            raise SpecError(
                f"connection {self.conn_id!r} sets a ca_bundle but turns verification off",
                hint="Leave out verify, or ca_bundle.",
            )
        settings = {
            # Said always, so that nothing but the connection can turn it off.
            "MLFLOW_TRACKING_INSECURE_TLS": "true" if verify == "false" else "false",
            "MLFLOW_TRACKING_SERVER_CERT_PATH": files["ca_bundle"],
            "MLFLOW_TRACKING_CLIENT_CERT_PATH": files["client_cert"],
        }
        return {name: value for name, value in settings.items() if value is not None}

    def _s3(self) -> S3Options | None:
        conn_id = self._extra.get("aws_conn_id") or None
        if conn_id is None:
            return None
        from airflow_mlops_provider.hooks.object_storage import s3_options

        return s3_options(defined_connection(conn_id), conn_id)

    def _file(self, name: str) -> str | None:
        path = self._extra.get(name) or None
        if path is not None and not Path(str(path)).is_file():
            raise self._wrong(name, "the path of a PEM file on every worker")
        return path

    def _timeout(self) -> int:
        """Return for how long a request may take, in seconds: well within the time that its task has."""
        text = str(self._extra.get("timeout") or _TIMEOUT)
        if not text.isdecimal() or int(text) < 1:
            raise self._wrong("timeout", "a whole number of seconds, 1 or more")
        try:
            limit = get_current_context()["ti"].task.execution_timeout
        except RuntimeError:
            limit = None  # not in a task
        return int(text) if limit is None else max(1, min(int(text), int(limit.total_seconds() / _WAITS)))

    def _wrong(self, name: str, expected: str) -> SpecError:
        return SpecError(
            f"extra {name!r} of connection {self.conn_id!r} is wrong", got=self._extra[name], expected=expected
        )

    def test_connection(self) -> tuple[bool, str]:
        """Answer the connection form's Test button."""
        try:
            return True, self.registry().ping()
        except MLOpsError as error:
            return False, str(error)
