"""Asks a model for every row of a dataset, a row group at a time: memory does not grow with rows.

The model is not taken at its word: its file has to be the one that the ledger names, and the rows have to have the
columns that it was fitted on, in their roles. What is written is complete or not there.

A shard is some of the row groups, in a row. Given the results of all shards as `parts`, the step joins them, row group
by row group, to the very file that one pass over the dataset writes.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from pydantic import Field, PositiveInt, model_validator

from airflow_mlops_provider.as_of import as_of_text
from airflow_mlops_provider.data.tables import iter_tables, row_groups, table_info, table_schema, write_table
from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.exceptions import DataError, MLOpsError, ModelError, SpecError
from airflow_mlops_provider.job import Outcome
from airflow_mlops_provider.modeling.missing import any_of, lacking
from airflow_mlops_provider.modeling.predictions import feature_frame, one_thread, prediction_columns
from airflow_mlops_provider.modeling.scorer import (
    NO_VERSION,
    Baseline,
    Scorer,
    baseline_scorer,
    check_types,
    model_scorer,
)
from airflow_mlops_provider.modeling.tally import Tally
from airflow_mlops_provider.spec import Frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

    from airflow_mlops_provider.job import Job
    from airflow_mlops_provider.results import ArtifactRef, StepResult

#: Raised when rows are scored or stored otherwise than before, so that what was stored is made anew.
#: 2: rows without a key are numbered. 3: rows that lack a feature are marked.
FORMAT = 4
log = logging.getLogger(__name__)

LIBRARIES = ("numpy", "pandas", "pyarrow", "scipy", "sklearn", "skops")

#: Columns that every scored row gets besides the prediction. `imputed`: a feature of the row is missing, so that the
#: model filled it in, or read it as missing.
IMPUTED, VERSION, AS_OF = "imputed", "model_version", "as_of"
#: Column that rows without a key get: their number in the window's snapshot, from 1 on.
ROW = "row"
#: Features that an error names at most.
_MOST_NAMED = 5


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

    SCHEMA = 2  # 2: counts the rows that lack a feature

    shard: Shard
    tally: Tally


class Section(Frozen):
    """What predicts, and for which rows.

    :param baseline: predicts instead of the request's champion, when there is none that can.
    :param shard: the rows, when not all of them.
    """

    baseline: Baseline | None = None
    shard: Shard | None = None


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
    scorer = baseline_scorer(section.baseline, info) if section.baseline is not None else model_scorer(job, info)
    check_types(scorer, table_schema(job.store, dataset), dataset.uri)
    sizes = row_groups(job.store, dataset)
    groups = range(len(sizes)) if section.shard is None else section.shard.of(len(sizes))
    carried = [*info.columns.keys, *([info.columns.timestamp] if info.columns.timestamp else [])]
    if not info.columns.keys:
        log.warning(
            "The rows have no key: only column %r identifies a prediction, the number of its row in the snapshot, "
            "sorted by time and then as in the source. Set data.columns.keys.",
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
        raise DataError(f"dataset {dataset.uri} has no rows to score")
    return Outcome(artifacts, scoring.tally.facts())


def _metadata(scorer: Scorer) -> dict[bytes, bytes]:
    """Return what the file of predictions says of the model, besides what its columns mean."""
    metadata = {b"classes": json.dumps(scorer.classes).encode()}
    return metadata if scorer.threshold is None else {**metadata, b"threshold": json.dumps(scorer.threshold).encode()}


def _with(first: pa.Table, others: Iterator[pa.Table]) -> Iterator[pa.Table]:
    yield first
    yield from others


# ---------------------------------------------------------------- shards


def _part(job: Job, shard: Shard, tally: Tally, artifacts: dict[str, ArtifactRef]) -> Outcome:
    written = job.store.add_document(Part(shard=shard, tally=tally))
    facts = {"shard": shard.index, "shards": shard.count, "version": tally.version, "rows": tally.rows}
    return Outcome({**artifacts, "tally": written}, facts)


def _joined(job: Job, parts: list[StepResult]) -> Outcome:
    """Write the parts' row groups in the order of the shards: what one pass over the dataset would have written."""
    counted = [(job.store.read_document(part.artifacts["tally"], Part), part) for part in parts]
    # The order is a part's own word, never that of the inputs: a key does not tell theirs.
    counted.sort(key=lambda each: each[0].shard.index)
    if (got := [each.shard for each, _ in counted]) != [
        Shard(index=i, count=len(counted)) for i in range(len(counted))
    ]:
        raise MLOpsError(
            "step 'score' did not receive each shard exactly once", got=got, expected="all shards of one dataset"
        )
    tally = counted[0][0].tally
    for each, _ in counted[1:]:
        tally.add(each.tally)
    written = [part.artifacts["predictions"] for _, part in counted if "predictions" in part.artifacts]
    if not written:
        raise DataError("no shard has rows to score")
    tally.refuse_strangers()
    tables = (table for ref in written for table in iter_tables(job.store, ref))
    schema, info = table_schema(job.store, written[0]), table_info(job.store, written[0])
    return Outcome({"predictions": write_table(job.store, tables, schema, info)}, tally.facts())


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
        import pyarrow.compute as pc

        for group in groups:
            if not len(group):
                continue
            self.tally.see(group, self.scorer.known)
            features = group.select(self.scorer.columns.features).to_pandas()
            missing = lacking(group, self.scorer.columns.features if self.scorer.version != NO_VERSION else [])
            try:
                values = self.scorer.scores_of(feature_frame(features, self.scorer.columns))
            except ModelError as error:
                raise self._refusal(missing, error) from error
            self._check(values)
            imputed = any_of(missing, len(group))
            self.tally.count(values, imputed=pc.sum(imputed).as_py())
            yield self._answers(group, values, imputed)
        if whole:
            self.tally.refuse_strangers()

    def _answers(self, group: pa.Table, values: NDArray[Any], imputed: pa.Array) -> pa.Table:
        import pyarrow as pa

        first = self.before + self.tally.rows - len(group) + 1
        answers = {
            **({ROW: pa.arange(first, first + len(group))} if self.numbered else {}),
            **prediction_columns(values, self.scorer.classes, self.scorer.threshold),
            IMPUTED: imputed,
            VERSION: pa.repeat(pa.scalar(self.scorer.version, pa.int64()), len(group)),
            # As text: the same value, of the same type, that a reader of partitions takes from the folder's name.
            AS_OF: pa.repeat(as_of_text(self.job.as_of), len(group)).dictionary_encode(),
        }
        if clash := [name for name in self.carried if name in answers]:
            raise SpecError(f"data.columns has {clash[0]!r}, the name of a prediction column", hint="Rename it.")
        return pa.table({**{name: group[name] for name in self.carried}, **answers})

    def _refusal(self, missing: dict[str, pa.Array], error: ModelError) -> ModelError:
        """Return why rows are refused: a model without an imputer says which columns it misses values of."""
        if not missing or "NaN" not in str(error):
            return error
        first = self.before + self.tally.rows + 1
        found = ", ".join(f"{name!r} in {each.true_count:,} rows" for name, each in list(missing.items())[:_MOST_NAMED])
        return ModelError(
            f"{self.scorer.name} has no imputer, but features are missing in the {len(next(iter(missing.values()))):,} "
            f"rows from {first} on",
            got=found,
            expected="a value in each row",
            hint="Repair the source, or train a candidate with impute_numeric.",
        )

    def _check(self, values: NDArray[Any]) -> None:
        import numpy as np

        bad = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if bad.any():
            first = self.before + self.tally.rows + int(bad.argmax()) + 1
            raise ModelError(
                f"{self.scorer.name} predicts values that are not finite, first in row {first}",
                got=f"{int(bad.sum())} such rows in this row group",
                expected="a finite number for every row",
                hint="Roll back, or leave such rows out of the source.",
            )
