"""Values that are written once: what the ledger of champions and the decisions of monitoring are kept in.

MLflow's registry has no compare-and-set, but a run's parameter is written once: of several writers of one key
exactly one wins. So each log of a model is one run, and each value is one parameter of it.
"""

from __future__ import annotations

import unicodedata
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from airflow_mlops_provider.bounds import parse_json
from airflow_mlops_provider.exceptions import (
    MLOpsError,
    NewerDocumentError,
    RegistryError,
    TransientServiceError,
    shorten,
)
from airflow_mlops_provider.registry.client import make_once
from airflow_mlops_provider.registry.errors import ContendedError, DamagedError, NotThereError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from mlflow.entities import Experiment, Run

    from airflow_mlops_provider.documents import Document
    from airflow_mlops_provider.registry.client import Connection

Value = TypeVar("Value", bound="Document")

#: Longest value of an MLflow parameter, in characters. MLflow cuts what is longer.
MAX_VALUE = 6000
#: Keys of a log that a message names.
_MOST_NAMED = 5
_RUN_TAG = "run"
#: MLflow's ViewType.ALL: active and deleted ones.
_ALL = 3
#: Entities that one request asks for.
_PAGE = 1000
#: What MLflow's UI opens an experiment with: runs and models, not the traces of agents.
_EXPERIMENT_KIND = {"mlflow.experimentKind": "custom_model_development"}


class LogKind(NamedTuple):
    """What a log holds.

    :param name: begins the experiment's name: `<name>/<model>`; the runs themselves lie in `mlops-<name>`.
    :param title: for errors: "the ledger".
    :param without: what does not happen while the log is damaged, for errors.
    """

    name: str
    title: str
    without: str


