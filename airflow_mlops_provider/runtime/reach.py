"""How a container reaches the artifact store: by a folder that it sees, or by keys that it is given in private."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from airflow_mlops_provider.storage import S3Options, is_s3, local_path

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mlops_provider.storage import ArtifactStore


def folder_of(store: ArtifactStore) -> Path | None:
    """Return the folder of a store on this machine, None of one in S3."""
    return None if is_s3(store.root) else local_path(store.root).resolve()


def uri_of(store: ArtifactStore) -> str:
    """Return the store's URI, which means the same wherever it is read."""
    folder = folder_of(store)
    return store.root if folder is None else folder.as_uri()


def private_options(store: ArtifactStore) -> dict[str, str]:
    """Return how S3 is reached, with what this worker finds by botocore's own chain: a container has no such chain."""
    options: S3Options = store.options
    if is_s3(store.root) and options.access_key is None:
        options = _found(options)
    return {name: value for name, value in asdict(options).items() if value is not None}


def _found(options: S3Options) -> S3Options:
    import boto3

    session = boto3.session.Session()
    environment = os.environ.get
    options = replace(
        options,
        endpoint_url=options.endpoint_url or environment("AWS_ENDPOINT_URL_S3") or environment("AWS_ENDPOINT_URL"),
        region_name=options.region_name or session.region_name,
        ca_bundle=options.ca_bundle or environment("AWS_CA_BUNDLE"),
    )
    found = session.get_credentials()
    if found is None:
        return options  # it may have a role of its own
    keys = found.get_frozen_credentials()
    return replace(options, access_key=keys.access_key, secret_key=keys.secret_key, session_token=keys.token)
