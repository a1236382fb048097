"""Registered versions as they were published, champions or not."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from airflow_mlops_provider.exceptions import RegistryError
from airflow_mlops_provider.registry.errors import NotThereError
from airflow_mlops_provider.registry.pages import pages_of
from airflow_mlops_provider.results import ArtifactRef
from airflow_mlops_provider.spec.frozen import Finite, Frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow.entities.model_registry import ModelVersion

    from airflow_mlops_provider.registry.client import Connection

DIGEST_TAG = "mlops.digest"
SHA256_TAG = "mlops.sha256"
SIZE_TAG = "mlops.size"
ARTIFACT_TAG = "mlops.artifact"
AS_OF_TAG = "mlops.as_of"
#: Key of the evaluation that measured it: its receipt holds everything that gates and pages want to know.
EVALUATION_TAG = "mlops.evaluation"
#: Key of the step that says what serves; the sha256 of the judged model; the last row that it saw, data time.
REFIT_TAG, JUDGED_TAG, TRAINED_TO_TAG = "mlops.refit", "mlops.judged_sha256", "mlops.trained_to"
#: Of a run.
CANDIDATE_TAG, DATASET_TAG = "mlops.candidate", "mlops.dataset_digest"


class RegisteredVersion(Frozen):
    """A version, and which model it is.

    :param digest: canonical digest of the model.
    :param order_key: data time (`as_of`) of its training.
    """

    version: int
    digest: str
    artifact: ArtifactRef
    order_key: datetime


class VersionRun(Frozen):
    """A version with the run that made it: what MLflow itself knows of it.

    :param evaluation: key of the evaluation that measured it; None of one that an older release published.
    :param refit: key of the step that says what serves; None where there was no such step.
    :param judged: sha256 of the model that was judged, when it is another one.
    :param trained_to: last row that it saw, data time; None when nobody knows.
    :param dataset: sha256 of the data that it was trained and measured on.
    :param pages: where the artifact store keeps the pages about it: `card`, `comparison`.
    :param airflow: DAG and run id of the Airflow run that published it.
    """

    version: int
    created: datetime
    run_id: str | None
    experiment_id: str | None = None
    digest: str | None = None
    as_of: datetime | None = None
    evaluation: str | None = None
    refit: str | None = None
    judged: str | None = None
    trained_to: datetime | None = None
    candidate: str | None = None
    dataset: str | None = None
    airflow: tuple[str, str] | None = None
    params: dict[str, str] = Field(default_factory=dict)
    metrics: dict[str, Finite] = Field(default_factory=dict)
    pages: dict[str, ArtifactRef] = Field(default_factory=dict)


def version_run(connection: Connection, model: str, version: int) -> VersionRun:
    """Return what MLflow knows of a version and of its run.

    :raises RegistryError: there is no such version, or its run is gone.
    """
    found = _version(connection, model, version)
    tags = dict(found.tags)
    details: dict[str, Any] = {
        "version": version,
        "created": datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
        "run_id": found.run_id or None,
        "digest": tags.get(DIGEST_TAG),
        "as_of": tags.get(AS_OF_TAG),
        "evaluation": tags.get(EVALUATION_TAG),
        "refit": tags.get(REFIT_TAG),
        "judged": tags.get(JUDGED_TAG),
        "trained_to": tags.get(TRAINED_TO_TAG),
        "pages": pages_of(tags),
    }
    if found.run_id:
        what = f"reading the run of version {version} of model {model!r}"
        run = connection.retried(what, lambda client: client.get_run(found.run_id))
        details |= {
            "experiment_id": str(run.info.experiment_id),
            "candidate": run.data.tags.get(CANDIDATE_TAG),
            "dataset": run.data.tags.get(DATASET_TAG),
            "airflow": _airflow_run(run.data.tags),
            "params": dict(run.data.params),
            "metrics": {name: value for name, value in run.data.metrics.items() if math.isfinite(value)},
        }
    return VersionRun.model_validate(details)


def _airflow_run(tags: Mapping[str, str]) -> tuple[str, str] | None:
    dag_id, run_id = tags.get("airflow.dag_id"), tags.get("airflow.run_id")
    return None if dag_id is None or run_id is None else (dag_id, run_id)


def registered_version(connection: Connection, model: str, version: int) -> RegisteredVersion:
    """Return a version as its tags, written once when it was registered, describe it.

    :raises RegistryError: there is no such version, or it was not published by this package.
    """
    what = f"version {version} of model {model!r}"
    tags = dict(_version(connection, model, version).tags)
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


def _version(connection: Connection, model: str, version: int) -> ModelVersion:
    what = f"version {version} of model {model!r}"
    try:
        return connection.retried(f"reading {what}", lambda client: client.get_model_version(model, str(version)))
    except NotThereError as error:
        raise RegistryError(
            f"there is no {what} in MLflow at {connection.address}", hint="Name an existing version."
        ) from error
