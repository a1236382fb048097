"""Ingest: one typed, sorted Parquet snapshot of the rows that may be seen at `as_of`.

Equal rows give equal bytes, whatever the order and the batches in which the source gave them.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import SerializerFunctionWrapHandler, model_serializer

from airflow_mlops_provider.as_of import in_utc
from airflow_mlops_provider.data.batches import Wanted, read_frames
from airflow_mlops_provider.data.privacy import checked_secret, secret_id, shield, without, without_values
from airflow_mlops_provider.data.snapshot import Intake, OutOfOrderError
from airflow_mlops_provider.data.sources import read_files, source_files
from airflow_mlops_provider.exceptions import DataError, SpecError
from airflow_mlops_provider.job import Outcome
from airflow_mlops_provider.results import first_within
from airflow_mlops_provider.spec import Data, Frozen, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from pydantic import JsonValue

    from airflow_mlops_provider.data.batches import Batch
    from airflow_mlops_provider.data.privacy import Shield
    from airflow_mlops_provider.job import Job
    from airflow_mlops_provider.storage import SourceFile

log = logging.getLogger(__name__)

#: Raised when the same rows are read or stored otherwise than before, so that what was stored is made anew.
#: 2: texts are read by their forms; NA is a value where a text belongs; keys of floats are whole numbers.
FORMAT = 3
LIBRARIES = ("pandas", "pyarrow")

#: What of the columns under `data.privacy` goes into XCom, in bytes of JSON; the artifact holds it whole.
_SHOWN_BYTES = 1000


class Section(Frozen):
    """What is read, and for which task.

    :param purpose: `training` reads labelled rows of `data.window`; `scoring` rows up to as_of, which need no target;
        `live` labelled rows, on which a model that serves is measured.
    :param start: rows before are left out; without it, `data.window` decides for training, and nothing otherwise.
    :param without: stretches of time, from and until, whose rows are left out: their data was broken.
    """

    task: Task
    data: Data
    purpose: Literal["training", "scoring", "live"] = "training"
    start: datetime | None = None
    without: list[tuple[datetime, datetime]] = []

    @model_serializer(mode="wrap")
    def _without_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Without these settings at their defaults, training keeps the key that it has always had.
        added: dict[str, Any] = {"purpose": "training", "start": None, "without": []}
        return {name: value for name, value in dump(self).items() if name not in added or value != added[name]}

    def start_at(self, as_of: datetime) -> datetime | None:
        """Return the moment before which rows are left out."""
        if self.start is None and self.purpose == "training" and self.data.window is not None:
            return as_of - self.data.window
        return self.start

    @property
    def absent(self) -> frozenset[str]:
        """Columns that the source need not hold."""
        return frozenset({self.data.columns.target} if self.purpose == "scoring" else ())


def names(section: Section) -> list[str]:
    """Return the reader's name, when the source is one."""
    return [section.data.source.reader] if section.data.source.reader else []


def fingerprint(section: Section, job: Job) -> str | None:
    """Return what identifies the source unread: its files' sizes and times, or what the reader says of itself.

    Which secret hashes its columns is part of it.

    :raises DataError: when there is no file.
    """
    source = _source_fingerprint(section, job)
    if source is None or not (secret := _secret(section, job)):
        return source
    return hashlib.sha256(f"{source} {secret_id(secret)}".encode()).hexdigest()


def _source_fingerprint(section: Section, job: Job) -> str | None:
    source = section.data.source
    if source.uri is not None:
        files = [(file.name, file.version) for file in _files(section, job)]
        return hashlib.sha256(json.dumps(files).encode()).hexdigest()
    if source.reader is not None:
        own = getattr(job.allow_list.load(source.reader), "fingerprint", None)
        if own is not None:
            with _files_of_reader(source.reader):
                return str(own(**source.params))
    return None


def _secret(section: Section, job: Job) -> bytes:
    """Return what columns are hashed with; empty when none is."""
    privacy = section.data.privacy
    if privacy is None or not privacy.hashes:
        return b""
    if job.read_secret is None:
        raise SpecError(
            "columns are hashed in the worker, with the secret of an Airflow connection",
            got=f"a run without connection {privacy.conn_id!r}",
            hint="Use runtime kind in_process for ingest.",
        )
    return checked_secret(job.read_secret(str(privacy.conn_id)), str(privacy.conn_id))


def run(section: Section, job: Job) -> Outcome:
    """Read, type, filter, sort and store.

    :raises DataError: names the file or reader, and the column, row and value at fault (no value under `data.privacy`).
    """
    if section.purpose != "training":
        section = _of_purpose(section)
    if section.data.privacy is None:
        return _ingest(section, job, _Source(section, job))
    return without_values(lambda: _shielded(section, job), _where(section))


def _shielded(section: Section, job: Job) -> Outcome:
    """Store what the policy lets through, and what became of the other columns."""
    source = _Source(section, job)
    privacy: Any = section.data.privacy
    shielded = shield(section.data, privacy, source.batches, _secret(section, job))
    outcome = _ingest(section.model_copy(update={"data": shielded.data}), job, source, shielded)
    for each in shielded.report.columns:
        log.info("Column %r: %s.", each.column, each.words)
    summary: dict[str, JsonValue] = dict(
        first_within(((each.column, each.words) for each in shielded.report.columns), _SHOWN_BYTES)
    )
    report = job.store.add_document(shielded.report)
    return Outcome({**outcome.artifacts, "privacy": report}, {**outcome.facts, "privacy": summary})


