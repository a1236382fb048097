"""Points of a space: each a value for every parameter that is varied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import SpecError
from airflow_mlops_provider.spec.search import Range

if TYPE_CHECKING:
    from pydantic import JsonValue

    from airflow_mlops_provider.spec.search import Search

#: A value for each parameter of the space.
Point = dict[str, "JsonValue"]


def listed_points(search: Search, seed: int) -> list[Point]:
    """Return the points of a method that knows them beforehand, in scikit-learn's order.

    `ParameterGrid` walks through a grid; `ParameterSampler` draws, from lists alone without repetition.
    """
    from sklearn.model_selection import ParameterGrid, ParameterSampler

    # Whatever stands in a list, even what cannot be hashed, has a number in it.
    axes = {
        name: _distribution(values) if isinstance(values, Range) else list(range(len(values)))
        for name, values in search.space.items()
    }
    drawn = ParameterGrid(axes) if search.method == "grid" else ParameterSampler(axes, search.count, random_state=seed)
    points = [{name: _value(search.space[name], drawn_value) for name, drawn_value in point.items()} for point in drawn]
    # Of a grid the sampler's names come in its own order.
    return [{name: point[name] for name in search.space} for point in points[: search.count]]


def suggested(search: Search, trial: Any) -> Point:
    """Return the point that an Optuna trial suggests."""
    return {name: _suggestion(trial, name, values) for name, values in search.space.items()}


def new_study(less_is_better: bool, seed: int) -> Any:
    """Return an Optuna study in memory, of the tree-structured Parzen estimator (Bergstra et al. 2011).

    :raises SpecError: when Optuna is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise SpecError(
            "search.method bayesian needs Optuna, which is not installed",
            got=str(error),
            hint="Install airflow-mlops-provider[search].",
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        direction="minimize" if less_is_better else "maximize", sampler=optuna.samplers.TPESampler(seed=seed)
    )


def _suggestion(trial: Any, name: str, values: list[Any] | Range) -> Any:
    if not isinstance(values, Range):
        return values[int(trial.suggest_categorical(name, list(range(len(values)))))]
    if values.int:
        return int(trial.suggest_int(name, int(values.low), int(values.high), log=values.log))
    return float(trial.suggest_float(name, values.low, values.high, log=values.log))


def _value(values: list[Any] | Range, drawn: Any) -> Any:
    if not isinstance(values, Range):
        return values[int(drawn)]
    # A whole number stands for all that are rounded to it, so that the bounds come as often as the others.
    return min(max(round(float(drawn)), int(values.low)), int(values.high)) if values.int else float(drawn)


def _distribution(values: Range) -> Any:
    from scipy import stats

    margin = 0.5 if values.int else 0.0
    low, high = values.low - margin, values.high + margin
    return stats.loguniform(low, high) if values.log else stats.uniform(low, high - low)
