"""A fitted candidate on its way into the store: the model file, and what is needed to use it elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_mlops_provider.modeling.estimators import MISSING
from airflow_mlops_provider.modeling.fitting import names_of
from airflow_mlops_provider.modeling.model_file import (
    SUFFIX,
    Feature,
    ModelInfo,
    canonical_digest,
    requirements_for,
    save_model,
)
from airflow_mlops_provider.modeling.threshold import threshold_of

if TYPE_CHECKING:
    import pandas as pd

    from airflow_mlops_provider.allow_list import AllowList
    from airflow_mlops_provider.modeling.splits import SplitPlan
    from airflow_mlops_provider.results import ArtifactRef
    from airflow_mlops_provider.spec import Candidate
    from airflow_mlops_provider.storage import ArtifactStore

_EXAMPLE_ROWS = 3


class Fitted(NamedTuple):
    """A candidate that was fitted.

    :param frame: features of the rows that it was fitted on.
    """

    name: str
    candidate: Candidate
    plan: SplitPlan
    frame: pd.DataFrame
    pipeline: Any


def store_model(store: ArtifactStore, allow_list: AllowList, fitted: Fitted) -> tuple[ModelInfo, ArtifactRef]:
    """Store a model file; return what it is, and where it lies.

    :raises ModelError: the model cannot be stored without pickle.
    """
    plan, candidate = fitted.plan, fitted.candidate
    with store.workspace() as folder:
        path = folder / f"model{SUFFIX}"
        trusted = save_model(fitted.pipeline, path, allow_list)
        digest = canonical_digest(path)
        ref = store.add(path, SUFFIX)
    libraries = {name.partition(".")[0] for name in names_of(candidate)}
    info = ModelInfo(
        task=plan.task,
        candidate=fitted.name,
        estimator=candidate.estimator,
        target=plan.columns.target,
        classes=plan.classes,
        features=[
            *(Feature(name=name, kind="numeric") for name in plan.columns.numeric),
            *(Feature(name=name, kind="categorical") for name in plan.columns.categorical),
        ],
        digest=digest,
        size=ref.size,
        threshold=threshold_of(fitted.pipeline),
        predict_fn="predict" if plan.task == "regression" else "predict_proba",
        trusted_types=trusted,
        requirements=requirements_for(frozenset(libraries & set(allow_list.modules))),
        input_example=_example(fitted.frame, set(plan.columns.numeric)),
    )
    return info, ref


def _example(frame: pd.DataFrame, numeric: set[str]) -> dict[str, list[Any]]:
    """Return the first complete rows; where there are too few, the columns' first known values."""
    rows = frame.head(10_000).dropna().head(_EXAMPLE_ROWS)
    if len(rows) == _EXAMPLE_ROWS:
        return {str(name): rows[name].tolist() for name in rows}
    known = {str(name): frame[name].dropna().head(_EXAMPLE_ROWS).tolist() for name in frame}
    return {
        name: ((values or [0.0 if name in numeric else MISSING]) * _EXAMPLE_ROWS)[:_EXAMPLE_ROWS]
        for name, values in known.items()
    }
