"""Registered versions as they were published, champions or not."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import ValidationError

from airflow_mlops_provider.exceptions import RegistryError
from airflow_mlops_provider.registry.errors import NotThereError
from airflow_mlops_provider.results import ArtifactRef
from airflow_mlops_provider.spec.frozen import Frozen

if TYPE_CHECKING:
    from airflow_mlops_provider.registry.client import Connection

DIGEST_TAG = "mlops.digest"
SHA256_TAG = "mlops.sha256"
SIZE_TAG = "mlops.size"
ARTIFACT_TAG = "mlops.artifact"
AS_OF_TAG = "mlops.as_of"


class RegisteredVersion(Frozen):
    """A version, and which model it is.

    :param digest: canonical digest of the model.
    :param order_key: data time (`as_of`) of its training.
    """

    version: int
    digest: str
    artifact: ArtifactRef
    order_key: datetime


def registered_version(connection: Connection, model: str, version: int) -> RegisteredVersion:
    """Return a version as its tags, written once when it was registered, describe it.

    :raises RegistryError: there is no such version, or it was not published by this package.
    """
    what = f"version {version} of model {model!r}"
    try:
        found = connection.ask(f"reading {what}", lambda client: client.get_model_version(model, str(version)))
    except NotThereError as error:
        raise RegistryError(
            f"there is no {what} in MLflow at {connection.address}", hint="Name a version that is there."
        ) from error
    tags = dict(found.tags)
    try:
        return RegisteredVersion.model_validate(
            {
                "version": version,
                "digest": tags.get(DIGEST_TAG),
                "artifact": {"uri": tags.get(ARTIFACT_TAG), "sha256": tags.get(SHA256_TAG), "size": tags.get(SIZE_TAG)},
                "order_key": tags.get(AS_OF_TAG),
            }
        )
    except ValidationError as error:
        raise RegistryError(
            f"{what} in MLflow at {connection.address} does not say which model it is",
            got=sorted(tags),
            expected=[DIGEST_TAG, SHA256_TAG, SIZE_TAG, ARTIFACT_TAG, AS_OF_TAG],
            hint="Train and register it with this package.",
        ) from error
