"""Where the pages read: the pipeline files, MLflow and the artifact store, as tasks do."""

from __future__ import annotations

import logging
import time
from threading import Lock
from typing import TYPE_CHECKING

from fastapi import HTTPException

from airflow_mlops_provider.dag_templates.folder import pipelines_folder
from airflow_mlops_provider.exceptions import SpecError, TransientServiceError, printable
from airflow_mlops_provider.hooks.mlflow import MlflowHook
from airflow_mlops_provider.hooks.object_storage import ObjectStorageHook
from airflow_mlops_provider.pipelines import load_pipeline, pipeline_files

if TYPE_CHECKING:
    from airflow_mlops_provider.registry import Registry
    from airflow_mlops_provider.spec import Pipeline
    from airflow_mlops_provider.storage import ArtifactStore

log = logging.getLogger(__name__)

#: Seconds for which a page waits for MLflow's answer, and for which an MLflow that did not answer is left alone.
_PATIENCE, _ALONE = 5, 15
_LOCK = Lock()
_LOCKS: dict[str, Lock] = {}
#: When an MLflow did not answer, and what the pages say about it, by connection.
_AWAY: dict[str, tuple[float, str]] = {}


def every_pipeline() -> list[Pipeline]:
    """Return the pipelines by name; a file with a mistake is left out, as it has no DAG either."""
    found = []
    for file in pipeline_files(pipelines_folder()):
        try:
            found.append(load_pipeline(file))
        except SpecError as error:
            log.warning("No page for %s: %s", printable(str(file)), error)
    return found


def one_pipeline(name: str) -> Pipeline:
    """Return a pipeline.

    :raises HTTPException: 404, there is none of that name.
    :raises SpecError: its file is wrong.
    """
    found = pipeline_named(name)
    if found is None:
        raise HTTPException(404, "Pipeline not found.")
    return found


def pipeline_named(name: str) -> Pipeline | None:
    """Return a pipeline; None when there is none of that name.

    :raises SpecError: its file is wrong.
    """
    files = {file.stem: file for file in pipeline_files(pipelines_folder())}
    return load_pipeline(files[name]) if name in files else None


def registry(conn_id: str) -> Registry:
    """Return the registry behind a connection, as it is defined now, which has just answered.

    MLflow itself keeps its databases open. One that did not answer is left alone for a while: Airflow's own API shares
    its threads with these pages, and everybody who opens one would hold another. Pages wait for each other while one of
    them checks whether MLflow is there, and no longer.

    :raises TransientServiceError: it does not answer, or did not a moment ago.
    """
    found = MlflowHook(conn_id).registry(at_most=_PATIENCE)
    with _LOCK:
        lock = _LOCKS.setdefault(conn_id, Lock())
    with lock:
        since, trouble = _AWAY.get(conn_id, (0.0, None))
        if trouble is not None and time.monotonic() - since < _ALONE:
            raise TransientServiceError(trouble)
        try:
            found.ping()
        except TransientServiceError as error:
            _AWAY[conn_id] = time.monotonic(), str(error)
            raise
        _AWAY.pop(conn_id, None)
    return found


def store() -> ArtifactStore:
    """Return the artifact store."""
    return ObjectStorageHook().store()
