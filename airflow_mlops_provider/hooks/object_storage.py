"""Airflow settings to the artifact store."""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import BaseHook, conf

from airflow_mlops_provider.storage import ArtifactStore


class ObjectStorageHook(BaseHook):
    """Give the store of artifacts and receipts.

    :param root: URI of the store; `[mlops] artifacts_uri` when left out, else `mlops` in AIRFLOW_HOME.
    """

    def __init__(self, root: str | None = None) -> None:
        super().__init__()
        self.root = root

    def store(self) -> ArtifactStore:
        """Return the artifact store."""
        return ArtifactStore(self.root or conf.get("mlops", "artifacts_uri", fallback="") or _default_root())


def _default_root() -> str:
    return str(Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser() / "mlops")
