"""MLflow's addresses: which can hold a ledger, what of them may be shown."""

from __future__ import annotations

import re
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from airflow_mlops_provider.exceptions import RegistryError
from airflow_mlops_provider.redaction import NO_PASSWORDS, is_database_address, login_of, secrets_in, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

#: MLflow's own variables, which it reads from nowhere else.
USERNAME, PASSWORD, TOKEN = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"
_SECRET_NAME = re.compile(r"PASSWORD|TOKEN|SECRET|KEY", re.I)
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


def check_uri(uri: str) -> None:
    """Refuse what several processes cannot keep a ledger in, and what libraries would read in different ways.

    :raises RegistryError: it is neither a server nor a database that locks.
    """
    scheme = _scheme(uri)
    expected = "http(s)://host:port of a server, or a database such as sqlite:////data/mlflow.db"
    if scheme in ("", "file"):
        # Its parameters are checked and then written: two writers can both win.
        raise RegistryError(
            "MLflow's file store cannot hold a ledger: two processes could write the same entry",
            got=shown(uri),
            expected=expected,
            hint=None if scheme else "MLflow takes a URI without a scheme for a folder. Add one, such as http://.",
        )
    if scheme not in ("http", "https", *_DATABASES):
        raise RegistryError("the MLflow URI has an unknown scheme", got=shown(uri), expected=expected)
    if scheme == "sqlite" and sqlite_file(uri) is None:
        raise RegistryError("an in-memory database is visible to one process only", got=shown(uri), expected=expected)
    if not _is_readable(uri, scheme):
        raise RegistryError(
            "the MLflow URI cannot be read",
            got=shown(uri),
            expected=expected,
            hint="Give login and password in the fields of the connection, or percent-encode special characters: "
            "# as %23, / as %2F, ? as %3F, @ as %40, : as %3A.",
        )


def _scheme(uri: str) -> str:
    return uri.partition("://")[0].partition("+")[0].strip().lower() if "://" in uri else ""


def _is_readable(uri: str, scheme: str) -> bool:
    """Return whether MLflow and its libraries take such an address without an error that repeats it."""
    try:
        parts = urlsplit(uri)
        if scheme in ("http", "https"):
            return bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
    return is_database_address(uri)


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a SQLite database, None for anything else."""
    if _scheme(uri) != "sqlite":
        return None
    path = unquote(uri.partition("://")[2].partition("?")[0]).removeprefix("/")
    return Path(path).absolute() if path and path != ":memory:" else None


def connection_secrets(uris: tuple[str, ...], environment: Mapping[str, str]) -> frozenset[str]:
    """Return every text of these that nobody may see."""
    found = {value for name, value in environment.items() if _SECRET_NAME.search(name)}
    user, password = environment.get(USERNAME, ""), environment.get(PASSWORD, "")
    if password:
        # As they travel in the header of a request.
        found.add(b64encode(f"{user}:{password}".encode()).decode())
    return frozenset(value for value in found if value).union(*map(secrets_in, uris))


def who_asks(uri: str, environment: Mapping[str, str]) -> str | None:
    """Return who sends the requests, in words; None when they carry no credentials.

    >>> who_asks("http://mlflow", {"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": "hush"})
    "user 'ann'"
    >>> who_asks("http://token@mlflow", {})
    'the token'
    """
    if user := environment.get(USERNAME):
        return f"user {user!r}"
    login = login_of(uri)
    if login is not None and login.user and login.password not in (None, *NO_PASSWORDS):
        return f"user {login.user!r}"
    return "the token" if environment.get(TOKEN) or login is not None else None
