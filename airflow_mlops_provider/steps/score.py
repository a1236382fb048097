"""Asks a model for every row of a dataset, a row group at a time: memory does not grow with rows.

The model is not taken at its word: its file has to be the one that the ledger names, and the rows have to have the
columns that it was fitted on, in their roles. What is written is complete or not there.

A shard is some of the row groups, in a row. Given the results of all shards as `parts`, the step joins them, row group
by row group, to the very file that one pass over the dataset writes.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveInt, model_validator

from airflow_mlops_provider.as_of import as_of_text
from airflow_mlops_provider.data.tables import iter_tables, row_groups, table_info, table_schema, write_table
from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.exceptions import (
    ArtifactError,
    DataError,
    MLOpsError,
    ModelError,
    ModelUnavailableError,
    SpecError,
)
from airflow_mlops_provider.job import Outcome
from airflow_mlops_provider.modeling.model_file import canonical_digest, load_model
from airflow_mlops_provider.modeling.predictions import (
    feature_frame,
    fitted_columns,
    one_thread,
    predict,
    prediction_columns,
)
from airflow_mlops_provider.modeling.splits import ClassLabel
from airflow_mlops_provider.modeling.tally import Tally
from airflow_mlops_provider.modeling.threshold import threshold_of
from airflow_mlops_provider.spec import Frozen
from airflow_mlops_provider.spec.frozen import Finite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    from airflow_mlops_provider.data.tables import TableInfo
    from airflow_mlops_provider.job import Job
    from airflow_mlops_provider.results import ArtifactRef, StepResult
    from airflow_mlops_provider.spec.sections import Columns

#: Raised when rows are scored or stored otherwise than before, so that what was stored is made anew.
#: 2: rows without a key are numbered.
FORMAT = 2
log = logging.getLogger(__name__)

LIBRARIES = ("numpy", "pandas", "pyarrow", "scipy", "sklearn", "skops")

#: Columns that every scored row gets besides the prediction.
VERSION, AS_OF = "model_version", "as_of"
#: Column that rows without a key get: their number in the window's snapshot, from 1 on.
ROW = "row"
#: The version that is written when no model could be asked.
NO_VERSION = 0


class Baseline(Frozen):
    """What is said of every row when there is no model to ask.

    :param values: a share for each class, or one number.
    """

    classes: list[ClassLabel] | None = None
    values: list[Finite]


class Shard(Frozen):
    """One of `count` runs of row groups."""

    index: int = Field(ge=0)
    count: PositiveInt

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Shard:
        if self.index >= self.count:
            raise ValueError(f"there is no shard {self.index} of {self.count}; the first is 0")
        return self

    def of(self, groups: int) -> range:
        """Return the indices of its row groups."""
        return range(self.index * groups // self.count, (self.index + 1) * groups // self.count)


class Part(Document):
    """What was seen of one shard, as it is stored."""

    shard: Shard
    tally: Tally


class Section(Frozen):
    """What is asked, and about which rows.

    :param baseline: asked instead of the request's champion, when there is none to ask.
    :param shard: the rows, when not all of them.
    """

    baseline: Baseline | None = None
    shard: Shard | None = None


@dataclass(frozen=True)
class Scorer:
    """What is asked.

    :param columns: the features that it takes, in their roles.
    :param ask: from features to numbers, `(n,)` or `(n, classes)`.
    :param known: the categories that it knows, by column.
    :param threshold: probability from which on a row is of the second class; None for the most probable class.
    """

    name: str
    version: int
    classes: list[ClassLabel]
    columns: Columns
    ask: Callable[[pd.DataFrame], NDArray[Any]]
    known: dict[str, frozenset[str]] = field(default_factory=dict)
    threshold: float | None = None


def run(section: Section, job: Job) -> Outcome:
    """Store the artifact `predictions`; of a shard also `tally`, and no predictions when it has no row.

    :raises ModelUnavailableError: when the model is not the one that the ledger names, or cannot be loaded.
    :raises DataError: when the rows do not have the columns that it was fitted on.
    :raises ModelError: when a prediction is not a number.
    """
    if parts := job.results("parts"):
        return _joined(job, parts)
    dataset = job.artifact("dataset", "dataset")
    info = table_info(job.store, dataset)
    scorer = _baseline(section.baseline, info) if section.baseline is not None else _model(job, info)
    _check_types(scorer, table_schema(job.store, dataset), dataset.uri)
    sizes = row_groups(job.store, dataset)
    groups = range(len(sizes)) if section.shard is None else section.shard.of(len(sizes))
    carried = [*info.columns.keys, *([info.columns.timestamp] if info.columns.timestamp else [])]
    if not info.columns.keys:
        log.warning(
            "The rows have no key: predictions can be told apart by column %r alone, their number in the snapshot, by "
            "time and then as in the source. Name data.columns.keys.",
            ROW,
        )
    scoring = _Scoring(job, scorer, carried, sum(sizes[: groups.start]), numbered=not info.columns.keys)
    names = list(dict.fromkeys([*scoring.carried, *scorer.columns.features]))
    tables = scoring.tables(iter_tables(job.store, dataset, names, groups), whole=section.shard is None)
    artifacts = {}
    with one_thread():
        first = next(tables, None)
        if first is not None:
            schema = first.schema.with_metadata(_metadata(scorer))
            artifacts["predictions"] = write_table(job.store, _with(first, tables), schema, info)
    if section.shard is not None:
        return _part(job, section.shard, scoring.tally, artifacts)
    if first is None:
        raise DataError(f"dataset {dataset.uri} holds no row to score")
    return Outcome(artifacts, scoring.tally.facts())


def _metadata(scorer: Scorer) -> dict[bytes, bytes]:
    """Return what the file of predictions says of the model, besides what its columns mean."""
    told = {b"classes": json.dumps(scorer.classes).encode()}
    return told if scorer.threshold is None else {**told, b"threshold": json.dumps(scorer.threshold).encode()}


def _with(first: pa.Table, others: Iterator[pa.Table]) -> Iterator[pa.Table]:
    yield first
    yield from others


# ---------------------------------------------------------------- shards


def _part(job: Job, shard: Shard, tally: Tally, artifacts: dict[str, ArtifactRef]) -> Outcome:
    told = job.store.add_document(Part(shard=shard, tally=tally))
    facts = {"shard": shard.index, "shards": shard.count, "version": tally.version, "rows": tally.rows}
    return Outcome({**artifacts, "tally": told}, facts)


def _joined(job: Job, parts: list[StepResult]) -> Outcome:
    """Write the parts' row groups in the order of the shards: what one pass over the dataset would have written."""
    told = [(job.store.read_document(part.artifacts["tally"], Part), part) for part in parts]
    # The order is a part's own word, never that of the inputs: a key does not tell theirs.
    told.sort(key=lambda each: each[0].shard.index)
    if (got := [each.shard for each, _ in told]) != [Shard(index=i, count=len(told)) for i in range(len(told))]:
        raise MLOpsError("step 'score' was not given each shard once", got=got, expected="all shards of one dataset")
    tally = told[0][0].tally
    for each, _ in told[1:]:
        tally.add(each.tally)
    written = [part.artifacts["predictions"] for _, part in told if "predictions" in part.artifacts]
    if not written:
        raise DataError("no shard holds a row to score")
    tally.refuse_strangers()
    tables = (table for ref in written for table in iter_tables(job.store, ref))
    schema, info = table_schema(job.store, written[0]), table_info(job.store, written[0])
    return Outcome({"predictions": write_table(job.store, tables, schema, info)}, tally.facts())


