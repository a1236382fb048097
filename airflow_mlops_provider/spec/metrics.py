"""The metrics that a pipeline may name: the package's own, and functions of the user's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from airflow_mlops_provider.spec.frozen import DottedName, Frozen, Label
from airflow_mlops_provider.spec.parameters import function_problem

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

CLASSIFICATION_METRICS = (
    "roc_auc", "average_precision", "log_loss", "brier", "accuracy", "balanced_accuracy", "f1", "precision", "recall",
)  # fmt: skip
REGRESSION_METRICS = ("rmse", "mae", "r2", "median_absolute_error", "max_error")
#: The package's own metrics of which less is better. None of them is ever below zero.
LOSSES = frozenset({"log_loss", "brier", "rmse", "mae", "median_absolute_error", "max_error"})
#: How the name of a user's metric says whether more or less of it is better, as scikit-learn names its own: "functions
#: ending with _score return a value to maximize", those "ending with _error, _loss, or _deviance" one to minimize.
MORE_IS_BETTER = ("_score", "_gain", "_profit")
LESS_IS_BETTER = ("_error", "_loss", "_deviance", "_cost")
#: What a function gets where it has parameters of these names.
_GIVEN = frozenset({"sample_weight", "frame", "classes"})
#: What pydantic puts into the place of an error: no key of the file begins so.
METRIC_KINDS = _NAME, _FUNCTION = "<name>", "<function>"
#: Of a library, the functions that get truth and scores, and open nothing.
_OF_SKLEARN = re.compile(r"sklearn\.metrics\.[a-z]\w*")

DEFAULT_METRICS: dict[str, tuple[str, ...]] = {
    "binary": ("roc_auc", "log_loss", "average_precision", "brier"),
    "multiclass": ("log_loss", "roc_auc", "balanced_accuracy", "f1"),
    "regression": ("rmse", "mae", "r2"),
}


class CustomMetric(Frozen):
    """A function of your own is a metric."""

    function: DottedName = Field(
        description="The dotted name of a function in the plugins folder, an allowed module or scikit-learn, such as "
        "`profit.expected_profit`. It gets the truth and the scores of some rows, and returns a number.",
    )
    name: Label | None = Field(
        None,
        validate_default=True,
        description="Name of the metric. Its end says what is better: more, with `_score`, `_gain` or `_profit`; less, "
        "with `_error`, `_loss`, `_deviance` or `_cost`. Defaults to the name of the function.",
    )
    params: dict[str, Any] = Field(
        default_factory=dict, description="Keyword arguments that the function gets besides the rows."
    )
    columns: list[str] = Field(
        default_factory=list,
        description="Columns of the data, such as an amount, that the function gets as `frame`, a pandas DataFrame.",
    )

    @model_validator(mode="after")
    def _says_what_is_better(self) -> CustomMetric:
        if not _OF_SKLEARN.fullmatch(self.function) and (problem := function_problem(self.function)) is not None:
            raise ValueError(problem)
        if taken := sorted(_GIVEN & set(self.params)):
            raise ValueError(f"params.{taken[0]} is passed to every metric: choose another name")
        if self.label in (*CLASSIFICATION_METRICS, *REGRESSION_METRICS):
            raise ValueError(f"{self.label} is a metric of the package; give yours another name")
        if not self.label.endswith((*MORE_IS_BETTER, *LESS_IS_BETTER)):
            raise ValueError(
                f"the name {self.label!r} does not say whether more or less is better; set a `name` that ends with "
                f"{', '.join(MORE_IS_BETTER)} (more) or {', '.join(LESS_IS_BETTER)} (less)"
            )
        return self

    @property
    def label(self) -> str:
        """The name that gates, pages and MLflow use."""
        return self.name or self.function.rpartition(".")[2]

    def given(
        self, takes: Collection[str], frame: Any = None, classes: Sequence[Any] = (), weights: Any = None
    ) -> dict[str, Any]:
        """Return the keyword arguments that the function gets.

        :param takes: the names of its parameters.
        """
        offered = {"sample_weight": weights, "frame": frame, "classes": list(classes)}
        return self.params | {name: value for name, value in offered.items() if name in takes}


def _from_name(value: Any) -> Any:
    """Take a dotted name for a function of the user's."""
    return {"function": value} if isinstance(value, str) and "." in value else value


def _kind(value: Any) -> str:
    return _NAME if isinstance(value, str) else _FUNCTION


#: The name of a metric of the package, or a function of the user's. Told apart, so that an error is of one of them.
Metric = Annotated[
    Annotated[str, Tag(_NAME)] | Annotated[CustomMetric, Tag(_FUNCTION)],
    Discriminator(_kind),
    BeforeValidator(_from_name),
]


def label_of(metric: str | CustomMetric) -> str:
    """Return the name of a metric."""
    return metric if isinstance(metric, str) else metric.label


def custom_among(metrics: Sequence[str | CustomMetric]) -> list[CustomMetric]:
    """Return the functions of the user's."""
    return [one for one in metrics if not isinstance(one, str)]


def as_settings(metrics: Sequence[str | CustomMetric]) -> list[Any]:
    """Return metrics as operators and steps take them: plain JSON."""
    return [one if isinstance(one, str) else one.model_dump(mode="json", exclude_defaults=True) for one in metrics]


def less_is_better(metric: str) -> bool:
    """Return whether less of a metric is better, by its name.

    >>> less_is_better("log_loss"), less_is_better("expected_profit"), less_is_better("claims_cost")
    (True, False, True)
    """
    return metric in LOSSES or metric.endswith(LESS_IS_BETTER)


def check_metrics(task: str, metrics: Sequence[str | CustomMetric], where: str) -> None:
    """Raise ValueError when a metric does not fit the task, or two have the same name."""
    known = REGRESSION_METRICS if task == "regression" else CLASSIFICATION_METRICS
    if unknown := sorted({one for one in metrics if isinstance(one, str)} - set(known)):
        raise ValueError(f"{where} names {unknown}; a {task} pipeline has {sorted(known)}")
    labels = [label_of(one) for one in metrics]
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise ValueError(f"{where} names {twice} twice")
