"""Hyperparameter search: what may be varied, by which method, and when it is enough."""

from __future__ import annotations

from datetime import timedelta
from math import prod
from typing import Any, Literal

from pydantic import Field, PositiveInt, model_validator

from airflow_mlops_provider.spec.frozen import Finite, Frozen, Span
from airflow_mlops_provider.spec.metrics import Metric

#: More trials than this belong into a tool of their own: each becomes an MLflow run.
MAX_TRIALS = 500
#: Trials of a method that could go on for ever.
DEFAULT_TRIALS = 30


class Range(Frozen):
    """Numbers between two bounds, both included."""

    low: Finite = Field(description="Smallest value of the range.")
    high: Finite = Field(description="Largest value of the range.")
    log: bool = Field(
        False, description="Whether values are drawn on a logarithmic scale, which suits rates and penalties."
    )
    int: bool = Field(False, description="Whether only whole numbers are drawn.")

    @model_validator(mode="after")
    def _consistent(self) -> Range:
        if self.low >= self.high:
            raise ValueError(f"low is {self.low:g}, which is not below high, {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs a low above 0; got {self.low:g}")
        if self.int and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(f"int needs whole numbers as bounds; got {self.low:g} and {self.high:g}")
        return self


class Search(Frozen):
    """A search for better parameters of a candidate, on its training rows only.

    The candidate's own parameters are measured in the same way as the trials. The best parameters of all are trained.
    """

    method: Literal["grid", "random", "bayesian", "halving"] = Field(
        description="`grid` tries every combination, `random` draws at random, `bayesian` learns from earlier trials "
        "(Optuna's TPE), `halving` tries many on few rows, then the best third on three times as many."
    )
    space: dict[str, list[Any] | Range] = Field(
        min_length=1,
        description="Values to try for each parameter: a list of values, or a range. `outer__inner` names a parameter "
        "of a nested estimator in `params`.",
    )
    trials: PositiveInt | None = Field(
        None,
        le=MAX_TRIALS,
        description="Largest number of trials. Defaults to 30, or to every combination of a grid.",
    )
    timeout: Span | None = Field(
        None,
        gt=timedelta(0),
        description="A shard starts no further trial once its trials have taken this long. The result then depends on "
        "the speed of the machine. Defaults to no limit.",
    )
    early_stop: PositiveInt | None = Field(
        None,
        description="A shard ends after this many trials in a row without a new best. Not allowed with `halving`. "
        "Without it, all trials run.",
    )
    cv: int = Field(3, ge=2, le=20, description="Number of folds of the training rows that measure each trial.")
    metric: Metric | None = Field(
        None, description="Metric that decides which trial is best. Defaults to the first of `evaluation.metrics`."
    )
    shards: int = Field(1, ge=1, le=32, description="Number of tasks that share the trials.")

    @property
    def count(self) -> int:
        """How many trials there are when nothing stops them early."""
        size = grid_size(self.space)
        trials_wanted = self.trials or (DEFAULT_TRIALS if self.method != "grid" else size or MAX_TRIALS)
        return min(trials_wanted, size) if size and self.method != "bayesian" else trials_wanted

    @model_validator(mode="after")
    def _consistent(self) -> Search:
        if empty := [name for name, values in self.space.items() if isinstance(values, list) and not values]:
            raise ValueError(f"space.{empty[0]} has no value")
        ranges = [name for name, values in self.space.items() if isinstance(values, Range)]
        if self.method == "grid" and ranges:
            raise ValueError(f"a grid needs a list of values for each parameter; space.{ranges[0]} is a range")
        if self.method == "grid" and self.trials is None and (size := grid_size(self.space) or 0) > MAX_TRIALS:
            raise ValueError(f"the grid has {size} combinations, more than {MAX_TRIALS}: set trials, or use random")
        if self.method == "halving" and self.early_stop is not None:
            raise ValueError("early_stop cannot be combined with halving, which drops trials by itself")
        if self.shards > self.count:
            raise ValueError(f"there are {self.shards} shards for {self.count} trials")
        return self


def grid_size(space: dict[str, list[Any] | Range]) -> int | None:
    """Return how many combinations a space has, None when a range makes it endless.

    >>> grid_size({"a": [1, 2], "b": ["x", "y", "z"]})
    6
    """
    return prod(len(values) for values in space.values() if isinstance(values, list)) if _finite(space) else None


def _finite(space: dict[str, list[Any] | Range]) -> bool:
    return all(isinstance(values, list) for values in space.values())


def with_values(params: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return a candidate's params with some set anew; `outer__inner` is a parameter of a nested estimator.

    >>> with_values({"estimator": {"estimator": "sklearn.svm.SVC", "params": {"C": 1}}}, {"estimator__C": 2})
    {'estimator': {'estimator': 'sklearn.svm.SVC', 'params': {'C': 2}}}
    >>> with_values({"steps": [["pca", {"estimator": "a.PCA"}]]}, {"steps__pca__n_components": 2, "x": 1})
    {'steps': [['pca', {'estimator': 'a.PCA', 'params': {'n_components': 2}}]], 'x': 1}

    :raises ValueError: when a name leads to no nested estimator.
    """
    for name, value in values.items():
        params = _with_value(params, name.split("__"), value, name)
    return params


def _with_value(params: dict[str, Any], path: list[str], value: Any, name: str) -> dict[str, Any]:
    head, *rest = path
    if not rest:
        return {**params, head: value}
    nested = params.get(head)
    if isinstance(nested, dict) and "estimator" in nested:
        return {**params, head: _with_param(nested, rest, value, name)}
    # scikit-learn's (name, estimator) pairs, as of a Pipeline or a vote.
    pairs = nested if isinstance(nested, list) else []
    named = [_is_pair(pair) and pair[0] == rest[0] for pair in pairs]
    if not any(named) or len(rest) < 2:
        raise ValueError(f"space.{name}: params has no estimator {'__'.join(path[:-1])!r}")
    changed = [
        [pair[0], _with_param(pair[1], rest[1:], value, name)] if hit else pair
        for pair, hit in zip(pairs, named, strict=True)
    ]
    return {**params, head: changed}


def _with_param(estimator: dict[str, Any], path: list[str], value: Any, name: str) -> dict[str, Any]:
    return {**estimator, "params": _with_value(estimator.get("params") or {}, path, value, name)}


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and isinstance(value[1], dict)
