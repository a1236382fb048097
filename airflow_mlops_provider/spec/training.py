"""The section `training`: the candidates, what is fitted with them, and what serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from airflow_mlops_provider.spec.frozen import CandidateName, DottedName, Finite, Frozen, OpenShare
from airflow_mlops_provider.spec.metrics import custom_among
from airflow_mlops_provider.spec.parameters import estimator_problems
from airflow_mlops_provider.spec.search import Range, Search, with_values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.spec.metrics import CustomMetric


class Costs(Frozen):
    """What each kind of wrong prediction costs, in any unit: only the ratio of the two matters."""

    false_positive: Finite = Field(gt=0, description="Cost of predicting a negative row as positive, in any unit.")
    false_negative: Finite = Field(gt=0, description="Cost of predicting a positive row as negative, in any unit.")


class ThresholdRule(Frozen):
    """How the decision threshold is chosen on validation rows: by exactly one of `cost`, `recall`, `precision`."""

    cost: Costs | None = Field(
        None, description="Choose the threshold with the lowest total cost of wrong predictions."
    )
    recall: OpenShare | None = Field(
        None, description="Choose the threshold with the best precision among those with at least this recall."
    )
    precision: OpenShare | None = Field(
        None, description="Choose the threshold with the best recall among those with at least this precision."
    )

    @model_validator(mode="after")
    def _one_rule(self) -> ThresholdRule:
        named = [rule for rule in ("cost", "recall", "precision") if getattr(self, rule) is not None]
        if len(named) != 1:
            raise ValueError(f"name exactly one of cost, recall, precision; got {named or 'none'}")
        return self


class FeatureTransformer(Frozen):
    """Makes further features from some columns, by a transformer that is fitted and stored with the model."""

    transformer: DottedName = Field(
        description="Class of the transformer, such as `sklearn.preprocessing.TargetEncoder`, or one in the plugins "
        "folder. It follows scikit-learn's protocol and returns numbers."
    )
    columns: list[str] = Field(
        min_length=1,
        description="Feature columns that it gets, in this order, as a DataFrame with missing values as they are. The "
        "columns themselves remain features.",
    )
    params: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments of the transformer.")
    impute: bool = Field(
        False, description="Whether to fill in missing numbers before the transformer, as `impute_numeric` says."
    )


class Candidate(Frozen):
    """One estimator with its parameters and the preprocessing that is fitted with it."""

    estimator: DottedName = Field(
        description="Class of the estimator, such as `sklearn.linear_model.LogisticRegression`."
    )
    params: dict[str, Any] = Field(
        default_factory=dict,
        description="Keyword arguments of the estimator. A nested estimator is written as `{estimator: dotted.Name, "
        "params: {…}}`.",
    )
    features: list[FeatureTransformer] = Field(
        default_factory=list,
        description="Further features that transformers make from the columns. They are filled in and scaled like "
        "numbers.",
    )
    impute_numeric: Literal["mean", "median", "most_frequent", "knn", "none"] = Field(
        "median",
        description="How missing numbers are filled in. `none` leaves them to an estimator that can handle them.",
    )
    impute_categorical: Literal["most_frequent", "missing"] = Field(
        "missing", description="How missing categories are filled in. `missing` makes them a category of their own."
    )
    encode: Literal["onehot", "ordinal"] = Field(
        "onehot",
        description="How categories become numbers: `onehot` makes a column for each category, `ordinal` a number.",
    )
    scale: Literal["standard", "none"] = Field(
        "standard", description="Whether numbers are centred and scaled (`standard`) or left as they are (`none`)."
    )
    calibrate: Literal["isotonic", "sigmoid"] | None = Field(
        None,
        description="How a classifier's probabilities are calibrated on validation rows. Without it, they are left as "
        "they are.",
    )
    threshold: OpenShare | ThresholdRule | None = Field(
        None,
        description="Probability from which a row of a binary task is positive, or a rule to choose it. Without it, "
        "the more probable class is predicted.",
    )
    validation: OpenShare = Field(
        0.2,
        description="Share of the training rows to set aside for calibration and for a threshold rule. Not used "
        "without them.",
    )
    search: Search | None = Field(
        None, description="Search for better parameters. Without it, `params` are used as they are."
    )

    @model_validator(mode="after")
    def _space_names_parameters(self) -> Candidate:
        if self.search is not None:
            with_values(self.params, dict.fromkeys(self.search.space))
        return self

    @model_validator(mode="after")
    def _parameters_choose_and_no_more(self) -> Candidate:
        tried: list[tuple[dict[str, Any], str]] = [({}, "")]
        for name, values in {} if self.search is None else self.search.space.items():
            tried += [({name: value}, f"search.space.{name}: ") for value in _listed(values)]
        problems = [
            f"{place}{problem.removeprefix('.')}"
            for values, place in tried
            for problem in estimator_problems(
                {"estimator": self.estimator, "params": with_values(self.params, values)}, ""
            )
        ]
        for index, one in enumerate(self.features):
            setting = {"estimator": one.transformer, "params": one.params}
            problems += [f"features.{index}: {each.removeprefix('.')}" for each in estimator_problems(setting, "")]
        if problems:
            raise ValueError("; ".join(dict.fromkeys(problems)))
        return self


def _listed(values: list[Any] | Range) -> list[Any]:
    return values if isinstance(values, list) else [values.low]


def with_metric(candidate: Candidate, metrics: Sequence[str | CustomMetric]) -> Candidate:
    """Return a candidate whose search, if it has one, says what decides.

    :param metrics: those of the pipeline; the first where the search names none.
    """
    search = candidate.search
    if search is None:
        return candidate
    own = {one.label: one for one in custom_among(metrics)}
    metric = metrics[0] if search.metric is None else search.metric
    if isinstance(metric, str):
        metric = own.get(metric, metric)
    return candidate.model_copy(update={"search": search.model_copy(update={"metric": metric})})


#: Which rows a model that passed the gates is fitted on once more.
Refit = Literal["all", "none"]


class Training(Frozen):
    """The candidates to train, and which fitted model serves."""

    candidates: dict[CandidateName, Candidate] = Field(
        min_length=1,
        max_length=50,
        description="Candidates by name. Each is trained by a mapped task of its own, and the best is the challenger.",
    )
    refit: Refit = Field(
        "all",
        description="Which model serves: with `all`, the candidate that passed the gates is fitted again on all rows, "
        "held-out ones included. With `none`, the judged model itself serves.",
    )