def _ingest(section: Section, job: Job, source: _Source, hashing: Shield | None = None) -> Outcome:
    data = section.data
    intake = _intake(section, job, hashing)
    in_order = data.source.sql is None  # a query is not run twice
    if in_order:
        try:
            with closing(source.batches(data)) as batches:
                dataset = intake.store_in_order(batches, job.store)
        except OutOfOrderError:
            log.info("The source is not sorted by time. It is read again and sorted in memory.")
            intake = _intake(section, job, hashing)
            in_order = False
    if not in_order:
        with closing(source.batches(data)) as batches:
            dataset = intake.store_sorted(batches, job.store)
    facts = intake.facts()
    if section.start is not None:
        facts["start"] = in_utc(section.start).isoformat()
    log.info("Ingested %s rows as %s: %s", intake.rows, dataset.uri, facts)
    return Outcome(artifacts={"dataset": dataset}, facts={**facts, "bytes": dataset.size})


class FirstRows(NamedTuple):
    """What the beginning of a source shows.

    :param rows: of the first batch that may be seen at as_of.
    :param whole: whether that is all there is.
    :param span: from the first of them to the last; None without timestamps.
    """

    rows: int
    whole: bool
    span: timedelta | None = None


def try_first_rows(section: Section, job: Job) -> FirstRows:
    """Return what the source's first batch shows, whose rows fit the roles of their columns.

    :raises DataError: names the file or reader, and the column, row and value at fault (no value under `data.privacy`).
    """
    privacy = section.data.privacy
    dropped = [] if privacy is None else privacy.drop
    columns = without(section.data.columns, dropped)
    narrowed = section.model_copy(update={"data": section.data.model_copy(update={"columns": columns})})

    def tried() -> FirstRows:
        with closing(_batches(narrowed, job)) as batches:
            intake = _intake(narrowed, job)
            rows = intake.try_batch(next(batches, None))
            span = None if intake.span is None else intake.span[1] - intake.span[0]
            return FirstRows(rows, whole=next(batches, None) is None, span=span)

    return tried() if privacy is None else without_values(tried, _where(section))


def _of_purpose(section: Section) -> Section:
    """Return the section without columns that its purpose has no use for: groups; of rows to score amounts too."""
    gone: dict[str, Any] = {"groups": []} | ({"amounts": []} if section.purpose == "scoring" else {})
    columns = section.data.columns.model_copy(update=gone)
    return section.model_copy(update={"data": section.data.model_copy(update={"columns": columns})})


def _intake(section: Section, job: Job, hashing: Shield | None = None) -> Intake:
    start, labelled = section.start_at(job.as_of), section.purpose != "scoring"
    return Intake(
        section.task,
        section.data,
        job.as_of,
        start=start,
        labelled=labelled,
        hashing=hashing,
        without=section.without,
    )


class _Source:
    """What is read, maybe several times; a query is run once, and its rows are held when they are read again."""

    def __init__(self, section: Section, job: Job) -> None:
        self._section = section
        self._job = job
        self._again = section.data.privacy is not None and bool(section.data.privacy.recognise)
        self._held: list[Batch] | None = None

    def batches(self, data: Data) -> Generator[Batch]:
        """Yield the rows, of the columns that have a role."""
        if data.source.sql is None or not self._again:
            yield from _batches(self._section.model_copy(update={"data": data}), self._job)
            return
        if self._held is None:
            self._held = list(_batches(self._section.model_copy(update={"data": data}), self._job))
        yield from self._held


def _where(section: Section) -> str:
    source = section.data.source
    return f"source {source.uri or source.reader or f'of the query on {source.conn_id!r}'}"


def _files(section: Section, job: Job) -> list[SourceFile]:
    return source_files(section.data, job.as_of, section.start_at(job.as_of), job.store.options)


def _batches(section: Section, job: Job) -> Generator[Batch]:
    data, source = section.data, section.data.source
    forbidden = frozenset(() if data.privacy is None else data.privacy.forbid)
    wanted = Wanted(data.columns, section.absent, forbidden, source.csv, data.beside)
    if source.uri is not None:
        yield from read_files(data, _files(section, job), section.absent, job.store.options)
    elif source.sql is not None:
        if job.read_sql is None:
            raise SpecError(
                "SQL is read in the worker, through its Airflow connection",
                got=f"a run without connection {source.conn_id!r}",
                hint="Use runtime kind in_process for ingest.",
            )
        frames = job.read_sql(str(source.conn_id), source.sql)
        yield from read_frames(frames, f"the query on {source.conn_id!r}", wanted)
    else:
        yield from read_frames(_frames_of_reader(section, job), f"reader {source.reader}", wanted)


def _frames_of_reader(section: Section, job: Job) -> Iterator[Any]:
    name, params = str(section.data.source.reader), section.data.source.params
    reader: Callable[..., Any] = job.allow_list.load(name)
    start = section.start_at(job.as_of)
    try:
        inspect.signature(reader).bind(job.as_of, start, **params)
    except TypeError as error:
        raise SpecError(
            f"reader {name!r} does not accept data.source.params",
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
        raise DataError(f"reader {name!r} cannot find its data", got=str(error)) from error
