"""The connection to MLflow: what may be repeated, what its errors mean, what it may print.

MLflow's client repeats a creating request after a lost reply, and its server does not notice (one
call made four versions). So every call here says what it is: `ask` may be repeated, `tell` is sent
once, and whoever tells reads an unknown outcome back.
"""

from __future__ import annotations

import os
import random
import re
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote, unquote, urlsplit

from airflow_mlops_provider.exceptions import MLOpsError, RegistryError, TransientServiceError
from airflow_mlops_provider.registry.errors import (
    AlreadyThereError,
    ContendedError,
    cause_to_show,
    foreign_errors,
    translated,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from mlflow import MlflowClient

Answer = TypeVar("Answer")
Found = TypeVar("Found")

_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
#: Set around each call unless the process or the connection says otherwise: workers have no terminal for
#: links, do not send usage data, and a value that is too long is an error instead of being cut.
_QUIET = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_TRUNCATE_LONG_VALUES": "false",
}
_SECRET_NAME = re.compile(r"PASSWORD|TOKEN|SECRET|KEY", re.I)
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
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
    :raises RegistryError: the URI cannot hold a registry that several processes write.
    """

    def __init__(
        self,
        tracking_uri: str,
        *,
        registry_uri: str | None = None,
        environment: Mapping[str, str] | None = None,
        artifact_root: str | None = None,
    ) -> None:
        self.tracking_uri = tracking_uri
        self.registry_uri = registry_uri or tracking_uri
        self._environment = dict(environment or {})
        self._secrets = _secrets(tracking_uri, self.registry_uri, self._environment)
        for uri in {self.tracking_uri, self.registry_uri}:
            _check_uri(uri)
        self._artifact_root = artifact_root
        self._client: MlflowClient | None = None

    @property
    def address(self) -> str:
        """The tracking URI without its password."""
        return without_password(self.tracking_uri)

    @property
    def is_server(self) -> bool:
        """Whether a server, not this process, writes the database."""
        return self.tracking_uri.startswith(("http://", "https://"))

    def ask(self, what: str, call: Callable[[MlflowClient], Answer]) -> Answer:
        """Make a call that may be repeated: it reads, or sets what is set already to the same.

        :param what: what is being done, for errors: "reading the ledger of 'flights'".
        :raises TransientServiceError: MLflow could not be reached or failed for now.
        :raises RegistryError: MLflow refused.
        """
        started = time.monotonic()
        while True:
            try:
                return self._call(what, call, os.environ.get(_RETRIES, "1"))
            except ContendedError:
                if time.monotonic() - started > _CONTENTION_SECONDS:
                    raise
                # What others wrote is there by now; not all at once again.
                time.sleep(random.uniform(0.001, 0.05))

    def tell(self, what: str, call: Callable[[MlflowClient], Answer]) -> Answer:
        """Make a call that creates or moves something: one request, whatever becomes of its reply.

        Errors as `ask`; after TransientServiceError the caller reads back what happened. Its child
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
        if root is None and (database := _sqlite_file(self.tracking_uri)) is not None:
            root = (database.parent / "mlartifacts").as_uri()
        if root is None:
            raise RegistryError(
                f"MLflow at {self.address} is a bare database, and no folder is named for the models' files",
                hint="Run an MLflow server on it, or set artifact_root in the connection.",
            )
        return f"{root.rstrip('/')}/{quote(experiment, safe='')}"

    def _call(self, what: str, call: Callable[[MlflowClient], Answer], retries: str) -> Answer:
        with self._settings(retries):
            try:
                return call(self._connected())
            except foreign_errors() as error:
                raise translated(error, what, self.address, self._secrets) from cause_to_show(error, self._secrets)

    def _connected(self) -> MlflowClient:
        if self._client is None:
            if (database := _sqlite_file(self.tracking_uri)) is not None and not database.parent.is_dir():
                # MLflow itself tries for minutes to open such a file.
                raise RegistryError(
                    f"the folder of MLflow's database is missing: {database.parent}",
                    hint="Create it, or correct the connection's URI.",
                )
            from mlflow import MlflowClient

            self._client = MlflowClient(self.tracking_uri, self.registry_uri)
        return self._client

    @contextmanager
    def _settings(self, retries: str) -> Iterator[None]:
        quiet = {name: value for name, value in _QUIET.items() if name not in os.environ}
        wanted = {**quiet, **self._environment, _RETRIES: retries}
        with _ENVIRONMENT_LOCK:
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

    :param make: makes it by one `tell`; another process may have been quicker.
    :raises TransientServiceError: it is not there, and MLflow did not say why for good.
    """
    started = time.monotonic()
    while True:
        trouble: MLOpsError | None = None
        try:
            make()
        except (AlreadyThereError, TransientServiceError) as error:
            trouble = error
        if (found := find()) is not None:
            return found
        if not isinstance(trouble, ContendedError) or time.monotonic() - started > _CONTENTION_SECONDS:
            raise trouble or TransientServiceError(f"MLflow does not show what it made while {what}")


def without_password(uri: str) -> str:
    """Return the URI as it may be shown.

    >>> without_password("postgresql://me:hush@db:5432/mlflow")
    'postgresql://me:***@db:5432/mlflow'
    """
    parts = urlsplit(uri)
    if parts.password is None:
        return uri
    user, _, host = parts.netloc.rpartition("@")
    # By text, since urlunsplit changes the slashes of sqlite:////.
    return uri.replace(f"{user}@{host}", f"{user.partition(':')[0]}:***@{host}", 1)


def _secrets(tracking_uri: str, registry_uri: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    found = {value for name, value in environment.items() if _SECRET_NAME.search(name)}
    for uri in (tracking_uri, registry_uri):
        if password := urlsplit(uri).password:
            found |= {password, unquote(password)}
    return tuple(sorted((value for value in found if value), key=len, reverse=True))


def _check_uri(uri: str) -> None:
    scheme = urlsplit(uri).scheme.partition("+")[0]
    expected = "http(s)://host:port of a server, or a database such as sqlite:////data/mlflow.db"
    if scheme in ("", "file"):
        # Its parameters are checked and then written: two writers can both win.
        raise RegistryError(
            "MLflow's file store cannot hold a ledger: two processes may both win a write",
            got=uri,
            expected=expected,
        )
    if scheme not in ("http", "https", *_DATABASES):
        raise RegistryError("the MLflow URI is of an unknown kind", got=without_password(uri), expected=expected)
    if scheme == "sqlite" and _sqlite_file(uri) is None:
        raise RegistryError("an in-memory database is seen by one process only", got=uri, expected=expected)


def _sqlite_file(uri: str) -> Path | None:
    if urlsplit(uri).scheme.partition("+")[0] != "sqlite":
        return None
    path = unquote(uri.partition("://")[2].partition("?")[0]).removeprefix("/")
    return Path(path).absolute() if path and path != ":memory:" else None
