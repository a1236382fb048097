"""The connection to MLflow: what may be repeated, what its errors mean, what it may print.

MLflow's client repeats a creating request after a lost reply, and its server does not notice (one
call made four versions). So every call here says what it is: `retried` may be repeated, `once` is sent
once, and whoever tells reads an unknown outcome back.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from airflow_mlops_provider.exceptions import MLOpsError, RegistryError, TransientServiceError
from airflow_mlops_provider.redaction import cause_to_show, shown
from airflow_mlops_provider.registry.addresses import check_uri, connection_secrets, sqlite_file, who_asks
from airflow_mlops_provider.registry.database import check_database
from airflow_mlops_provider.registry.errors import (
    AlreadyThereError,
    ContendedError,
    Endpoint,
    NotAuthenticatedError,
    foreign_errors,
    translated,
)
from airflow_mlops_provider.registry.patience import pause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mlflow import MlflowClient

    from airflow_mlops_provider.storage import S3Options

Answer = TypeVar("Answer")
Found = TypeVar("Found")

_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
_TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
#: Set around each call unless the process or the connection says otherwise: workers have no terminal for
#: links, do not send usage data, a value that is too long is an error instead of being cut, a server that asks
#: for patience gets it from the retrying task, not in the middle of a call.
_QUIET = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_TRUNCATE_LONG_VALUES": "false",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
}
#: Seconds after which a silent server counts as away.
_SILENCE = 30
#: How long a repeatable call is made again because others write the same.
_CONTENTION_SECONDS = 3.0
# os.environ belongs to the whole process, and MLflow reads its settings only from there.
_ENVIRONMENT_LOCK = threading.RLock()


class Connection:
    """One MLflow. Nothing is imported or reached before the first call.

    :param tracking_uri: a server (`http://…`) or a database (`sqlite:///…`, `postgresql://…`).
    :param registry_uri: where models are registered; the tracking URI when left out.
    :param environment: settings that MLflow reads from the environment (user name, token, …), set only
        while a call runs.
    :param artifact_root: where experiments that we create in a bare database keep their files. A server
        has its own; beside a SQLite file it is the folder `mlartifacts`.
    :param timeout: seconds after which a silent server counts as away; 30 when left out.
    :param renew: gives the environment anew, when the server does not know us (any more): a token may have
        expired, a password may have been changed, since this object was made.
    :param s3: how artifacts are reached that lie on S3 and that no server passes on; MLflow's own way when left out.
    :param name: what errors call this connection, such as "connection 'mlflow_default'".
    :raises RegistryError: the URI cannot hold a registry that several processes write.
    """

    def __init__(
        self,
        tracking_uri: str,
        *,
        registry_uri: str | None = None,
        environment: Mapping[str, str] | None = None,
        artifact_root: str | None = None,
        timeout: int | None = None,
        renew: Callable[[], Mapping[str, str]] | None = None,
        s3: S3Options | None = None,
        name: str | None = None,
    ) -> None:
        self.tracking_uri = tracking_uri
        self.registry_uri = registry_uri or tracking_uri
        self._timeout = timeout
        self._renew = renew
        self.s3 = s3
        self._name = name or "the connection"
        self._environment: dict[str, str] = {}
        self._secrets: frozenset[str] = frozenset()
        self._use(environment or {})
        for uri in {self.tracking_uri, self.registry_uri}:
            check_uri(uri)
        self._artifact_root = artifact_root
        self._client: MlflowClient | None = None

    @property
    def address(self) -> str:
        """The tracking URI as it may be shown."""
        return shown(self.tracking_uri)

    @property
    def is_server(self) -> bool:
        """Whether a server, not this process, writes the database."""
        return self.tracking_uri.startswith(("http://", "https://"))

    def retried(self, what: str, call: Callable[[MlflowClient], Answer], *, patience: int = 0) -> Answer:
        """Make a call that may be repeated: it reads, or sets what is set already to the same.

        :param what: what is being done, for errors: "reading the ledger of 'flights'".
        :param patience: seconds that the server may take longer than for others.
        :raises TransientServiceError: MLflow could not be reached or failed for now.
        :raises RegistryError: MLflow refused.
        """
        started, tries = time.monotonic(), 0
        while True:
            try:
                return self._call(what, call, os.environ.get(_RETRIES, "1"), patience)
            except ContendedError:
                if time.monotonic() - started > _CONTENTION_SECONDS:
                    raise
                # What others wrote is there by now; not all at once again.
                pause(tries := tries + 1)

    def pages(self, what: str, call: Callable[[MlflowClient, str | None], Any]) -> list[Any]:
        """Return everything that a search finds, page by page; as `retried` otherwise.

        :param call: searches for the page of a token, None for the first.
        """

        def page_of(token: str | None) -> Any:
            return self.retried(what, lambda client: call(client, token))

        page = page_of(None)
        found = list(page)
        while page.token:
            page = page_of(page.token)
            found += page
        return found

    def once(self, what: str, call: Callable[[MlflowClient], Answer]) -> Answer:
        """Make a call that creates or moves something: one request, whatever becomes of its reply.

        Errors as `retried`; after TransientServiceError the caller reads back what happened. Its child
        ContendedError says that nothing was written, for another process was quicker.
        """
        return self._call(what, call, "0")

    def artifact_location(self, experiment: str) -> str | None:
        """Return where a new experiment keeps its files; None leaves it to the server.

        :raises RegistryError: a bare database that no folder belongs to.
        """
        if self.is_server:
            return None
        root = self._artifact_root
        if root is None and (database := sqlite_file(self.tracking_uri)) is not None:
            root = (database.parent / "mlartifacts").as_uri()
        if root is None:
            raise RegistryError(
                f"MLflow at {self.address} is a bare database, and no folder is set for the model files",
                hint="Run an MLflow server on it, or set artifact_root in the connection.",
            )
        return f"{root.rstrip('/')}/{quote(experiment, safe='')}"

    def _call(self, what: str, call: Callable[[MlflowClient], Answer], retries: str, patience: int = 0) -> Answer:
        try:
            return self._once(what, call, retries, patience)
        except NotAuthenticatedError:
            # Refused before anything was done, so even a creating call may be made again.
            if not self._renewed():
                raise
        return self._once(what, call, retries, patience)

    def _once(self, what: str, call: Callable[[MlflowClient], Answer], retries: str, patience: int) -> Answer:
        with self._settings(retries, patience):
            try:
                return call(self._connected())
            except foreign_errors() as error:
                endpoint = Endpoint(self.address, self._name, who_asks(self.tracking_uri, self._environment))
                raise translated(error, what, endpoint, self._secrets) from cause_to_show(error, self._secrets)

    def _renewed(self) -> bool:
        """Ask for our credentials anew, and return whether they are others now."""
        before = self._environment
        if self._renew is not None:
            self._use(self._renew())
        return self._environment != before

    def _use(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        # What was secret stays secret: an error may still tell of it.
        self._secrets |= connection_secrets((self.tracking_uri, self.registry_uri), self._environment)

    def _connected(self) -> MlflowClient:
        if self._client is None:
            for uri in {self.tracking_uri, self.registry_uri}:
                check_database(uri)
            from mlflow import MlflowClient

            self._client = MlflowClient(self.tracking_uri, self.registry_uri)
        return self._client

    @contextmanager
    def _settings(self, retries: str, patience: int) -> Iterator[None]:
        with _ENVIRONMENT_LOCK:
            timeout = self._timeout or int(os.environ.get(_TIMEOUT) or _SILENCE)
            quiet = {name: value for name, value in _QUIET.items() if name not in os.environ}
            wanted = {**quiet, **self._environment, _RETRIES: retries, _TIMEOUT: str(timeout + patience)}
            before = {name: os.environ.get(name) for name in wanted}
            os.environ.update(wanted)
            try:
                yield
            finally:
                for name, value in before.items():
                    if value is None:
                        os.environ.pop(name, None)
                    else:
                        os.environ[name] = value


def make_once(what: str, make: Callable[[], object], find: Callable[[], Found | None]) -> Found:
    """Make something and return it as `find` finds it, whatever became of the reply.

    :param make: makes it by one `once`; another process may have been quicker.
    :raises TransientServiceError: it is not there, and MLflow did not say why for good.
    """
    started, tries = time.monotonic(), 0
    while True:
        trouble: MLOpsError | None = None
        try:
            make()
        except (AlreadyThereError, TransientServiceError) as error:
            trouble = error
        if (found := find()) is not None:
            return found
        if not isinstance(trouble, ContendedError) or time.monotonic() - started > _CONTENTION_SECONDS:
            raise trouble or TransientServiceError(f"MLflow does not return what it created while {what}")
        pause(tries := tries + 1)
