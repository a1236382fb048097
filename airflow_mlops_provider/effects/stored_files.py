"""The files of a version: read before anything is written that rests on them, and put back where that can be done.

Of the model and of the evaluation MLflow has a copy, checked by digest. The reference holds rows, which do not belong
there: like the model that was judged, when another one serves, it is made anew by the step that made it, from equal
inputs with equal bytes.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from airflow_mlops_provider.effects.champions import as_champion
from airflow_mlops_provider.effects.refitting import refit_behind
from airflow_mlops_provider.exceptions import (
    ArtifactError,
    MLOpsError,
    ModelError,
    ModelUnavailableError,
    NotAllowedError,
    RegistryError,
)
from airflow_mlops_provider.modeling.model_file import load_model
from airflow_mlops_provider.registry import MODEL_FILE, evaluation_file, rollback_targets
from airflow_mlops_provider.results import StepResult
from airflow_mlops_provider.runner import request_behind, run_step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_mlops_provider.allow_list import AllowList
    from airflow_mlops_provider.job import Champion, StepRequest
    from airflow_mlops_provider.registry import LedgerEntry, Registry
    from airflow_mlops_provider.results import ArtifactRef
    from airflow_mlops_provider.storage import ArtifactStore

log = logging.getLogger(__name__)

MODEL, JUDGED, REFERENCE, EVALUATION = "model", "judged model", "reference", "evaluation"
FILES = frozenset({MODEL, JUDGED, REFERENCE, EVALUATION})
#: How many other versions are looked at when a rollback is refused.
_MOST_OFFERED = 10


class Version(Protocol):
    """What names a version's files: an entry of the ledger, or a request to write one."""

    @property
    def version(self) -> int:
        """Its number."""

    @property
    def artifact(self) -> ArtifactRef:
        """The model that serves."""

    @property
    def judged(self) -> ArtifactRef | None:
        """The model that was judged, which the next challenger is compared with; None when that serves."""

    @property
    def reference(self) -> ArtifactRef | None:
        """What drift is measured from."""

    @property
    def evaluation(self) -> ArtifactRef | None:
        """What was measured of it."""


def champion_of(registry: Registry, store: ArtifactStore, pipeline: str, model: str, entry: LedgerEntry) -> Champion:
    """Return what a step is given of the version of a ledger entry, without what is lost of it.

    :raises TransientServiceError: store or MLflow cannot be reached.
    """
    lost = lost_files(registry, store, pipeline, model, entry)
    champion = as_champion(entry)
    if not lost:
        return champion
    for role, why in lost.items():
        log.warning("The %s of version %s of %s is lost: %s", role, entry.version, model, why)
    gone = {role: None for role in lost if role not in (MODEL, JUDGED)}
    return champion.model_copy(update={**gone, "lost": tuple(sorted(lost))})


def lost_files(
    registry: Registry, store: ArtifactStore, pipeline: str, model: str, version: Version, *, read: bool = False
) -> dict[str, str]:
    """Return which files of a version are lost, and why, by role; what can be put back is put back first.

    :param read: read every file whole; otherwise as far as the place itself can tell.
    :raises TransientServiceError: store or MLflow cannot be reached.
    """
    lost = {}
    if not _is_there(store, version.artifact, read=read):
        why = put_back_model(registry, store, model, version)
        if why is not None:
            lost[MODEL] = why
    ref = version.judged
    if ref is not None and not _is_there(store, ref, read=read):
        trouble = _train_anew(registry, store, pipeline, model, version, ref)
        if not _is_there(store, ref, read=read):
            lost[JUDGED] = trouble or "training it again gives a different model"
    ref = version.evaluation
    if ref is not None and not _is_there(store, ref, read=read):
        why = _put_back(registry, store, model, version.version, ref, evaluation_file(ref.sha256))
        if why is not None:
            lost[EVALUATION] = why
    ref = version.reference
    if ref is not None and not _is_there(store, ref, read=read):
        trouble = _make_anew(registry, store, pipeline, model, version)
        if not _is_there(store, ref, read=read):
            lost[REFERENCE] = trouble or "computing it again gives a different result"
    return lost


def put_back_model(registry: Registry, store: ArtifactStore, model: str, version: Version) -> str | None:
    """Put MLflow's copy of a version's model into the store; return why that cannot be done, None when it is done.

    :raises TransientServiceError: store or MLflow cannot be reached.
    """
    return _put_back(registry, store, model, version.version, version.artifact, MODEL_FILE)


def _put_back(
    registry: Registry, store: ArtifactStore, model: str, version: int, ref: ArtifactRef, name: str
) -> str | None:
    try:
        with store.workspace() as folder:
            store.put_back(ref, registry.download_copy(model, version, name, folder))
    except (RegistryError, ArtifactError) as error:
        return f"{ref.uri} is missing, and MLflow has no copy of it: {error.what}"
    log.warning("%s of version %s of %s was lost and has been restored from MLflow.", name, version, model)
    return None


