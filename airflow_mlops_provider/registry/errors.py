"""What MLflow's errors mean: worth another try, already there, not there, or a person must act."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import RegistryError, TransientServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_mlops_provider.exceptions import MLOpsError

_TRANSIENT_STATUS = frozenset({429, 500, 502, 503, 504})
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
_HINTS = {
    "UNAUTHENTICATED": "Check the connection's login and password.",
    "CUSTOMER_UNAUTHORIZED": "Check the connection's login and password.",
    "PERMISSION_DENIED": "The connection's user may not do this.",
}


class AlreadyThereError(RegistryError):
    """MLflow holds something of that name."""


class NotThereError(RegistryError):
    """MLflow holds nothing of that name."""


class ContendedError(TransientServiceError):
    """Another process wrote the same thing at this moment; MLflow's upserts are not atomic."""


def translated(error: BaseException, what: str, address: str, secrets: tuple[str, ...]) -> MLOpsError:
    """Return our error for one of MLflow's.

    :param what: what was being done, as in "reading the ledger".
    :param address: the tracking URI as it may be shown.
    :param secrets: texts that are blotted out.
    """
    said = str(error)
    for secret in secrets:
        said = said.replace(secret, "***")
    code = str(getattr(error, "error_code", ""))
    if code not in _KINDS:
        if _CONTENTION.search(said):
            return ContendedError(f"MLflow at {address} was busy while {what}", got=said)
        if _is_transient(error, address.startswith("http")):
            return TransientServiceError(
                f"MLflow at {address} did not answer while {what}",
                got=said,
                hint="Check that it runs and can be reached from this worker.",
            )
    if isinstance(error, ImportError):
        return RegistryError(
            f"MLflow at {address} needs a package that is not installed",
            got=said,
            hint="Install the database's driver where the workers run.",
        )
    kind = _KINDS.get(code, RegistryError)
    return kind(f"MLflow at {address} refused while {what}", got=said, hint=_HINTS.get(code))


def cause_to_show(error: BaseException, secrets: tuple[str, ...]) -> BaseException | None:
    """Return the error as the cause of ours, None when it holds a secret: a log shows the words of every cause."""
    told = [str(link) for link in _chain(error)]
    return None if any(secret in words for words in told for secret in secrets) else error


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


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _is_transient(error: BaseException, is_server: bool) -> bool:
    names = {f"{kind.__module__}.{kind.__name__}" for link in _chain(error) for kind in type(link).__mro__}
    if "requests.exceptions.SSLError" in names:
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
    return bool(names & unreachable) or (is_server and _status(error) in _TRANSIENT_STATUS)


def _status(error: BaseException) -> int | None:
    response: Any = getattr(error, "response", None)  # of requests and botocore
    if isinstance(response, dict):
        return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if response is not None:
        return int(response.status_code)
    read: Callable[[], int] | None = getattr(error, "get_http_status_code", None)
    return read() if read is not None else None
