"""What MLflow's errors mean: worth another try, already there, not there, or a person must act."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_mlops_provider.exceptions import RegistryError, TransientServiceError
from airflow_mlops_provider.redaction import chain, hide

if TYPE_CHECKING:
    from collections.abc import Callable, Set

    from airflow_mlops_provider.exceptions import MLOpsError

_TRANSIENT_STATUS = frozenset({408, 429, 500, 502, 503, 504})
#: What databases say under the name OperationalError that no retry heals: a wrong file, name, login or password.
LASTING_SQL = re.compile(
    r"unable to open database|no such (table|column)|readonly database|not a database"
    r"|authentication failed|access denied|login failed|no pg_hba.conf entry|does not exist|unknown (database|column)",
    re.I,
)
#: What SQLite, PostgreSQL, MySQL and SQL Server say, here or through a server.
_CONTENTION = re.compile(
    r"UNIQUE constraint failed|duplicate key|Duplicate entry|database is locked|could not serialize|[Dd]eadlock"
)
_TLS = "requests.exceptions.SSLError"
_UNAUTHENTICATED = frozenset({"UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"})
#: What MLflow's basic authentication wants, by the request's path (mlflow/server/auth/__init__.py): the first that
#: fits. It says no more itself than "Permission denied".
_PERMISSIONS = (
    (re.compile(r"/(experiments|registered-models)/create\b"), "permission to create {}s"),
    (re.compile(r"/(registered-model|model-version)s/(get|search)"), "READ on the registered model"),
    (re.compile(r"/(registered-model|model-version)s"), "EDIT on the registered model, READ on the model's experiment"),
    (re.compile(r"/(experiments|runs)/(get|search)"), "READ on the experiment"),
    (re.compile(r"/(experiments|runs)/(delete|restore)"), "MANAGE on the experiment"),
    (re.compile(r"/(experiments|runs|logged-models|mlflow-artifacts)\b"), "EDIT on the experiment"),
)


class Endpoint(NamedTuple):
    """Who asks which MLflow.

    :param address: the tracking URI as it may be shown.
    :param connection: what the connection is called: "connection 'mlflow_default'".
    :param who: "user 'ann'", "the token"; None when requests carry no credentials.
    """

    address: str
    connection: str
    who: str | None


class AlreadyThereError(RegistryError):
    """MLflow holds something of that name."""


class NotThereError(RegistryError):
    """MLflow holds nothing of that name."""


class DamagedError(RegistryError):
    """What was written once is not there any more as it was written, or was written by others."""


class NotAuthenticatedError(RegistryError):
    """MLflow does not know who asks, or not by this password."""


class ForbiddenError(RegistryError):
    """MLflow knows who asks, and does not let them do this."""


class ContendedError(TransientServiceError):
    """Another process wrote the same thing at this moment; MLflow's upserts are not atomic."""


def translated(error: BaseException, what: str, endpoint: Endpoint, secrets: Set[str]) -> MLOpsError:
    """Return our error for one of MLflow's.

    :param what: what was being done, as in "reading the ledger".
    :param secrets: texts that are blotted out.
    """
    message = hide(str(error), secrets)
    address, code = endpoint.address, str(getattr(error, "error_code", ""))
    is_server = address.startswith("http")
    if is_server and (refused := _refused(error, code, message, what, endpoint)) is not None:
        return refused
    if code not in _KINDS:
        if _CONTENTION.search(message):
            return ContendedError(f"MLflow at {address} was busy while {what}", got=message)
        if _is_transient(error, is_server):
            return TransientServiceError(
                f"MLflow at {address} did not answer while {what}",
                got=message,
                hint="Check that it is running and reachable from this worker.",
            )
    if _TLS in _names(error):
        return RegistryError(
            f"the connection to MLflow at {address} is not secure",
            got=message,
            hint=f"Set ca_bundle in {endpoint.connection} to the file of the CA that signed its certificate.",
        )
    if isinstance(error, ImportError):
        return RegistryError(
            f"MLflow at {address} needs a package that is not installed",
            got=message,
            hint="Install the database driver on the workers.",
        )
    return _KINDS.get(code, RegistryError)(f"MLflow at {address} refused while {what}", got=message)