def evaluation_behind(
    store: ArtifactStore, pipeline: str, key: str, *, allow_list: AllowList | None = None
) -> StepRequest:
    """Return the request behind an evaluation of which the key alone is known, checked against it.

    :raises ArtifactError: it is gone, or was changed.
    """
    nothing = StepResult(step="evaluate", pipeline=pipeline, key=key, as_of=datetime.now(UTC))
    return request_behind(store, nothing, allow_list=allow_list)


def check_loads(
    registry: Registry, store: ArtifactStore, model: str, entry: LedgerEntry, allow_list: AllowList
) -> None:
    """Load a version that has served, whose file is put back first when it was lost.

    :raises ModelUnavailableError: it cannot serve.
    """
    hint = "Restore its file, train and promote a new version, or roll back to another one."
    if not _is_there(store, entry.artifact, read=True):
        why = put_back_model(registry, store, model, entry)
        if why is not None:
            raise ModelUnavailableError(f"version {entry.version} of {model!r} is lost", got=why, hint=hint)
    try:
        load_model(store, entry.artifact, allow_list)
    except (ArtifactError, ModelError) as error:
        raise ModelUnavailableError(
            f"version {entry.version} of {model!r} cannot be loaded", got=str(error), hint=hint
        ) from error


def check_rollback(
    registry: Registry,
    store: ArtifactStore,
    pipeline: str,
    model: str,
    history: Sequence[LedgerEntry],
    target: LedgerEntry,
) -> dict[str, str]:
    """Return what is lost of a version that is to serve again, by role, when it can serve nevertheless.

    :raises RegistryError: its model is lost; says which versions are whole.
    """
    lost = lost_files(registry, store, pipeline, model, target, read=True)
    if MODEL not in lost:
        return lost

    def whole(entry: LedgerEntry) -> bool:
        return store.holds(entry.artifact) or put_back_model(registry, store, model, entry) is None

    others = [one for one in rollback_targets(history) if one.version != target.version][:_MOST_OFFERED]
    raise RegistryError(
        f"model {model!r} cannot be rolled back to version {target.version} (entry {target.seq}): its model is lost",
        got=lost[MODEL],
        hint=_offer(others, whole),
    )


def _offer(others: Sequence[LedgerEntry], whole: Callable[[LedgerEntry], bool]) -> str:
    names = [f"version {entry.version} (entry {entry.seq})" for entry in others if whole(entry)]
    if names:
        return f"Nothing was changed. It can be rolled back to {', '.join(names)}."
    return "Nothing was changed, and there is no other version to roll back to. Train and promote a new one."


def _is_there(store: ArtifactStore, ref: ArtifactRef, *, read: bool) -> bool:
    try:
        if not read:
            return store.holds(ref)
        store.check(ref)
    except ArtifactError:
        return False
    return True


def _train_anew(
    registry: Registry, store: ArtifactStore, pipeline: str, model: str, version: Version, judged: ArtifactRef
) -> str | None:
    """Train the model that was judged as it was trained; return why that cannot be done."""

    def train(measured: StepRequest) -> None:
        for trained in measured.inputs["models"]:
            if trained.artifacts["model"].sha256 == judged.sha256:
                run_step(request_behind(store, trained).model_copy(update={"recompute": True}), store)

    return _again(registry, store, pipeline, model, version, train)


def _make_anew(registry: Registry, store: ArtifactStore, pipeline: str, model: str, version: Version) -> str | None:
    """Refit a version again as it was, or evaluate one that nothing was fitted anew of; return why that cannot be."""

    def make(measured: StepRequest) -> None:
        refit = registry.version_run(model, version.version).refit
        if refit is not None:
            run_step(refit_behind(store, pipeline, refit).model_copy(update={"recompute": True}), store)
        if version.reference is not None and not _is_there(store, version.reference, read=False):
            run_step(measured.model_copy(update={"recompute": True}), store)

    return _again(registry, store, pipeline, model, version, make)


def _again(
    registry: Registry,
    store: ArtifactStore,
    pipeline: str,
    model: str,
    version: Version,
    do: Callable[[StepRequest], None],
) -> str | None:
    """Do again what is behind a version, given the request by which it was evaluated; return why that cannot be."""
    try:
        key = registry.version_run(model, version.version).evaluation
        if key is None:
            return "how it was evaluated is no longer stored"
        do(evaluation_behind(store, pipeline, key))
    except (RegistryError, ArtifactError, NotAllowedError, ValueError, ImportError) as error:
        return f"it cannot be recreated: {error.what if isinstance(error, MLOpsError) else error}"
    return None