# ---------------------------------------------------------------- who is asked


def _model(job: Job, info: TableInfo) -> Scorer:
    champion = job.request.champion
    if champion is None:
        raise MLOpsError("step 'score' was given no model", expected="a champion, or a baseline in the section")
    name = f"version {champion.version} of {job.request.pipeline!r}"
    try:
        if (digest := canonical_digest(job.store.fetch(champion.model))) != champion.digest:
            raise ModelError("its content is another model's", got=digest, expected=f"{champion.digest} in the ledger")
        pipeline = load_model(job.store, champion.model, job.allow_list)
    except (ArtifactError, ModelError) as error:
        raise ModelUnavailableError(
            f"{name} cannot be loaded", got=str(error), hint="Restore its file, or roll back to another version."
        ) from error
    classes = pipeline.classes_.tolist() if hasattr(pipeline, "classes_") else []
    if bool(classes) == (info.task == "regression"):
        raise ModelError(f"{name} is no model for the task", got=f"classes {classes}", expected=info.task)
    columns = fitted_columns(pipeline, info.columns)
    return Scorer(
        name=name,
        version=champion.version,
        classes=classes,
        columns=columns,
        ask=lambda frame: predict(pipeline, frame, info.task),
        known=_categories_of(pipeline, columns),
        threshold=threshold_of(pipeline),
    )


