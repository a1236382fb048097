"""The ledger: who became champion of a model, when and why. Truth, of which the alias is a projection.

MLflow's registry has no compare-and-set, but a run's parameter is written once: of several writers of
`seq-<n>` one wins. So each model has one ledger run, and each event is one parameter of it.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from pydantic import ConfigDict, Field, JsonValue, ValidationError, model_validator

from airflow_mlops_provider.exceptions import MLOpsError, RegistryError, TransientServiceError
from airflow_mlops_provider.failpoints import failpoint
from airflow_mlops_provider.registry.client import make_once
from airflow_mlops_provider.registry.errors import ContendedError, NotThereError
from airflow_mlops_provider.results import ArtifactRef
from airflow_mlops_provider.spec.frozen import Finite, Frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlflow.entities import Experiment

    from airflow_mlops_provider.registry.client import Connection

#: Longest value of an MLflow parameter, in characters. MLflow cuts what is longer.
MAX_ENTRY = 6000
_SHARED_EXPERIMENT = "mlops-ledger"
_RUN_TAG = "run"
_KEY = re.compile(r"seq-(\d+)")


class LedgerEntry(Frozen):
    """One event in a model's life.

    :param seq: position, from 1 without a gap.
    :param idem: idempotency key of the effect that wrote it: one effect writes one entry.
    :param nonce: makes every written value different, so that of equal writers only one has won.
    :param digest: canonical digest of the model: what it is.
    :param sha256: of the stored model file: which bytes it is.
    :param lineage: the training that made the version; a repeated training has the same.
    :param order_key: data time (`as_of`). A rollback carries the larger of the head's and its own.
    :param at: wall time of the event.
    :param compared_with: the entry whose version the challenger was gated against.
    :param quarantined: a version that may not be promoted from here on.
    :param lifted: a version whose quarantine ends here.
    """

    # An older release reads what a newer one wrote.
    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    seq: int = Field(ge=1)
    idem: str
    nonce: str = Field(default_factory=lambda: uuid4().hex)
    action: Literal["promote", "rollback"] = "promote"
    version: int = Field(ge=1)
    digest: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    artifact: ArtifactRef
    lineage: str
    order_key: datetime
    at: datetime
    compared_with: int | None = None
    metrics: dict[str, Finite] = Field(default_factory=dict)
    gates: list[JsonValue] = Field(default_factory=list)
    approver: str | None = None
    reason: str = ""
    quarantined: int | None = None
    lifted: int | None = None

    @model_validator(mode="after")
    def _consistent(self) -> LedgerEntry:
        if self.sha256 != self.artifact.sha256:
            raise ValueError(f"sha256 is not the artifact's: {self.sha256} and {self.artifact.sha256}")
        for name in ("order_key", "at"):
            if getattr(self, name).tzinfo is None:
                raise ValueError(f"{name} needs a time zone")
        return self

    def render(self) -> str:
        """Return the stored value.

        :raises RegistryError: longer than MLflow keeps.
        """
        fields = self.model_dump(mode="json", exclude={"seq"}, exclude_none=True)
        text = json.dumps(fields, separators=(",", ":"), allow_nan=False)
        if len(text) > MAX_ENTRY:
            sizes = {name: len(json.dumps(value)) for name, value in fields.items()}
            largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
            raise RegistryError(
                f"the ledger entry for version {self.version} is too long",
                got=f"{len(text)} characters, most in {', '.join(largest)}",
                expected=f"at most {MAX_ENTRY}",
                hint="Keep the primary metrics and a compact list of gates; the rest belongs in the run.",
            )
        return text


def champion_for(
    history: Sequence[LedgerEntry], *, as_of: datetime, lineage: str, allow_older: bool = False
) -> LedgerEntry | None:
    """Return the entry whose version a challenger is compared with.

    Walks back from the head and skips the challenger's own lineage, so that a repeated run compares
    with what it compared with the first time; champions trained on data newer than its holdout
    (unless `allow_older`); and versions in quarantine.
    """
    barred = quarantine(history)
    for entry in reversed(history):
        newer = entry.order_key > as_of and not allow_older
        if entry.lineage != lineage and not newer and entry.version not in barred:
            return entry
    return None


def quarantine(history: Sequence[LedgerEntry]) -> set[int]:
    """Return the versions that may not be promoted."""
    barred: set[int] = set()
    for entry in history:
        barred.discard(entry.lifted or 0)
        if entry.quarantined is not None:
            barred.add(entry.quarantined)
    return barred


class Ledger:
    """The entries of one registered model."""

    def __init__(self, connection: Connection, model: str) -> None:
        self._connection = connection
        self._model = model
        self._experiment = f"ledger/{model}"
        self._known_run: str | None = None

    def history(self) -> list[LedgerEntry]:
        """Return every entry, oldest first; nothing when the model never had a champion.

        :raises RegistryError: the ledger is damaged or deleted.
        """
        run_id = self._run_id()
        if run_id is None:
            return []
        found = {
            int(match[1]): value
            for key, value in self._params(run_id).items()
            if (match := _KEY.fullmatch(key)) is not None
        }
        if missing := sorted(set(range(1, len(found) + 1)) - set(found)):
            raise self._damaged(f"entries {missing} are missing")
        return [self._parse(seq, found[seq]) for seq in sorted(found)]

    def append(self, entry: LedgerEntry) -> bool:
        """Write the entry at its `seq`; False when another writer has won that place.

        :raises RegistryError: the entry is too long, or MLflow refused for another reason.
        :raises TransientServiceError: MLflow cannot be reached; the entry may or may not be there, and
            a retry finds it by its `idem`.
        """
        value = entry.render()
        run_id = self._run_id() or self._create()
        key = f"seq-{entry.seq}"
        refusal: MLOpsError | None = None
        failpoint("ledger.write.before")
        try:
            self._connection.tell(
                f"writing entry {entry.seq} of the ledger of {self._model!r}",
                lambda client: client.log_param(run_id, key, value),
            )
        except (RegistryError, TransientServiceError) as error:
            # A lost race and a value refused carry the same code, a lost reply none: the key tells.
            refusal = error
        failpoint("ledger.write.after")
        stored = self._params(run_id).get(key)
        if stored is None and isinstance(refusal, ContendedError):
            return False  # Nobody has the place yet; the caller tries again.
        if stored is None:
            raise refusal or self._damaged(f"entry {entry.seq} was written and is not there")
        return bool(stored == value)

    def _params(self, run_id: str) -> dict[str, Any]:
        what = f"reading the ledger of {self._model!r}"
        try:
            run = self._connection.ask(what, lambda client: client.get_run(run_id))
        except NotThereError as error:
            raise self._damaged(f"its run {run_id} was removed") from error
        if run.info.lifecycle_stage != "active":
            raise self._damaged(f"its run {run_id} was deleted", hint=f"Restore it: mlflow runs restore {run_id}")
        return dict(run.data.params)

    def _parse(self, seq: int, value: str) -> LedgerEntry:
        try:
            return LedgerEntry.model_validate({**json.loads(value), "seq": seq})
        except (ValueError, TypeError, ValidationError) as error:
            raise self._damaged(f"entry {seq} cannot be read: {error}") from error

    def _damaged(self, what: str, hint: str | None = None) -> RegistryError:
        return RegistryError(
            f"the ledger of model {self._model!r} (MLflow experiment {self._experiment!r} at "
            f"{self._connection.address}) is damaged: {what}",
            hint=hint or "Restore MLflow's database; nothing is promoted until then.",
        )

    def _run_id(self) -> str | None:
        if self._known_run is None:
            what = f"looking for the ledger of {self._model!r}"
            experiment = self._connection.ask(what, lambda client: client.get_experiment_by_name(self._experiment))
            if experiment is None:
                return None
            if experiment.lifecycle_stage != "active":
                raise self._damaged(
                    "the experiment was deleted",
                    hint=f"Restore it: mlflow experiments restore --experiment-id {experiment.experiment_id}",
                )
            if _RUN_TAG not in experiment.tags:
                raise self._damaged(f"the experiment lacks its tag {_RUN_TAG!r}")
            self._known_run = str(experiment.tags[_RUN_TAG])
        return self._known_run

    def _create(self) -> str:
        """Bear the ledger: name and tags of an experiment commit together, so one run wins."""
        connection = self._connection
        shared = experiment_id(connection, _SHARED_EXPERIMENT)
        tags = {"mlops.kind": "ledger", "mlops.model": self._model}
        run = connection.tell(
            f"creating the ledger of {self._model!r}",
            lambda client: client.create_run(shared, tags=tags, run_name=self._experiment),
        )
        mine = str(run.info.run_id)
        connection.ask("closing the ledger run", lambda client: client.set_terminated(mine, "FINISHED"))
        location = connection.artifact_location(self._experiment)
        what = f"creating the ledger of {self._model!r}"
        every = {**tags, _RUN_TAG: mine}
        winner = make_once(
            what,
            lambda: connection.tell(what, lambda client: client.create_experiment(self._experiment, location, every)),
            self._run_id,
        )
        if winner != mine:
            connection.ask("removing a ledger run that lost", lambda client: client.delete_run(mine))
        return winner


#: What MLflow's UI opens an experiment with: runs and models, not the traces of agents.
_KIND = {"mlflow.experimentKind": "custom_model_development"}


def experiment_id(connection: Connection, name: str) -> str:
    """Return the id of the experiment, created when it is missing.

    :raises RegistryError: an experiment of that name was deleted.
    """
    what = f"opening the experiment {name!r}"

    def find() -> Experiment | None:
        return connection.ask(what, lambda client: client.get_experiment_by_name(name))

    found = find()
    if found is None:
        location = connection.artifact_location(name)
        found = make_once(
            what, lambda: connection.tell(what, lambda client: client.create_experiment(name, location, _KIND)), find
        )
    if found.lifecycle_stage != "active":
        raise RegistryError(
            f"MLflow's experiment {name!r} at {connection.address} was deleted",
            hint=f"Restore it (mlflow experiments restore --experiment-id {found.experiment_id}), "
            "or name another experiment.",
        )
    return str(found.experiment_id)
