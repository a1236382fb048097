"""MLflow's addresses: which can hold a ledger, what of them may be shown."""

from __future__ import annotations

import re
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from airflow_mlops_provider.exceptions import RegistryError

if TYPE_CHECKING:
    from collections.abc import Mapping

#: MLflow's own variables, which it reads from nowhere else.
USERNAME, PASSWORD, TOKEN = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"
_SECRET_NAME = re.compile(r"PASSWORD|TOKEN|SECRET|KEY", re.I)
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


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


def check_uri(uri: str) -> None:
    """Refuse what several processes cannot keep a ledger in.

    :raises RegistryError: it is neither a server nor a database that locks.
    """
    scheme = urlsplit(uri).scheme.partition("+")[0]
    expected = "http(s)://host:port of a server, or a database such as sqlite:////data/mlflow.db"
    if scheme in ("", "file"):
        # Its parameters are checked and then written: two writers can both win.
        raise RegistryError(
            "MLflow's file store cannot hold a ledger: two processes may both win a write",
            got=uri,
            expected=expected,
            hint=None if scheme else "Without a scheme, as in http://…, it is a folder to MLflow.",
        )
    if scheme not in ("http", "https", *_DATABASES):
        raise RegistryError("the MLflow URI is of an unknown kind", got=without_password(uri), expected=expected)
    if scheme == "sqlite" and sqlite_file(uri) is None:
        raise RegistryError("an in-memory database is seen by one process only", got=uri, expected=expected)


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a SQLite database, None for anything else."""
    if urlsplit(uri).scheme.partition("+")[0] != "sqlite":
        return None
    path = unquote(uri.partition("://")[2].partition("?")[0]).removeprefix("/")
    return Path(path).absolute() if path and path != ":memory:" else None


def secrets_in(uris: tuple[str, ...], environment: Mapping[str, str]) -> frozenset[str]:
    """Return every text of these that nobody may see."""
    found = {value for name, value in environment.items() if _SECRET_NAME.search(name)}
    logins = {(environment.get(USERNAME, ""), environment.get(PASSWORD, ""))}
    for uri in uris:
        if password := urlsplit(uri).password:
            found |= {password, unquote(password)}
            logins.add((unquote(urlsplit(uri).username or ""), unquote(password)))
    # As they travel in the header of a request.
    found |= {b64encode(f"{user}:{password}".encode()).decode() for user, password in logins if password}
    return frozenset(value for value in found if value)


def who_asks(uri: str, environment: Mapping[str, str]) -> str | None:
    """Return who asks, in words; None when the server is not told.

    >>> who_asks("http://mlflow", {"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": "hush"})
    "user 'ann'"
    """
    if user := environment.get(USERNAME) or unquote(urlsplit(uri).username or ""):
        return f"user {user!r}"
    return "the token" if environment.get(TOKEN) else None
