"""What predicts when rows are scored: a model, checked to be the one that the ledger names, or a constant baseline."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import ArtifactError, DataError, MLOpsError, ModelError, ModelUnavailableError
from airflow_mlops_provider.modeling.model_file import canonical_digest, load_model
from airflow_mlops_provider.modeling.predictions import fitted_columns, predict
from airflow_mlops_provider.modeling.splits import ClassLabel
from airflow_mlops_provider.modeling.threshold import threshold_of
from airflow_mlops_provider.spec import Frozen
from airflow_mlops_provider.spec.frozen import Finite

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    from airflow_mlops_provider.data.tables import TableInfo
    from airflow_mlops_provider.job import Job
    from airflow_mlops_provider.spec.data import Columns

#: The version that is written when no model could predict.
NO_VERSION = 0


class Baseline(Frozen):
    """What is predicted for every row when there is no model to predict it.

    :param values: a share for each class, or one number.
    """

    classes: list[ClassLabel] | None = None
    values: list[Finite]


@dataclass(frozen=True)
class Scorer:
    """A model or a baseline, ready to predict.

    :param columns: the features that it takes, in their roles.
    :param scores_of: from features to numbers, `(n,)` or `(n, classes)`.
    :param known: the categories that it knows, by column.
    :param threshold: probability from which on a row is of the second class; None for the most probable class.
    """

    name: str
    version: int
    classes: list[ClassLabel]
    columns: Columns
    scores_of: Callable[[pd.DataFrame], NDArray[Any]]
    known: dict[str, frozenset[str]] = field(default_factory=dict)
    threshold: float | None = None


def model_scorer(job: Job, info: TableInfo) -> Scorer:
    """Return the request's champion.

    :raises ModelUnavailableError: it is not the one that the ledger names, or cannot be loaded.
    :raises DataError: the rows do not have the columns that it was fitted on.
    """
    champion = job.request.champion
    if champion is None:
        raise MLOpsError("step 'score' received no model", expected="a champion, or a baseline in the section")
    name = f"version {champion.version} of {job.request.pipeline!r}"
    try:
        if (digest := canonical_digest(job.store.fetch(champion.model))) != champion.digest:
            raise ModelError("it contains another model", got=digest, expected=f"{champion.digest} in the ledger")
        pipeline = load_model(job.store, champion.model, job.allow_list)
    except (ArtifactError, ModelError) as error:
        raise ModelUnavailableError(
            f"{name} cannot be loaded", got=str(error), hint="Restore its file, or roll back to another version."
        ) from error
    classes = pipeline.classes_.tolist() if hasattr(pipeline, "classes_") else []
    if bool(classes) == (info.task == "regression"):
        raise ModelError(f"{name} is not a model for the task", got=f"classes {classes}", expected=info.task)
    columns = fitted_columns(pipeline, info.columns)
    return Scorer(
        name=name,
        version=champion.version,
        classes=classes,
        columns=columns,
        scores_of=lambda frame: predict(pipeline, frame, info.task),
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


def baseline_scorer(baseline: Baseline, info: TableInfo) -> Scorer:
    """Return what says the same of every row."""
    import numpy as np

    def scores_of(frame: pd.DataFrame) -> NDArray[Any]:
        row = np.array(baseline.values)
        return np.repeat(row, len(frame)) if baseline.classes is None else np.tile(row, (len(frame), 1))

    return Scorer("the baseline", NO_VERSION, baseline.classes or [], info.columns, scores_of)


def check_types(scorer: Scorer, schema: pa.Schema, uri: str) -> None:
    """Refuse rows that break the signature, by the types of the columns.

    :raises DataError: names the column.
    """
    import pyarrow as pa

    def is_text(kind: pa.DataType) -> bool:
        return bool(pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind))

    for name in scorer.columns.features:
        if name not in schema.names:
            raise DataError(f"dataset {uri} has no column {name!r}", got=schema.names, expected=scorer.columns.features)
        kind, wanted = schema.field(name).type, "categorical" if name in scorer.columns.categorical else "numeric"
        if is_text(kind) != (wanted == "categorical"):
            raise DataError(f"column {name!r} of dataset {uri} has another type", got=kind, expected=wanted)
