"""Publishing a training: its runs, the winner's model, a registered version, the alias `challenger`.

Each part is found by its tags before it is made, so a repeated publish changes nothing and a killed one
is completed.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_mlops_provider.failpoints import failpoint
from airflow_mlops_provider.registry.client import make_once
from airflow_mlops_provider.registry.errors import NotThereError
from airflow_mlops_provider.registry.mlflow_champions import alias, set_alias
from airflow_mlops_provider.registry.naming import DUPLICATE_TAG, LINEAGE_TAG, legal_keys, param_text
from airflow_mlops_provider.registry.patience import Patience
from airflow_mlops_provider.registry.publication import Publication, Published
from airflow_mlops_provider.registry.runs import write_runs
from airflow_mlops_provider.registry.versions import (
    ARTIFACT_TAG,
    AS_OF_TAG,
    DIGEST_TAG,
    EVALUATION_TAG,
    JUDGED_TAG,
    REFIT_TAG,
    SHA256_TAG,
    SIZE_TAG,
    TRAINED_TO_TAG,
)
from airflow_mlops_provider.registry.write_once import experiment_id
from airflow_mlops_provider.storage import is_s3, temporary_folder

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

    from airflow_mlops_provider.registry.client import Connection

CHALLENGER = "challenger"
_VERSIONS_TAG = "mlflow.modelVersions"
#: What a server that keeps artifacts elsewhere moves at the least.
_BYTES_A_SECOND = 1 << 20


def publish(connection: Connection, publication: Publication) -> Published:
    """Show a training in MLflow and register its winner. Safe to repeat.

    :raises RegistryError: MLflow refused; ArtifactError: the model file is not the evaluated one.
    :raises TransientServiceError: MLflow cannot be reached; repeat with the same publication.
    """
    experiment = experiment_id(connection, publication.experiment)
    failpoint("publish.runs.before")
    parent, children = write_runs(connection, experiment, publication)
    failpoint("publish.runs.after")
    winner = children[publication.winner]
    version = _find_version(connection, publication)
    if version is None:
        model = _upload(connection, experiment, publication, winner)
        failpoint("publish.register.before")
        version = _register(connection, publication, model, winner)
        failpoint("publish.register.after")
    number = int(version.version)
    _name_evaluation(connection, publication, version)
    # Of versions published in any order the newest is the challenger.
    patience = Patience(f"the alias {CHALLENGER!r} of model {publication.model!r} keeps changing")
    while (alias(connection, publication.model, CHALLENGER) or 0) < number:
        patience.wait()
        patience.note(set_alias(connection, publication.model, CHALLENGER, number))
    return Published(
        experiment_id=experiment,
        parent_run_id=parent,
        run_ids=children,
        run_id=winner,
        version=number,
    )


def _upload(connection: Connection, experiment: str, publication: Publication, run_id: str) -> LoggedModel:
    """Upload the winner as MLflow's logged model; complete when READY, which is written last."""
    failpoint("publish.upload.before")
    model = _find_model(connection, experiment, publication)
    if model is None:
        model = _create_model(connection, experiment, publication, run_id)
    if str(model.status) != "READY":
        _upload_files(connection, publication, model, run_id)
        _link(connection, publication, model, run_id)
        model_id = model.model_id
        connection.retried(
            f"finishing the logged model {model_id}",
            lambda client: client.finalize_logged_model(model_id, "READY"),
        )
        # Another process may have completed one too: whoever looks last sees both, and settles which counts.
        model = _find_model(connection, experiment, publication) or model
    failpoint("publish.upload.after")
    return model


