"""What a training run publishes to MLflow, and what it gets back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, JsonValue, model_validator

from airflow_mlops_provider.results import ArtifactRef
from airflow_mlops_provider.spec.frozen import Finite, Frozen


class DatasetInfo(Frozen):
    """The data that every candidate was trained and measured on.

    :param uri: where its artifact lies.
    :param digest: sha256 of it.
    """

    name: str
    digest: str
    uri: str
    rows: int = Field(ge=0)


class TrialRun(Frozen):
    """One trial of a candidate's search.

    :param metrics: empty when it failed; `why` says why.
    :param after: seconds from the start of the candidate's run, for the order of the trials.
    """

    number: int = Field(ge=0)
    params: dict[str, JsonValue] = Field(default_factory=dict)
    metrics: dict[str, Finite] = Field(default_factory=dict)
    after: Finite = Field(0.0, ge=0)
    seconds: Finite = Field(ge=0)
    why: str | None = None


class CandidateRun(Frozen):
    """One trained candidate.

    :param step_key: the training step's key; with the name it identifies the run.
    :param folds: by metric its value on each fold, which MLflow shows as steps from 1.
    :param tags: code version, environment, hardware, DAG and run id: whatever the caller knows.
    :param started: when training began (wall time).
    :param seconds: how long it took.
    :param trials: of its search, each a run nested in this one.
    :param files: texts to keep with the run, by path below its artifacts.
    """

    name: str
    step_key: str
    params: dict[str, JsonValue] = Field(default_factory=dict)
    metrics: dict[str, Finite] = Field(default_factory=dict)
    folds: dict[str, list[Finite | None]] = Field(default_factory=dict)
    tags: dict[str, str] = Field(default_factory=dict)
    started: datetime | None = None
    seconds: Finite | None = Field(None, ge=0)
    trials: list[TrialRun] = Field(default_factory=list)
    files: dict[str, str] = Field(default_factory=dict)


class PublishedModel(Frozen):
    """The winner's model as it is stored.

    :param digest: canonical digest: what it is.
    :param sha256: of the stored `model.skops`: which bytes it is.
    :param numeric: feature columns used as numbers (MLflow type double).
    :param categorical: feature columns used as categories (MLflow type string).
    :param target: name of the output column.
    :param target_type: MLflow type of what `predict` gives.
    :param requirements: exact pip requirements; nothing is inferred, which would take seconds.
    :param trusted_types: what skops may load besides its own trusted types.
    :param predict_function: what `mlflow.pyfunc` calls.
    :param input_example: a few rows by column.
    """

    digest: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    artifact: ArtifactRef
    numeric: list[str] = Field(default_factory=list)
    categorical: list[str] = Field(default_factory=list)
    target: str
    target_type: Literal["double", "long", "string", "boolean"] = "double"
    requirements: list[str] = Field(min_length=1)
    trusted_types: list[str] = Field(default_factory=list)
    predict_function: Literal["predict", "predict_proba"] = "predict"
    input_example: dict[str, list[JsonValue]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> PublishedModel:
        if self.sha256 != self.artifact.sha256:
            raise ValueError(f"sha256 is not the artifact's: {self.sha256} and {self.artifact.sha256}")
        if unknown := sorted(set(self.input_example) - {*self.numeric, *self.categorical}):
            raise ValueError(f"input_example has columns that are not features: {unknown}")
        return self


class Publication(Frozen):
    """One training, ready to be shown.

    :param experiment: name of the MLflow experiment.
    :param lineage: identifies the training: one parent run each, however often it is repeated.
    :param name: the parent run's name.
    :param metrics: of the evaluation, kept on the parent run.
    :param files: texts that the parent run keeps, by name.
    :param winner: name of the candidate whose model is registered.
    :param evaluation: key of the evaluation that named the winner.
    :param refit: key of the step that says what serves; None where there was no such step.
    :param judged: sha256 of the model that was judged, when it is another one.
    :param trained_to: last row that the model saw, data time.
    :param model_file: the winner's `model.skops`, or what fetches it; called only when it must be uploaded.
    """

    model: str
    experiment: str
    lineage: str
    as_of: datetime
    name: str
    tags: dict[str, str] = Field(default_factory=dict)
    dataset: DatasetInfo
    candidates: list[CandidateRun] = Field(min_length=1)
    metrics: dict[str, Finite] = Field(default_factory=dict)
    files: dict[str, str] = Field(default_factory=dict)
    winner: str
    model_info: PublishedModel
    evaluation: str | None = None
    refit: str | None = None
    judged: str | None = None
    trained_to: datetime | None = None
    model_file: Path | Callable[[], Path]

    @model_validator(mode="after")
    def _consistent(self) -> Publication:
        names = [candidate.name for candidate in self.candidates]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"candidates named twice: {twice}")
        if self.winner not in names:
            raise ValueError(f"the winner {self.winner!r} is not among the candidates {names}")
        return self

    @property
    def winning(self) -> CandidateRun:
        """The candidate whose model is registered."""
        return next(candidate for candidate in self.candidates if candidate.name == self.winner)


class Published(Frozen):
    """Where a training is found in MLflow.

    :param run_ids: child run by candidate.
    :param run_id: the winner's.
    :param version: the registered version, which the alias `challenger` named.
    """

    experiment_id: str
    parent_run_id: str
    run_ids: dict[str, str]
    run_id: str
    version: int