def _refused(error: BaseException, code: str, message: str, what: str, endpoint: Endpoint) -> RegistryError | None:
    """Return the error of a server that lets us not in, or is none of MLflow's; None for any other."""
    address, connection, who = endpoint
    status = _status(error)
    if code in _UNAUTHENTICATED or status == 401:
        if who is None:
            return NotAuthenticatedError(
                f"MLflow at {address} requires authentication for {what}, but {connection} has neither login nor "
                "password",
                got=message,
                hint="Give it login and password, or a token as password without a login.",
            )
        return NotAuthenticatedError(
            f"MLflow at {address} did not accept {who} while {what}",
            got=message,
            hint=f"Correct {'the password' if who == 'the token' else 'login and password'} of {connection}.",
        )
    if code == "PERMISSION_DENIED" or status == 403:
        user = who or "a nameless user"
        return ForbiddenError(
            f"MLflow at {address} does not let {user} do this: {what}",
            got=message,
            expected=_permission(message),
            hint=f"Grant it to {user} in MLflow, or give {connection} another user.",
        )
    if "was not in a valid JSON format" in message:
        return RegistryError(
            f"the server at {address} is not MLflow", got=message, hint=f"Correct the tracking URI of {connection}."
        )
    return None


def _permission(message: str) -> str | None:
    for path, wanted in _PERMISSIONS:
        if (match := path.search(message)) is not None:
            return wanted.format(match[1].removesuffix("s").replace("-", " "))
    return None


_KINDS = {"RESOURCE_ALREADY_EXISTS": AlreadyThereError, "RESOURCE_DOES_NOT_EXIST": NotThereError}


def foreign_errors() -> tuple[type[BaseException], ...]:
    """Return what MLflow's calls raise; its libraries are imported by then, or cannot have raised."""
    # requests' errors are OSErrors; a database driver that is not installed is an ImportError.
    kinds: list[type[BaseException]] = [OSError, ImportError]
    wanted = {
        "mlflow.exceptions": ("MlflowException",),
        "sqlalchemy.exc": ("SQLAlchemyError",),
        "botocore.exceptions": ("BotoCoreError", "ClientError"),
        "boto3.exceptions": ("Boto3Error",),
    }
    for module, names in wanted.items():
        if (loaded := sys.modules.get(module)) is not None:
            kinds.extend(getattr(loaded, name) for name in names)
    return tuple(kinds)


def _names(error: BaseException) -> set[str]:
    return {f"{kind.__module__}.{kind.__name__}" for link in chain(error) for kind in type(link).__mro__}


def _is_transient(error: BaseException, is_server: bool) -> bool:
    names = _names(error)
    if _TLS in names:
        return False
    if "sqlalchemy.exc.OperationalError" in names:
        return LASTING_SQL.search(str(error)) is None
    unreachable = {
        "builtins.ConnectionError",
        "builtins.TimeoutError",
        "requests.exceptions.ConnectionError",
        "requests.exceptions.Timeout",
        "requests.exceptions.RetryError",
        "requests.exceptions.ChunkedEncodingError",
        "botocore.exceptions.HTTPClientError",
    }
    # boto3 wraps S3's error, and MLflow may wrap that.
    by_s3 = any(_status(link) in _TRANSIENT_STATUS for link in chain(error) if _is_of_botocore(link))
    return bool(names & unreachable) or by_s3 or (is_server and _status(error) in _TRANSIENT_STATUS)


def _is_of_botocore(error: BaseException) -> bool:
    return isinstance(getattr(error, "response", None), dict)


def _status(error: BaseException) -> int | None:
    response: Any = getattr(error, "response", None)  # of requests and botocore
    if _is_of_botocore(error):
        return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if response is not None:
        return int(response.status_code)
    read: Callable[[], int] | None = getattr(error, "get_http_status_code", None)
    return read() if read is not None else None
