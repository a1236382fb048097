"""Asks a model for every row of a dataset, a row group at a time: memory does not grow with rows.

The model is not taken at its word: its file has to be the one that the ledger names, and the rows have to have the
columns that it was fitted on, in their roles. What is written is complete or not there.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.as_of import as_of_text
from airflow_mlops_provider.data.tables import iter_tables, table_info, table_schema, write_table
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
from airflow_mlops_provider.results import text_within
from airflow_mlops_provider.spec import Frozen
from airflow_mlops_provider.spec.frozen import Finite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    from airflow_mlops_provider.data.tables import TableInfo
    from airflow_mlops_provider.job import Job
    from airflow_mlops_provider.spec.sections import Columns

LIBRARIES = ("numpy", "pandas", "pyarrow", "scipy", "sklearn", "skops")

#: Columns that every scored row gets besides the prediction.
VERSION, AS_OF = "model_version", "as_of"
#: The version that is written when no model could be asked.
NO_VERSION = 0

_MAX_SHOWN, _NAME_BYTES = 20, 40
#: So many values of a category, none of them known to the model, are no chance: the column was retyped or renamed.
_STRANGERS = 100


class Baseline(Frozen):
    """What is said of every row when there is no model to ask.

    :param values: a share for each class, or one number.
    """

    classes: list[ClassLabel] | None = None
    values: list[Finite]


class Section(Frozen):
    """What is asked instead of the request's champion, when there is none to ask."""

    baseline: Baseline | None = None


@dataclass(frozen=True)
class Scorer:
    """What is asked.

    :param columns: the features that it takes, in their roles.
    :param ask: from features to numbers, `(n,)` or `(n, classes)`.
    :param known: the categories that it knows, by column.
    """

    name: str
    version: int
    classes: list[ClassLabel]
    columns: Columns
    ask: Callable[[pd.DataFrame], NDArray[Any]]
    known: dict[str, frozenset[str]] = field(default_factory=dict)


def run(section: Section, job: Job) -> Outcome:
    """Store the artifact `predictions`.

    :raises ModelUnavailableError: when the model is not the one that the ledger names, or cannot be loaded.
    :raises DataError: when the rows do not have the columns that it was fitted on.
    :raises ModelError: when a prediction is not a number.
    """
    dataset = job.artifact("dataset", "dataset")
    info = table_info(job.store, dataset)
    scorer = _baseline(section.baseline, info) if section.baseline is not None else _model(job, info)
    _check_types(scorer, table_schema(job.store, dataset), dataset.uri)
    scoring = _Scoring(job, scorer, [*info.columns.keys, *([info.columns.timestamp] if info.columns.timestamp else [])])
    names = [*scoring.carried, *scorer.columns.features]
    tables = scoring.tables(iter_tables(job.store, dataset, list(dict.fromkeys(names))))
    with one_thread():
        first = next(tables, None)
        if first is None:
            raise DataError(f"dataset {dataset.uri} holds no row to score")
        schema = first.schema.with_metadata({b"classes": json.dumps(scorer.classes).encode()})
        ref = write_table(job.store, _with(first, tables), schema, info)
    return Outcome({"predictions": ref}, scoring.facts())


def _with(first: pa.Table, others: Iterator[pa.Table]) -> Iterator[pa.Table]:
    yield first
    yield from others


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
    """One pass over the dataset, and what was seen on it.

    :param carried: columns that are taken over from the dataset.
    """

    def __init__(self, job: Job, scorer: Scorer, carried: list[str]) -> None:
        self.job = job
        self.scorer = scorer
        self.carried = list(dict.fromkeys(carried))
        self.rows = 0
        self.total = self.squares = 0.0
        self.counts: dict[int, int] = {}
        self.values_seen = dict.fromkeys(scorer.known, 0)
        self.familiar = dict.fromkeys(scorer.known, False)

    def tables(self, groups: Iterator[pa.Table]) -> Iterator[pa.Table]:
        """Yield the answers to each row group."""
        for group in groups:
            if not len(group):
                continue
            self._look_at_categories(group)
            features = group.select(self.scorer.columns.features).to_pandas()
            values = self.scorer.ask(feature_frame(features, self.scorer.columns))
            self._check(values)
            self._count(values)
            yield self._answers(group, values)
            self.rows += len(group)
        for name, seen in self.values_seen.items():
            if seen >= _STRANGERS and not self.familiar[name]:
                raise DataError(
                    f"the model knows none of the values of column {name!r}",
                    got=f"{seen} values, none of them seen in training",
                    expected=f"such as {sorted(self.scorer.known[name])[:5]}",
                    hint="The column was retyped or renamed at its source.",
                )

    def facts(self) -> dict[str, Any]:
        """Return what is worth telling of the answers."""
        facts: dict[str, Any] = {"rows": self.rows, "version": self.scorer.version, "nulls": 0}
        if not self.scorer.classes:
            mean = self.total / self.rows
            return {**facts, "mean": mean, "sd": math.sqrt(max(self.squares / self.rows - mean * mean, 0.0))}
        most = sorted(self.counts, key=lambda index: -self.counts[index])[:_MAX_SHOWN]
        names = {index: text_within(str(self.scorer.classes[index]), _NAME_BYTES) for index in most}
        return {**facts, "shares": {names[index]: self.counts[index] / self.rows for index in most}}

    def _answers(self, group: pa.Table, values: NDArray[Any]) -> pa.Table:
        import pyarrow as pa

        answers = {
            **prediction_columns(values, self.scorer.classes),
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
            raise ModelError(
                f"{self.scorer.name} predicts what is not a number, first in row {self.rows + int(bad.argmax()) + 1}",
                got=f"{int(bad.sum())} such rows in this row group",
                expected="a finite number for every row",
                hint="Roll back, or leave such rows out of the source.",
            )

    def _count(self, values: NDArray[Any]) -> None:
        import numpy as np

        if values.ndim == 1:
            self.total += float(values.sum())
            self.squares += float(np.square(values).sum())
            return
        for index, count in enumerate(np.bincount(values.argmax(axis=1), minlength=values.shape[1]).tolist()):
            self.counts[index] = self.counts.get(index, 0) + count

    def _look_at_categories(self, group: pa.Table) -> None:
        import pyarrow.compute as pc

        for name, known in self.scorer.known.items():
            column = group[name]
            self.values_seen[name] += len(column) - column.null_count
            if not self.familiar[name]:
                self.familiar[name] = not known.isdisjoint(pc.unique(column.unify_dictionaries()).to_pylist())
