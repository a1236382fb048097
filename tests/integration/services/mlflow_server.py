"""A real MLflow server on loopback: open or with basic auth, on SQLite or another database, artifacts here or on S3."""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services import bearer_tokens
from services.daemons import daemon

from local_processes import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ADMIN = "admin"


@dataclass(frozen=True)
class MlflowServer:
    """A running server.

    :param url: where it listens, such as `http://127.0.0.1:5000`.
    :param folder: its database (`mlflow.db`, `auth.db`), its artifacts and its log (`server.log`).
    :param password: of the user; None for an open server.
    :param user: who sends requests.
    """

    url: str
    folder: Path
    password: str | None = None
    user: str = ADMIN

    def add_user(self, name: str, password: str) -> None:
        """Add a user, who may read everything and create experiments and models."""
        self.request("POST", "/api/2.0/mlflow/users/create", {"username": name, "password": password})

    def set_password(self, name: str, password: str) -> None:
        """Change a user's password: the old one is refused from now on."""
        self.request("PATCH", "/api/2.0/mlflow/users/update-password", {"username": name, "password": password})

    def grant(self, name: str, kind: str, resource: str, permission: str = "EDIT") -> None:
        """Let a user do more: with an `experiment`, by its id, or a `registered_model`, by its name."""
        wanted = {"username": name, "resource_type": kind, "resource_id": resource, "permission": permission}
        self.request("POST", "/api/3.0/mlflow/users/permissions/grant", wanted)

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send a request to the REST API, as the user."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data=data, method=method)
        request.add_header("Content-Type", "application/json")
        if self.password is not None:
            login = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            request.add_header("Authorization", f"Basic {login}")
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.loads(response.read() or b"null")


@contextmanager
def mlflow_server(
    folder: Path,
    *,
    database: str | None = None,
    password: str | None = None,
    artifacts: str | None = None,
    direct: bool = False,
    tokens: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[MlflowServer]:
    """Start a server, wait until it answers, stop it in the end.

    :param folder: for everything that it writes; a `mlflow.db` that is there is used.
    :param database: SQLAlchemy URI of its store; SQLite in the folder when left out.
    :param password: of the user `admin`, 12 characters at least, with basic authentication; without one it is open.
    :param artifacts: where it keeps artifacts, such as `s3://bucket/mlflow`; in the folder when left out.
    :param direct: clients go to the artifacts themselves, where the server would else do it for them.
    :param tokens: file of the bearer tokens that it takes besides passwords; see `bearer_tokens`.
    :param environment: settings besides ours, such as the credentials of the artifacts' store.
    :raises RuntimeError: it does not answer within 90 seconds; holds the end of its log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    place = artifacts or str(folder / "artifacts")
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", database or f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--no-serve-artifacts", "--default-artifact-root", place] if direct else []
    command += [] if direct else ["--serve-artifacts", "--artifacts-destination", place]
    settings = {
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        **(environment or {}),
    }
    if password is not None:
        command += ["--app-name", "basic-auth"]
        settings |= {
            "MLFLOW_AUTH_CONFIG_PATH": str(_auth_config(folder, with_tokens=tokens is not None)),
            "MLFLOW_AUTH_ADMIN_PASSWORD": password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
        }
    if tokens is not None:
        settings |= {bearer_tokens.VARIABLE: str(tokens), "PYTHONPATH": str(Path(__file__).parents[1])}
    url = f"http://127.0.0.1:{port}"
    with daemon(command, folder / "server.log", lambda: _answers(url), seconds=90, cwd=folder, env=settings):
        yield MlflowServer(url, folder, password)


def _auth_config(folder: Path, *, with_tokens: bool) -> Path:
    config = folder / "basic_auth.ini"
    settings = {
        "default_permission": "READ",
        "database_uri": f"sqlite:///{folder / 'auth.db'}",
        "admin_username": ADMIN,
        "grant_default_workspace_access": "true",
        # Else every request pays for the password's hash, which is slow by intent.
        "auth_cache_ttl_seconds": "60",
    }
    if with_tokens:
        settings["authorization_function"] = f"{bearer_tokens.__name__}:{bearer_tokens.authenticate.__name__}"
    lines = [f"{name} = {value}" for name, value in settings.items()]
    config.write_text("\n".join(["[mlflow]", *lines, ""]), encoding="utf-8")
    return config


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2):
            return True
    except OSError:
        return False