def _find_model(connection: Connection, experiment: str, publication: Publication) -> LoggedModel | None:
    where = f"tags.`{LINEAGE_TAG}` = '{publication.lineage}' AND tags.`{DIGEST_TAG}` = '{_digest(publication)}'"
    found = connection.retried(
        f"looking for the logged model of {publication.model!r}",
        lambda client: client.search_logged_models([experiment], filter_string=where),
    )
    if not found:
        return None
    # A complete one first: two processes may have made one each.
    first = min(found, key=lambda model: (str(model.status) != "READY", model.model_id))
    # Which is first may change when another becomes complete, so its mark may have to go as well as to come.
    for model in found:
        _mark_model(connection, model, duplicate=model.model_id != first.model_id)
    return first


def _mark_model(connection: Connection, model: LoggedModel, *, duplicate: bool) -> None:
    if (model.tags.get(DUPLICATE_TAG) == "true") != duplicate:
        connection.retried(
            f"marking the logged model {model.model_id} as {'a' if duplicate else 'no'} duplicate",
            lambda client: client.set_logged_model_tags(model.model_id, {DUPLICATE_TAG: str(duplicate).lower()}),
        )


def _create_model(connection: Connection, experiment: str, publication: Publication, run_id: str) -> LoggedModel:
    params = {key: param_text(value) for key, value in legal_keys(publication.winning.params).items()}
    what = f"creating the logged model of {publication.model!r}"
    return make_once(
        what,
        lambda: connection.once(
            what,
            lambda client: client.create_logged_model(
                experiment, publication.winner, run_id, _version_tags(publication), params
            ),
        ),
        lambda: _find_model(connection, experiment, publication),
    )


def _upload_files(connection: Connection, publication: Publication, model: LoggedModel, run_id: str) -> None:
    from airflow_mlops_provider.registry.model_format import write_model_directory

    source = publication.model_file
    with temporary_folder("publish") as scratch:
        folder = scratch / "model"  # beside the scratch space's own lock
        folder.mkdir()
        write_model_directory(
            folder,
            publication.model_info,
            source if isinstance(source, Path) else source(),
            model_id=model.model_id,
            location=model.artifact_location,
            run_id=run_id,
        )
        _put_files(connection, model, folder, f"uploading the model {publication.model!r}")


def _put_files(connection: Connection, model: LoggedModel, folder: Path, what: str) -> None:
    if connection.s3 is not None and is_s3(model.artifact_location):
        from airflow_mlops_provider.storage.addresses import s3_address
        from airflow_mlops_provider.storage.s3 import S3Objects

        objects = S3Objects(s3_address(model.artifact_location), connection.s3)
        for file in folder.iterdir():
            objects.put(file.name, file)
        return
    size = sum(file.stat().st_size for file in folder.iterdir())
    connection.retried(
        what,
        lambda client: client.log_model_artifacts(model.model_id, str(folder)),
        # The server passes a file on before it answers.
        patience=size // _BYTES_A_SECOND,
    )


def _link(connection: Connection, publication: Publication, model: LoggedModel, run_id: str) -> None:
    """Show the model in its run, and the run's metrics in the model."""
    from mlflow.entities import LoggedModelOutput, Metric

    what = f"linking the logged model {model.model_id} to run {run_id}"

    def linked() -> bool | None:
        outputs = connection.retried(what, lambda client: client.get_run(run_id)).outputs
        return (outputs is not None and model.model_id in {found.model_id for found in outputs.model_outputs}) or None

    if not linked():
        output = [LoggedModelOutput(model.model_id, step=0)]
        make_once(what, lambda: connection.once(what, lambda client: client.log_outputs(run_id, output)), linked)
    run = connection.retried(what, lambda client: client.get_run(run_id))
    metrics = [
        Metric(key, value, int(run.info.start_time), 0, model_id=model.model_id, run_id=run_id)
        for key, value in legal_keys(publication.winning.metrics).items()
    ]
    connection.retried(what, lambda client: client.log_batch(run_id, metrics=metrics))


