"""Ingest: one typed, sorted Parquet snapshot of the rows that may be seen at `as_of`.

Equal rows give equal bytes, whatever the order and the batches in which the source gave them.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.data.batches import read_frames
from airflow_mlops_provider.data.snapshot import Intake, OutOfOrderError
from airflow_mlops_provider.data.sources import read_files, source_files
from airflow_mlops_provider.exceptions import DataError, SpecError
from airflow_mlops_provider.job import Outcome
from airflow_mlops_provider.spec import Data, Frozen, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from airflow_mlops_provider.data.batches import Batch
    from airflow_mlops_provider.job import Job

log = logging.getLogger(__name__)

LIBRARIES = ("pandas", "pyarrow")


class Section(Frozen):
    """What is read, and for which task."""

    task: Task
    data: Data


def names(section: Section) -> list[str]:
    """Return the reader's name, when the source is one."""
    return [section.data.source.reader] if section.data.source.reader else []


def fingerprint(section: Section, job: Job) -> str | None:
    """Return what identifies the source unread: its files' sizes and times, or what the reader says of itself.

    :raises DataError: when there is no file.
    """
    source = section.data.source
    if source.uri is not None:
        files = [(file.name, file.version) for file in source_files(section.data, job.as_of)]
        return hashlib.sha256(json.dumps(files).encode()).hexdigest()
    if source.reader is not None:
        own = getattr(job.allow_list.load(source.reader), "fingerprint", None)
        if own is not None:
            with _files_of_reader(source.reader):
                return str(own(**source.params))
    return None


def run(section: Section, job: Job) -> Outcome:
    """Read, type, filter, sort and store.

    :raises DataError: names the file or reader, and the column, row and value at fault.
    """
    intake = Intake(section.task, section.data, job.as_of)
    in_order = section.data.source.sql is None  # a query is not run twice
    if in_order:
        try:
            with closing(_batches(section, job)) as batches:
                dataset = intake.store_in_order(batches, job.store)
        except OutOfOrderError:
            log.info("The source is not sorted by time. It is read again and sorted in memory.")
            intake = Intake(section.task, section.data, job.as_of)
            in_order = False
    if not in_order:
        with closing(_batches(section, job)) as batches:
            dataset = intake.store_sorted(batches, job.store)
    facts = intake.facts()
    log.info("Ingested %s rows as %s: %s", intake.rows, dataset.uri, facts)
    return Outcome(artifacts={"dataset": dataset}, facts={**facts, "bytes": dataset.size})


def _batches(section: Section, job: Job) -> Generator[Batch]:
    data, source = section.data, section.data.source
    if source.uri is not None:
        yield from read_files(data, source_files(data, job.as_of))
    elif source.sql is not None:
        if job.read_sql is None:
            raise SpecError(
                "SQL is read in the worker, through its Airflow connection",
                got=f"a run without one, for {source.conn_id!r}",
                hint="Use runtime kind in_process for ingest.",
            )
        frames = job.read_sql(str(source.conn_id), source.sql)
        yield from read_frames(frames, f"the query on {source.conn_id!r}", data.columns)
    else:
        yield from read_frames(_frames_of_reader(section, job), f"reader {source.reader}", data.columns)


def _frames_of_reader(section: Section, job: Job) -> Iterator[Any]:
    name, params = str(section.data.source.reader), section.data.source.params
    reader: Callable[..., Any] = job.allow_list.load(name)
    start = None if section.data.window is None else job.as_of - section.data.window
    try:
        inspect.signature(reader).bind(job.as_of, start, **params)
    except TypeError as error:
        raise SpecError(
            f"reader {name!r} does not take data.source.params",
            got=params,
            expected=f"{name}{inspect.signature(reader)}",
            hint=f"{error}.",
        ) from error
    with _files_of_reader(name):
        given = reader(job.as_of, start, **params)
        if inspect.isgenerator(given) or isinstance(given, (list, tuple)):
            yield from given
        else:
            yield given


@contextmanager
def _files_of_reader(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"reader {name!r} does not find its data", got=str(error)) from error
