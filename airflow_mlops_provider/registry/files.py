"""Texts that a run keeps among its artifacts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.storage import is_s3, temporary_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow.entities import Run

    from airflow_mlops_provider.registry.client import Connection


def keep_files(connection: Connection, run: Run, files: Mapping[str, str]) -> None:
    """Put texts into a run's artifacts; what was there under their names is replaced."""
    if not files:
        return
    run_id, location = str(run.info.run_id), str(run.info.artifact_uri)
    with temporary_folder("files") as scratch:
        folder = scratch / "files"  # beside the scratch space's own lock
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
        connection.ask(f"keeping the files of run {run_id}", lambda client: client.log_artifacts(run_id, str(folder)))