def _categories_of(pipeline: Any, columns: Columns) -> dict[str, frozenset[str]]:
    if not columns.categorical:
        return {}
    encoder = pipeline.named_steps["preprocess"].named_transformers_["categorical"].named_steps["encode"]
    return {
        name: frozenset(map(str, values)) for name, values in zip(columns.categorical, encoder.categories_, strict=True)
    }


def _baseline(baseline: Baseline, info: TableInfo) -> Scorer:
    import numpy as np

    def ask(frame: pd.DataFrame) -> NDArray[Any]:
        row = np.array(baseline.values)
        return np.repeat(row, len(frame)) if baseline.classes is None else np.tile(row, (len(frame), 1))

    return Scorer("the baseline", NO_VERSION, baseline.classes or [], info.columns, ask)


def _check_types(scorer: Scorer, schema: pa.Schema, uri: str) -> None:
    """Refuse rows that break the signature, by the types of the columns."""
    import pyarrow as pa

    def is_text(kind: pa.DataType) -> bool:
        return bool(pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind))

    for name in scorer.columns.features:
        if name not in schema.names:
            raise DataError(f"dataset {uri} has no column {name!r}", got=schema.names, expected=scorer.columns.features)
        kind, wanted = schema.field(name).type, "categorical" if name in scorer.columns.categorical else "numeric"
        if is_text(kind) != (wanted == "categorical"):
            raise DataError(f"column {name!r} of dataset {uri} is of another type", got=kind, expected=wanted)


# ---------------------------------------------------------------- asking


class _Scoring:
    """One pass over row groups, and what was seen on it.

    :param carried: columns that are taken over from the dataset.
    :param before: rows of the dataset before the first of these.
    :param numbered: rows have no key, so that nobody could tell them apart without a number.
    """

    def __init__(self, job: Job, scorer: Scorer, carried: list[str], before: int, *, numbered: bool) -> None:
        self.job = job
        self.scorer = scorer
        self.carried = list(dict.fromkeys(carried))
        self.before = before
        self.numbered = numbered
        self.tally = Tally.of(scorer.version, scorer.classes, scorer.known, scorer.threshold)

    def tables(self, groups: Iterator[pa.Table], *, whole: bool) -> Iterator[pa.Table]:
        """Yield the answers to each row group.

        :param whole: these are all rows, so that a column may be found to be another one.
        """
        for group in groups:
            if not len(group):
                continue
            self.tally.see(group, self.scorer.known)
            features = group.select(self.scorer.columns.features).to_pandas()
            values = self.scorer.ask(feature_frame(features, self.scorer.columns))
            self._check(values)
            self.tally.count(values)
            yield self._answers(group, values)
        if whole:
            self.tally.refuse_strangers()

    def _answers(self, group: pa.Table, values: NDArray[Any]) -> pa.Table:
        import pyarrow as pa

        first = self.before + self.tally.rows - len(group) + 1
        answers = {
            **({ROW: pa.arange(first, first + len(group))} if self.numbered else {}),
            **prediction_columns(values, self.scorer.classes, self.scorer.threshold),
            VERSION: pa.repeat(pa.scalar(self.scorer.version, pa.int64()), len(group)),
            # As text: the same value, of the same type, that a reader of partitions takes from the folder's name.
            AS_OF: pa.repeat(as_of_text(self.job.as_of), len(group)).dictionary_encode(),
        }
        if clash := [name for name in self.carried if name in answers]:
            raise SpecError(f"data.columns has {clash[0]!r}, the name of a column of predictions", hint="Rename it.")
        return pa.table({**{name: group[name] for name in self.carried}, **answers})

    def _check(self, values: NDArray[Any]) -> None:
        import numpy as np

        bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if bad.any():
            first = self.before + self.tally.rows + int(bad.argmax()) + 1
            raise ModelError(
                f"{self.scorer.name} predicts what is not a number, first in row {first}",
                got=f"{int(bad.sum())} such rows in this row group",
                expected="a finite number for every row",
                hint="Roll back, or leave such rows out of the source.",
            )