class WriteOnceLog:
    """The written-once values of one registered model."""

    def __init__(self, connection: Connection, model: str, kind: LogKind) -> None:
        self._connection = connection
        self._model = model
        self._kind = kind
        self._experiment = f"{kind.name}/{model}"
        self._shared = f"mlops-{kind.name}"
        self._tags = _tags_of(kind, model)
        self._known_run: str | None = None

    def read(self) -> dict[str, str]:
        """Return every value by its key; nothing when none was ever written.

        :raises RegistryError: the log is damaged or deleted.
        """
        run_id = self._run_id()
        return {} if run_id is None else self._params(run_id)

    def write(self, key: str, value: str) -> str | None:
        """Write a value under a key that may be taken; return what the key holds now.

        The winner alone finds its own value there, provided that no two writers write equal ones (MLflow takes an
        equal value twice): so put a nonce in it. None means that nobody has the key yet, and is worth another try.

        :raises RegistryError: MLflow refused.
        :raises TransientServiceError: MLflow cannot be reached; the value may or may not be there.
        """
        run_id = self.ensure_run()
        refusal: MLOpsError | None = None
        try:
            self._connection.once(
                f"writing {key} of {self._kind.title} of {self._model!r}, in experiment {self._shared!r}",
                lambda client: client.log_param(run_id, key, value),
            )
        except (RegistryError, TransientServiceError) as error:
            # A lost race and a value refused carry the same code, a lost reply none: the key tells.
            refusal = error
        stored = self._params(run_id).get(key)
        if stored is None and not isinstance(refusal, ContendedError):
            raise refusal or self.damaged(f"{key} was written but is missing")
        return stored

    def ensure_run(self) -> str:
        """Return the log's run, made when there is none."""
        return self._run_id() or self._create()

    @property
    def name(self) -> str:
        """What tells this log from every other: its experiment."""
        return self._experiment

    def run_words(self) -> str:
        """Return what the log's run is called, for people."""
        return "its run" if self._known_run is None else f"run {self._known_run}"

    def parsed(self, key: str, text: str, kind: type[Value], **more: int) -> Value:
        """Return a value of the log, whatever it was that wrote it.

        :param more: fields that the value itself does not hold.
        :raises RegistryError: it is none that this package writes, or a later release has written it.
        """
        try:
            found: Value = _parsed(kind, text, tuple(more.items()))
        except NewerDocumentError as error:
            raise RegistryError(
                f"{key} of {self._kind.title} of model {self._model!r}: {error.what}",
                got=error.got,
                expected=error.expected,
                hint="Install that release here too.",
            ) from error
        except (ValueError, TypeError, RecursionError, OverflowError) as error:
            hint = f"Restore MLflow's database from before {key} was changed; {self._kind.without} until then."
            raise self.damaged(f"{key} cannot be read: {shorten(str(error))}", hint) from error
        return found

    def strays(self, values: Iterable[str], prefix: str, counted: Collection[str]) -> list[str]:
        """Return the keys that look like ours and do not count, such as `seq-02` beside `seq-2`.

        :param prefix: what our keys begin with.
        :param counted: the keys that count.
        """
        return sorted(key for key in values if key not in counted and _plain(key).startswith(prefix))

    def stray_words(self, strays: Sequence[str]) -> str:
        """Return in a sentence what strays there are, and what to do."""
        shown = ", ".join(repr(shorten(key, 60)) for key in strays[:_MOST_NAMED])
        more = f" and {len(strays) - _MOST_NAMED} more" if len(strays) > _MOST_NAMED else ""
        return (
            f"{self._kind.title} of {self._model!r}: values that this package did not write are ignored: "
            f"{shown}{more}. Check who can write to the experiment {self._shared!r} in MLflow."
        )

    def damaged(self, what: str, hint: str | None = None) -> DamagedError:
        """Return the error that says what is wrong with the log."""
        return DamagedError(
            f"{self._kind.title} of model {self._model!r} (MLflow experiment {self._experiment!r} at "
            f"{self._connection.address}) is damaged: {what}",
            hint=hint or f"Restore MLflow's database; {self._kind.without} until then.",
        )

    def _params(self, run_id: str) -> dict[str, str]:
        what = f"reading {self._kind.title} of {self._model!r}"
        try:
            run = self._connection.retried(what, lambda client: client.get_run(run_id))
        except NotThereError as error:
            raise self.damaged(f"its run {run_id} was removed") from error
        if run.info.lifecycle_stage != "active":
            raise self.damaged(f"its run {run_id} was deleted", hint=f"Restore it: mlflow runs restore {run_id}")
        if not _holds(run, self._tags):
            raise self.damaged(
                f"run {run_id}, which the tag {_RUN_TAG!r} of its experiment names, does not belong to this log",
                hint=f"Set that tag to the run of {self._shared!r} that is called {self._experiment}; "
                f"{self._kind.without} until then.",
            )
        return dict(run.data.params)

    def _run_id(self) -> str | None:
        if self._known_run is None:
            what = f"looking for {self._kind.title} of {self._model!r}"
            experiment = self._connection.retried(what, lambda client: client.get_experiment_by_name(self._experiment))
            if experiment is None:
                return None
            if experiment.lifecycle_stage != "active":
                raise self.damaged(
                    "the experiment was deleted",
                    hint=f"Restore it: mlflow experiments restore --experiment-id {experiment.experiment_id}",
                )
            if _RUN_TAG not in experiment.tags:
                raise self.damaged(f"the experiment lacks its tag {_RUN_TAG!r}")
            self._known_run = str(experiment.tags[_RUN_TAG])
        return self._known_run

    def _create(self) -> str:
        """Bear the log: name and tags of an experiment commit together, so one run wins."""
        connection = self._connection
        what = f"creating {self._kind.title} of {self._model!r}, in experiment {self._shared!r}"
        shared, tags = experiment_id(connection, self._shared), self._tags
        if not (made := self._newborn(shared, tags)):
            made = make_once(
                what,
                lambda: connection.once(
                    what, lambda client: client.create_run(shared, tags=tags, run_name=self._experiment)
                ),
                lambda: self._newborn(shared, tags) or None,
            )
        mine = made[0]
        try:
            connection.retried(
                f"closing a run of {self._kind.name}", lambda client: client.set_terminated(mine, "FINISHED")
            )
        except RegistryError:
            # It was another's, and removed by whoever won: the log is there then.
            if (winner := self._run_id()) is None:
                raise
            return winner
        location = connection.artifact_location(self._experiment)
        every = {**tags, _RUN_TAG: mine}
        winner = make_once(
            what,
            lambda: connection.once(what, lambda client: client.create_experiment(self._experiment, location, every)),
            self._run_id,
        )
        for lost in self._newborn(shared, tags):
            if lost != winner:
                self._remove(lost)
        return winner

    def _newborn(self, shared: str, tags: dict[str, str]) -> list[str]:
        """Return the runs that were made to hold the log: by us before our reply was lost, by others at this moment."""
        where = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        what = f"looking for a run of {self._kind.name} of {self._model!r}"
        found = self._connection.retried(what, lambda client: client.search_runs([shared], where))
        return sorted(str(run.info.run_id) for run in found)

    def _remove(self, run_id: str) -> None:
        # Another may have removed it, or our user may not: nobody looks at it in any case.
        with suppress(RegistryError):
            self._connection.retried(
                f"removing a run of {self._kind.name} that lost", lambda client: client.delete_run(run_id)
            )


