"""Drafts a pipeline file, and tries it on the data before anybody sees it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import yaml

from airflow_mlops_provider.as_of import in_utc
from airflow_mlops_provider.data.conversion import Column, to_moment
from airflow_mlops_provider.data.forms import Forms
from airflow_mlops_provider.drafting.choices import choose
from airflow_mlops_provider.drafting.document import Facts, render
from airflow_mlops_provider.drafting.expectations import expectations_of
from airflow_mlops_provider.drafting.leaks import leave_out_leaks
from airflow_mlops_provider.drafting.roles import roles_of
from airflow_mlops_provider.drafting.sample import read_sample
from airflow_mlops_provider.drafting.windows import watching_of
from airflow_mlops_provider.exceptions import DataError, SpecError
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.pipelines import parse_pipeline
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.storage import ArtifactStore, temporary_folder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd
    import pyarrow as pa

    from airflow_mlops_provider.drafting.roles import Roles
    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.spec import Pipeline

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


@dataclass(frozen=True)
class Draft:
    """A pipeline file that the data passes.

    :param text: the file, with comments.
    :param rows: of the data.
    """

    pipeline: Pipeline
    text: str
    roles: Roles
    rows: int


def draft_pipeline(
    file: Path, *, target: str, timestamp: str | None = None, keys: Sequence[str] = (), name: str | None = None
) -> Draft:
    """Return a pipeline for a data file.

    :param target: the column to be predicted.
    :param timestamp: when a row became known; the only column of moments when left out.
    :param keys: what identifies a row; found by name and by being unique when left out.
    :param name: of the pipeline; the file's when left out.
    :raises SpecError: what was named does not fit the file.
    :raises DataError: the file cannot be read, or nothing can be learned from it.
    """
    name = pipeline_name(file) if name is None else name
    if not _NAME.fullmatch(name):
        raise SpecError(
            "--name is not a valid pipeline name",
            got=name,
            expected="lowercase letters, digits and _, starting with a letter",
        )
    sample = read_sample(file, target)
    roles = roles_of(sample, target, timestamp, keys)
    with temporary_folder("init") as folder:
        trial = _Trial(ArtifactStore(str(folder)), name, file.resolve(), _after(sample.table, roles))
        frame = trial.typed_rows(roles)
        leave_out_leaks(roles, frame)
        return _draft(trial, roles, frame)


def pipeline_name(file: Path) -> str:
    """Return a pipeline's name from a file's.

    >>> from pathlib import Path
    >>> pipeline_name(Path("2013 Flights.csv.gz"))
    'p_2013_flights'
    """
    stem = re.sub(r"\W+", "_", file.name.partition(".")[0].lower(), flags=re.ASCII).strip("_") or "pipeline"
    return (stem if stem[0].isalpha() else f"p_{stem}")[:63]


def _draft(trial: _Trial, roles: Roles, frame: pd.DataFrame) -> Draft:
    choices = choose(roles, frame)
    complete = [column for column in roles.columns.features if frame[column].notna().all()]
    expected = expectations_of(frame, roles.columns, roles.task)
    watching = watching_of(None if roles.timestamp is None else frame[roles.timestamp], len(frame))
    refusal: DataError | None = None
    for split in choices.splits:
        facts = Facts(trial.name, trial.file, len(frame), roles, choices, split, complete, expected, watching)
        text = render(facts)
        pipeline = parse_pipeline(yaml.safe_load(text), where="the draft")
        try:
            trial.prepare(pipeline)
        except DataError as error:
            refusal = refusal or error  # such as a class that only the last days lack: another split may do
        else:
            return Draft(pipeline, text, roles, len(frame))
    raise refusal or DataError("no split fits the data")


@dataclass(frozen=True)
class _Trial:
    """The steps up to training, on a store that is thrown away."""

    store: ArtifactStore
    name: str
    file: Path
    as_of: datetime

    def typed_rows(self, roles: Roles) -> pd.DataFrame:
        """Return the rows as ingest makes them."""
        from airflow_mlops_provider.data.tables import read_table

        source = {"uri": str(self.file), "csv": roles.csv.model_dump()}
        data: dict[str, Any] = {"source": source, "columns": roles.columns.model_dump()}
        if roles.timestamp is not None and not roles.zoned:
            data["timezone"] = "UTC"
        if roles.time_of_day is not None:
            data["time_of_day"] = roles.time_of_day
        dataset = self._run("ingest", {"task": roles.task, "data": data})
        return read_table(self.store, dataset.artifacts["dataset"])

    def prepare(self, pipeline: Pipeline) -> None:
        """Ingest, validate and prepare as the pipeline says.

        :raises MLOpsError: what does not hold.
        """
        data = pipeline.data.model_dump(mode="json")
        dataset = self._run("ingest", {"task": pipeline.task, "data": data})
        checked = self._run("validate", pipeline.validation.model_dump(mode="json"), dataset=[dataset])
        if checked.failure is not None:
            raise checked.failure.as_error()
        self._run("prepare", pipeline.preparation.model_dump(mode="json"), dataset=[dataset])

    def _run(self, step: str, section: dict[str, Any], **inputs: list[StepResult]) -> StepResult:
        request = StepRequest(step=step, pipeline=self.name, as_of=self.as_of, section=section, inputs=inputs)
        return run_step(request, self.store)


def _after(table: pa.Table, roles: Roles) -> datetime:
    """Return a moment after every row."""
    if roles.timestamp is None:
        return datetime(2000, 1, 1, tzinfo=UTC)
    import pyarrow as pa
    import pyarrow.compute as pc

    column = Column(roles.timestamp, table[roles.timestamp], "the file", pa.arange(1, len(table) + 1), Forms(roles.csv))
    last: datetime = pc.max(to_moment(column, "UTC")).as_py()
    return min(in_utc(last), datetime(9999, 12, 1, tzinfo=UTC)) + timedelta(days=2)  # a zone may be a day ahead
