"""The names of datasets, by OpenLineage's naming specification (https://openlineage.io/docs/spec/naming).

A name is that of something that lasts; which state of it an event is about, its version facet tells. So what the store
keeps under digests is named by what it is: `<store>/dataset/<pipeline>`. No name holds a login or a query.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from airflow_mlops_provider.redaction import endpoint
from airflow_mlops_provider.registry.addresses import sqlite_file
from airflow_mlops_provider.storage.addresses import is_s3, local_path, s3_address

if TYPE_CHECKING:
    from airflow_mlops_provider.results import ArtifactRef


class Place(NamedTuple):
    """Namespace and name of a dataset."""

    namespace: str
    name: str

    def below(self, *parts: str) -> Place:
        """Return the place under this one."""
        return Place(self.namespace, "/".join([self.name.rstrip("/"), *parts]).removeprefix("/" if self.is_s3 else ""))

    @property
    def is_s3(self) -> bool:
        """Whether it is an object's key, which begins with no slash."""
        return is_s3(self.namespace)


def place_of(uri: str) -> Place:
    """Return the name of a file, a folder, an object or a prefix.

    :raises ArtifactError: when it is none of these.

    >>> place_of("/data/flights.csv")
    Place(namespace='file', name='/data/flights.csv')
    >>> place_of("s3://raw/flights/2013")
    Place(namespace='s3://raw', name='flights/2013')
    """
    if is_s3(uri):
        address = s3_address(uri)
        return Place(f"s3://{address.bucket}", address.key)
    return Place("file", str(local_path(uri).absolute()))


def kept_place(ref: ArtifactRef, *parts: str) -> Place:
    """Return the name of what lasts behind an artifact: below the root of the store that holds it.

    >>> from airflow_mlops_provider.results import ArtifactRef
    >>> digest = "ab" * 32
    >>> ref = ArtifactRef(uri=f"s3://models/mlops/objects/ab/{digest}.parquet", sha256=digest, size=1)
    >>> kept_place(ref, "dataset", "churn")
    Place(namespace='s3://models', name='mlops/dataset/churn')
    """
    return place_of(ref.uri.rpartition("/objects/")[0]).below(*parts)


def registry_namespace(uri: str) -> str:
    """Return the namespace of the models in a registry; the specification knows none of MLflow's.

    As it has it for databases and brokers: what it is, and where; the scheme of its URI is how one speaks to it.

    >>> registry_namespace("https://me:hush@mlflow.example.org:5000/team/?token=hush")
    'mlflow://mlflow.example.org:5000/team'
    >>> registry_namespace("sqlite:////data/mlflow.db")
    'mlflow:///data/mlflow.db'
    """
    if (file := sqlite_file(uri)) is not None:
        return f"mlflow://{file}"
    # Of an address that is not clear nothing is shown.
    return f"mlflow://{endpoint(uri) or 'unknown'}"
