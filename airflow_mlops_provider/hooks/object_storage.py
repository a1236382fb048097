"""Airflow settings and connections to the artifact store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook, conf

from airflow_mlops_provider.exceptions import SpecError
from airflow_mlops_provider.hooks.connections import adefined_connection, defined_connection, password_of
from airflow_mlops_provider.redaction import shown
from airflow_mlops_provider.storage import ArtifactStore, S3Options

if TYPE_CHECKING:
    from airflow.sdk import Connection

#: What the extra of an `aws` connection may hold here, named as Amazon's provider names it.
_EXTRAS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token", "endpoint_url", "region_name", "verify")


class ObjectStorageHook(BaseHook):
    """Give the store of artifacts and receipts, and the keys to S3.

    The `aws` connection is that of Amazon's provider, which need not be installed: login and password are the access
    key and its secret; the extra holds `aws_session_token`, `endpoint_url`, `region_name`, and as `verify` the file of
    an authority. What it leaves out is found by botocore's own chain: environment, profile, the machine's role.

    :param root: URI of the store; `[mlops] artifacts_uri` when left out, else `mlops` in AIRFLOW_HOME.
    :param conn_id: the connection; `[mlops] artifacts_conn_id` when left out, else botocore's own chain.
    """

    def __init__(self, root: str | None = None, conn_id: str | None = None) -> None:
        super().__init__()
        self.root = root
        self.conn_id = conn_id or conf.get("mlops", "artifacts_conn_id", fallback="") or None

    def store(self) -> ArtifactStore:
        """Return the artifact store.

        :raises SpecError: a connection is not defined, or a setting of it is wrong.
        """
        return ArtifactStore(self._root(), self.options(), signing_secret())

    def options(self) -> S3Options:
        """Return how S3 is reached.

        :raises SpecError: the connection is not defined, or a setting of it is wrong.
        """
        return S3Options() if self.conn_id is None else s3_options(defined_connection(self.conn_id), self.conn_id)

    async def aoptions(self) -> S3Options:
        """Return the same from within an event loop."""
        if self.conn_id is None:
            return S3Options()
        return s3_options(await adefined_connection(self.conn_id), self.conn_id)

    def _root(self) -> str:
        return self.root or conf.get("mlops", "artifacts_uri", fallback="") or _default_root()


def signing_secret() -> str | None:
    """Return what receipts are signed with: the password of the connection `[mlops] signing_conn_id`; None without one.

    :raises SpecError: there is no such connection, or it has no password.
    """
    conn_id = conf.get("mlops", "signing_conn_id", fallback="") or None
    if conn_id is None:
        return None
    if not (secret := password_of(conn_id)):
        raise SpecError(
            f"connection {conn_id!r}, which [mlops] signing_conn_id names, has no password to sign receipts with",
            hint="Set one of 32 random characters or more.",
        )
    return secret


def s3_options(connection: Connection, conn_id: str) -> S3Options:
    """Return what an `aws` connection says.

    :raises SpecError: it is of another type, holds half a pair of keys, or an extra that would be passed over.
    """
    name = f"connection {conn_id!r}"
    if connection.conn_type != "aws":
        raise SpecError(f"{name} is not an S3 connection", got=connection.conn_type, expected="connection type aws")
    extra: dict[str, Any] = connection.extra_dejson
    if unknown := sorted(set(extra) - set(_EXTRAS)):
        raise SpecError(f"{name} has an unknown extra", got=unknown, expected=", ".join(_EXTRAS))
    access_key = connection.login or extra.get("aws_access_key_id") or None
    secret_key = connection.password or extra.get("aws_secret_access_key") or None
    if (access_key is None) != (secret_key is None):
        lacking = "login, the access key" if access_key is None else "password, the secret key"
        raise SpecError(f"{name} lacks its {lacking}", hint="Set both, or neither to use the machine's own.")
    return S3Options(
        access_key=access_key,
        secret_key=secret_key,
        session_token=extra.get("aws_session_token") or None,
        endpoint_url=_endpoint(extra.get("endpoint_url") or None, name),
        region_name=extra.get("region_name") or None,
        ca_bundle=_authority(extra.get("verify"), name),
        origin=name,
    )


def _endpoint(url: str | None, name: str) -> str | None:
    if url is not None and not str(url).startswith(("http://", "https://")):
        raise SpecError(
            f"endpoint_url of {name} is not a URL", got=shown(url), expected="https://host or http://host:port"
        )
    return url


def _authority(verify: object, name: str) -> str | None:
    if verify in (None, "", True, "true", "True"):
        return None
    if verify in (False, "false", "False"):
        raise SpecError(f"{name} turns certificate verification off", hint="Set `verify` to the CA file of the store.")
    if not Path(str(verify)).is_file():
        raise SpecError(f"verify of {name} is not a file", got=verify, expected="a PEM file that every worker has")
    return str(verify)


def _default_root() -> str:
    return str(Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser() / "mlops")