def _find_version(connection: Connection, publication: Publication) -> ModelVersion | None:
    where = (
        f"name = '{publication.model}' AND tags.`{LINEAGE_TAG}` = '{publication.lineage}' "
        f"AND tags.`{DIGEST_TAG}` = '{_digest(publication)}'"
    )
    found = connection.retried(
        f"looking for versions of model {publication.model!r}",
        lambda client: client.search_model_versions(where),
    )
    if not found:
        return None
    first, *others = sorted(found, key=lambda version: int(version.version))
    for other in others:
        _mark_version(connection, other)
    return first


def _mark_version(connection: Connection, version: ModelVersion) -> None:
    if version.tags.get(DUPLICATE_TAG) != "true":
        connection.retried(
            f"marking version {version.version} of model {version.name!r} as a duplicate",
            lambda client: client.set_model_version_tag(version.name, str(version.version), DUPLICATE_TAG, "true"),
        )


def _name_evaluation(connection: Connection, publication: Publication, version: ModelVersion) -> None:
    """Say which evaluation measured the version; of several, with other settings, it is the last."""
    key = publication.evaluation
    if key is not None and version.tags.get(EVALUATION_TAG) != key:
        connection.retried(
            f"naming the evaluation of version {version.version} of model {version.name!r}",
            lambda client: client.set_model_version_tag(version.name, str(version.version), EVALUATION_TAG, key),
        )


def _register(connection: Connection, publication: Publication, model: LoggedModel, run_id: str) -> ModelVersion:
    name = publication.model
    _ensure_registered(connection, name)
    # A bare database would resolve models:/ through MLflow's global tracking URI, which is not ours;
    # a server takes nothing else, for it lets nobody name a path.
    source = f"models:/{model.model_id}" if connection.is_server else model.artifact_location
    what = f"registering a version of model {name!r}"
    version = make_once(
        what,
        lambda: connection.once(
            what,
            lambda client: client.create_model_version(
                name,
                source,
                run_id,
                tags=_version_tags(publication),
                await_creation_for=None,
                model_id=model.model_id,
            ),
        ),
        lambda: _find_version(connection, publication),
    )
    _show_version(connection, model, name, int(version.version))
    return version


def _ensure_registered(connection: Connection, name: str) -> None:
    what = f"opening the registered model {name!r}"

    def find() -> RegisteredModel | None:
        with suppress(NotThereError):
            return connection.retried(what, lambda client: client.get_registered_model(name))
        return None

    if find() is None:
        make_once(what, lambda: connection.once(what, lambda client: client.create_registered_model(name)), find)


def _show_version(connection: Connection, model: LoggedModel, name: str, version: int) -> None:
    """Link the logged model to its version in the UI; a server does it by itself."""
    what = f"linking the logged model {model.model_id} to version {version}"
    tags = connection.retried(what, lambda client: client.get_logged_model(model.model_id)).tags
    shown = json.loads(tags.get(_VERSIONS_TAG, "[]"))
    if not any(entry["name"] == name and int(entry["version"]) == version for entry in shown):
        value = json.dumps([*shown, {"name": name, "version": version}])
        connection.retried(what, lambda client: client.set_logged_model_tags(model.model_id, {_VERSIONS_TAG: value}))


def _digest(publication: Publication) -> str:
    return publication.model_info.digest


def _version_tags(publication: Publication) -> dict[str, str]:
    info, to = publication.model_info, publication.trained_to
    known = {
        EVALUATION_TAG: publication.evaluation,
        REFIT_TAG: publication.refit,
        JUDGED_TAG: publication.judged,
        TRAINED_TO_TAG: None if to is None else to.isoformat(),
    }
    return {
        LINEAGE_TAG: publication.lineage,
        DIGEST_TAG: info.digest,
        SHA256_TAG: info.sha256,
        SIZE_TAG: str(info.artifact.size),
        AS_OF_TAG: publication.as_of.isoformat(),
        ARTIFACT_TAG: info.artifact.uri,
        **{name: value for name, value in known.items() if value is not None},
    }
