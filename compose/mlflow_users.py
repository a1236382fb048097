"""Makes the MLflow user that Airflow's tasks are, or renews its password; safe to repeat.

Passwords come by the environment: MLFLOW_AIRFLOW_PASSWORD, and MLFLOW_ADMIN_PASSWORD for who makes the user.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import urllib.error
import urllib.request

USER = "airflow"


def make(server: str) -> None:
    """Make the user, who may read everything, and change only what it has created itself."""
    wanted = {"username": USER, "password": os.environ["MLFLOW_AIRFLOW_PASSWORD"]}
    try:
        _request("POST", f"{server}/api/2.0/mlflow/users/create", wanted)
    except urllib.error.HTTPError as error:
        if b"RESOURCE_ALREADY_EXISTS" not in error.read():
            raise
        _request("PATCH", f"{server}/api/2.0/mlflow/users/update-password", wanted)


def _request(method: str, url: str, body: dict[str, str]) -> None:
    request = urllib.request.Request(url, data=json.dumps(body).encode(), method=method)
    login = base64.b64encode(f"admin:{os.environ['MLFLOW_ADMIN_PASSWORD']}".encode()).decode()
    request.add_header("Authorization", f"Basic {login}")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30):
        pass


if __name__ == "__main__":
    make(sys.argv[1])
