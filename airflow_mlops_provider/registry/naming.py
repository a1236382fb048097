"""How runs are told apart, and what MLflow takes as keys and values."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from pydantic import JsonValue

LINEAGE_TAG = "mlops.lineage"
ROLE_TAG = "mlops.role"
STEP_TAG = "mlops.step_key"
DUPLICATE_TAG = "mlops.duplicate"
PARENT_TAG = "mlflow.parentRunId"

# MLflow's limits, in characters.
_MAX_PARAM = 6000
_MAX_TAG = 8000
_MAX_KEY = 250
_ILLEGAL = re.compile(r"[^\w\-. :/]")


def legal_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values under keys that MLflow takes; a key that had to change ends in its digest.

    >>> legal_keys({"roc_auc": 1, "late?": 2})
    {'roc_auc': 1, 'late_-884c4c': 2}
    """
    return {_legal_key(key): value for key, value in values.items()}


def _legal_key(key: str) -> str:
    # MLflow takes keys that are clean relative paths.
    clean_path = posixpath.normpath(key) == key and not key.startswith((".", "/"))
    if clean_path and len(key) <= _MAX_KEY and not _ILLEGAL.search(key):
        return key
    clean = _ILLEGAL.sub("_", key).replace("/", "_").lstrip(".")
    return f"{clean[: _MAX_KEY - 7]}-{hashlib.sha256(key.encode()).hexdigest()[:6]}"


def param_text(value: JsonValue, limit: int = _MAX_PARAM) -> str:
    """Return a parameter as text; what MLflow could not hold ends in a note of what is missing.

    >>> param_text({"a": [1, None]})
    '{"a": [1, null]}'
    >>> param_text("x" * 50, limit=40)
    'xxxxxxxxx... (shortened, 50 characters)'
    """
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) <= limit:
        return text
    note = f"... (shortened, {len(text)} characters)"
    return text[: limit - len(note) - 1] + note


def own_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags as MLflow takes them."""
    return {_legal_key(key): param_text(value, _MAX_TAG) for key, value in tags.items()}


def milliseconds(moment: datetime | None) -> int | None:
    """Return a moment as MLflow has it."""
    return None if moment is None else round(moment.timestamp() * 1000)
