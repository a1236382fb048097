"""What every fit of a candidate shares: the code that it names, the rows, and how many threads it may have."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.data.tables import read_table
from airflow_mlops_provider.exceptions import MLOpsError, ModelError
from airflow_mlops_provider.modeling.estimators import nested_names
from airflow_mlops_provider.modeling.predictions import read_features
from airflow_mlops_provider.spec.metrics import custom_among

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd
    from numpy.typing import NDArray

    from airflow_mlops_provider.allow_list import AllowList
    from airflow_mlops_provider.modeling.splits import SplitPlan
    from airflow_mlops_provider.results import ArtifactRef
    from airflow_mlops_provider.spec import Candidate
    from airflow_mlops_provider.storage import ArtifactStore


def libraries_of(candidate: Candidate, libraries: tuple[str, ...]) -> tuple[str, ...]:
    """Return the libraries whose versions decide the result of a step, with those of the candidate's search."""
    bayesian = candidate.search is not None and candidate.search.method == "bayesian"
    return (*libraries, "optuna") if bayesian else libraries


def names_of(candidate: Candidate) -> list[str]:
    """Return the dotted names of the estimator, its transformers, all in their parameters, and in the search."""
    space: Any = {} if candidate.search is None else candidate.search.model_dump(mode="json")["space"]
    made = [name for one in candidate.features for name in (one.transformer, *nested_names(one.params))]
    decides = [] if candidate.search is None or candidate.search.metric is None else [candidate.search.metric]
    measured = [one.function for one in custom_among(decides)]
    return [candidate.estimator, *nested_names(candidate.params), *nested_names(space), *made, *measured]


def read_rows(store: ArtifactStore, dataset: ArtifactRef, plan: SplitPlan) -> tuple[pd.DataFrame, NDArray[Any]]:
    """Return the features and the target of every row, in the dataset's order."""
    columns = plan.columns
    target = read_table(store, dataset, [columns.target])[columns.target]
    values = target.to_numpy(dtype="float64") if plan.task == "regression" else target.to_numpy()
    return read_features(store, dataset, columns), values


@contextmanager
def one_thread_each(names: Iterable[str], allow_list: AllowList) -> Iterator[None]:
    """Cap OpenMP's and BLAS's threads at one; joblib's `n_jobs` stays as it is set.

    Candidates train beside one another, and their thread pools would starve each other.

    :param names: of the estimators: a limit holds for the libraries that are loaded when it is set.
    """
    from threadpoolctl import threadpool_limits

    for name in names:
        allow_list.load(name)
    with threadpool_limits(1):
        yield


@contextmanager
def named(candidate: str, estimator: str, doing: str) -> Iterator[None]:
    """Name the candidate in whatever goes wrong.

    :raises ModelError: of what the estimator raises.
    """
    try:
        yield
    except (MLOpsError, MemoryError):
        raise
    except Exception as error:
        raise ModelError(
            f"candidate {candidate!r} ({estimator}) could not {doing}",
            got=f"{type(error).__name__}: {error}",
            hint="Correct its parameters, or its features, impute_numeric, encode and scale.",
        ) from error
