"""What a long computation has done so far, so that it goes on there after a kill."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.bounds import parse_json
from airflow_mlops_provider.exceptions import ArtifactError
from airflow_mlops_provider.failpoints import failpoint
from airflow_mlops_provider.storage.addresses import safe_key

if TYPE_CHECKING:
    from airflow_mlops_provider.storage.artifacts import ArtifactStore


class Journal:
    """Records of one computation, each a small object of its own: visible whole or not at all, and never changed.

    There is no list and no head: who computes asks for each record by the name that only it can have, before it
    computes it. So nothing is lost when two processes write at once: both write the same.

    :param key: identifies the computation: its settings, its data, its code.

    >>> from tempfile import TemporaryDirectory
    >>> from airflow_mlops_provider.storage import ArtifactStore
    >>> with TemporaryDirectory() as folder:
    ...     journal = Journal(ArtifactStore(folder), "churn", "0" * 64)
    ...     journal.write("final-0001", {"score": 0.5})
    ...     journal.read("final-0001"), journal.read("final-0002")
    ({'score': 0.5}, None)
    """

    def __init__(self, store: ArtifactStore, pipeline: str, key: str) -> None:
        self._store = store
        self._folder = f"journals/{pipeline}/{key}"

    def read(self, name: str) -> Any:
        """Return a record, None when there is none or it cannot be read."""
        try:
            raw = self._store.objects.read(self._key(name))
            return None if raw is None else parse_json(raw)
        except (ValueError, ArtifactError):
            return None  # not ours; it is written anew

    def write(self, name: str, record: Any) -> None:
        """Write a record."""
        with self._store.workspace() as folder:
            file = folder / "record.json"
            file.write_text(json.dumps(record, allow_nan=False, sort_keys=True), encoding="utf-8")
            failpoint("search.trial.before")
            self._store.objects.put(self._key(name), file)
            failpoint("search.trial.after")

    def _key(self, name: str) -> str:
        return safe_key(f"{self._folder}/{name}.json")
