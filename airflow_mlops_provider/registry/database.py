"""Whether a database can be opened at all: MLflow itself tries that for 102 seconds, also where no retry can help."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from airflow_mlops_provider.exceptions import RegistryError
from airflow_mlops_provider.registry.addresses import sqlite_file

if TYPE_CHECKING:
    from pathlib import Path

_HINT = "Let this user read and write it (chown, chmod), or correct the connection's URI."


def check_database(uri: str) -> None:
    """Open a bare database once; a server opens its own.

    :raises RegistryError: it is a file that cannot be opened, or may not.
    :raises SQLAlchemyError: the database does not let us in, or does not answer.
    """
    if uri.startswith(("http://", "https://")):
        return
    import sqlalchemy

    if (file := sqlite_file(uri)) is not None:
        _check_file(file)
    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool)
    with engine.connect() as connection:
        if file is not None:
            # To connect opens no file yet.
            connection.exec_driver_sql("PRAGMA schema_version")


def _check_file(file: Path) -> None:
    folder = file.parent
    mode = _mode(folder)
    if mode is None or not stat.S_ISDIR(mode):
        raise RegistryError(
            f"the folder of MLflow's database is missing: {folder}",
            hint="Create it, or correct the connection's URI.",
        )
    found = _mode(file)
    if found is not None and not stat.S_ISREG(found):
        raise RegistryError(f"MLflow's database is not a file: {file}", hint="Correct the connection's URI.")
    # A journal is written beside the database.
    wanted = {folder: os.W_OK | os.X_OK} if found is None else {folder: os.W_OK | os.X_OK, file: os.R_OK | os.W_OK}
    for path, access in wanted.items():
        if not os.access(path, access):
            raise _denied(path)


def _mode(path: Path) -> int | None:
    """Return what is there, None when nothing is.

    :raises RegistryError: this user may not even look.
    """
    try:
        return path.stat().st_mode
    except PermissionError as error:
        raise _denied(path) from error
    except (OSError, ValueError):
        return None


def _denied(path: Path) -> RegistryError:
    return RegistryError(
        f"MLflow's database cannot be used: this process (user id {os.geteuid()}) cannot read and write {path}",
        hint=_HINT,
    )
