"""Files in MLflow: texts that a run keeps among its artifacts, and a version's copy of its model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.exceptions import RegistryError
from airflow_mlops_provider.registry.errors import NotThereError
from airflow_mlops_provider.registry.model_format import MODEL_FILE
from airflow_mlops_provider.storage import is_s3, temporary_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlflow import MlflowClient
    from mlflow.entities import Run

    from airflow_mlops_provider.registry.client import Connection


def keep_files(connection: Connection, run: Run, files: Mapping[str, str]) -> None:
    """Put texts into a run's artifacts; what was there under their names is replaced."""
    if not files:
        return
    run_id, location = str(run.info.run_id), str(run.info.artifact_uri)
    with temporary_folder("files") as folder:
        for name, text in files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        if connection.s3 is not None and is_s3(location):
            from airflow_mlops_provider.storage.addresses import s3_address
            from airflow_mlops_provider.storage.s3 import S3Objects

            objects = S3Objects(s3_address(location), connection.s3)
            for name in files:
                objects.put(name, folder / name)
            return
        connection.retried(
            f"storing the files of run {run_id}", lambda client: client.log_artifacts(run_id, str(folder))
        )


def evaluation_file(sha256: str) -> str:
    """Return the path, below its run's artifacts, of MLflow's copy of what was measured of a version."""
    return f"evaluation/{sha256}.json"


def download_copy(connection: Connection, model: str, version: int, name: str, folder: Path) -> Path:
    """Return MLflow's copy of a file of a version, put into a folder. What it holds is the caller's to check.

    :param name: `MODEL_FILE`, or a path below the artifacts of the version's run.
    :raises RegistryError: the version, or its file, is not there.
    """
    what = f"fetching {name} of version {version} of model {model!r}"
    missing = f"MLflow at {connection.address} has no {name} of version {version} of model {model!r}"
    try:
        location = connection.retried(what, lambda client: _location(client, model, version, name))
        if connection.s3 is not None and is_s3(location):
            from airflow_mlops_provider.storage.addresses import s3_address
            from airflow_mlops_provider.storage.s3 import S3Objects

            found = _copied(S3Objects(s3_address(location), connection.s3).read(name), folder)
        else:
            address = f"{location.rstrip('/')}/{name}"
            found = connection.retried(what, lambda client: _download(client, address, folder))
    except NotThereError as error:
        raise RegistryError(missing, got=str(error)) from error
    if found is None:
        raise RegistryError(missing, got=location)
    return found


def _copied(content: bytes | None, folder: Path) -> Path | None:
    if content is None:
        return None
    file = folder / "copy"
    file.write_bytes(content)
    return file


def _location(client: MlflowClient, model: str, version: int, name: str) -> str:
    found = client.get_model_version(model, str(version))
    if name != MODEL_FILE:
        return str(client.get_run(found.run_id).info.artifact_uri)
    if found.model_id:
        return str(client.get_logged_model(found.model_id).artifact_location)
    return str(client.get_model_version_download_uri(model, str(version)))


def _download(client: MlflowClient, address: str, folder: Path) -> Path | None:
    from pathlib import Path

    from mlflow.artifacts import download_artifacts

    try:
        return Path(download_artifacts(artifact_uri=address, dst_path=str(folder), tracking_uri=client.tracking_uri))
    except OSError as error:
        if isinstance(error, FileNotFoundError) or "No such file" in str(error):
            return None  # for artifacts in a folder, MLflow raises it without an errno
        raise
