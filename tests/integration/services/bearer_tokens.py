"""Bearer tokens for a real MLflow server: its configuration names `authenticate` as its `authorization_function`.

The file that MLOPS_TEST_TOKENS names says whose each token is, and until when: `{"token": ["ann", 1700000000.0]}`.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

VARIABLE = "MLOPS_TEST_TOKENS"


def authenticate() -> Any:
    """Know who asks by a token that has not expired; without a token, by MLflow's own basic authentication."""
    from flask import Response, request
    from mlflow.server.auth import authenticate_request_basic_auth
    from werkzeug.datastructures import Authorization

    given = request.authorization
    if given is None or given.type != "bearer":
        return authenticate_request_basic_auth()
    user, until = json.loads(Path(os.environ[VARIABLE]).read_text(encoding="utf-8")).get(given.token, ("", 0))
    if until < time.time():
        return Response("the token has expired", 401, {"WWW-Authenticate": 'Bearer error="invalid_token"'})
    return Authorization("basic", {"username": user, "password": ""})
