"""Artifacts and source files: the only place that opens their URIs, on local disks and on S3.

A data object is named by its own sha256, so writers that race write the same bytes to the same name.
A receipt refers to data objects and is written last: it is the commit point of a step. Readers check
size and digest. Nothing is ever visible half-written.
"""

from __future__ import annotations

from airflow_mlops_provider.storage.addresses import is_s3, local_path, safe_key
from airflow_mlops_provider.storage.artifacts import ArtifactStore
from airflow_mlops_provider.storage.disk_errors import guarded, of_disk
from airflow_mlops_provider.storage.local import sha256_of
from airflow_mlops_provider.storage.s3_client import S3Options
from airflow_mlops_provider.storage.scratch import temporary_folder
from airflow_mlops_provider.storage.sources import SourceFile, list_files, local_copy

__all__ = [
    "ArtifactStore",
    "S3Options",
    "SourceFile",
    "guarded",
    "is_s3",
    "list_files",
    "local_copy",
    "local_path",
    "of_disk",
    "safe_key",
    "sha256_of",
    "temporary_folder",
]