def _tags_of(kind: LogKind, model: str) -> dict[str, str]:
    return {"mlops.kind": kind.name, "mlops.model": model}


def _holds(run: Run, tags: dict[str, str]) -> bool:
    """Return whether a run was made to hold a log. Of the experiment's tag nobody knows who wrote it last."""
    return all(run.data.tags.get(name) == value for name, value in tags.items())


# What is written once is parsed once: a page reads the logs of every model again and again.
@lru_cache(maxsize=16384)
def _parsed(kind: type[Value], text: str, more: tuple[tuple[str, int], ...]) -> Value:
    if len(text) > MAX_VALUE:
        raise ValueError(f"it has {len(text)} characters, and the limit is {MAX_VALUE}")
    value = parse_json(text)
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    return kind.model_validate({"schema": 1, **value, **dict(more)})


def _plain(key: str) -> str:
    """Return a key as a person may read it: without width, case and blanks around it."""
    return unicodedata.normalize("NFKC", key).strip().casefold()


def read_logs(connection: Connection, kind: LogKind) -> dict[str, dict[str, str] | None]:
    """Return what every log of a kind holds, by its model, in a handful of requests for all of them.

    None stands for a log that is not as it should be: reading that one alone says what is wrong.
    """
    prefix, what = f"{kind.name}/", f"reading {kind.title} of all models"
    every = connection.pages(
        what, lambda client, token: client.search_experiments(_ALL, _PAGE, f"name LIKE '{prefix}%'", page_token=token)
    )
    run_of = {
        experiment.name.removeprefix(prefix): experiment.tags.get(_RUN_TAG) if _is_active(experiment) else None
        for experiment in every
        if experiment.name.startswith(prefix)
    }
    shared = connection.retried(what, lambda client: client.get_experiment_by_name(f"mlops-{kind.name}"))
    if shared is None or not run_of:
        return dict.fromkeys(run_of)
    runs = connection.pages(
        what,
        lambda client, token: client.search_runs([shared.experiment_id], max_results=_PAGE, page_token=token),
    )
    held = {str(run.info.run_id): run for run in runs}
    return {
        model: dict(run.data.params)
        if (run := held.get(str(run_id))) is not None and _holds(run, _tags_of(kind, model))
        else None
        for model, run_id in run_of.items()
    }


def _is_active(experiment: Experiment) -> bool:
    return bool(experiment.lifecycle_stage == "active")


def experiment_id(connection: Connection, name: str) -> str:
    """Return the id of the experiment, created when it is missing.

    :raises RegistryError: an experiment of that name was deleted.
    """
    what = f"opening the experiment {name!r}"

    def find() -> Experiment | None:
        return connection.retried(what, lambda client: client.get_experiment_by_name(name))

    found = find()
    if found is None:
        location = connection.artifact_location(name)
        found = make_once(
            what,
            lambda: connection.once(what, lambda client: client.create_experiment(name, location, _EXPERIMENT_KIND)),
            find,
        )
    if found.lifecycle_stage != "active":
        raise RegistryError(
            f"MLflow's experiment {name!r} at {connection.address} was deleted",
            hint=f"Restore it (mlflow experiments restore --experiment-id {found.experiment_id}), "
            "or name another experiment.",
        )
    return str(found.experiment_id)
