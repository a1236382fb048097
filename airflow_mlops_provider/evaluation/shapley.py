"""SHAP values of a fitted Pipeline by the columns of the data: which models have them, and what they cost.

Of trees they are exact for the paths that the training rows took (Lundberg et al. 2020), of linear models for
independent columns (Lundberg & Lee 2017). A column that preprocessing spread over several (one-hot) gets their sum in
each row, since Shapley values add up.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_mlops_provider.exceptions import MLOpsError
from airflow_mlops_provider.extras import import_extra

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.explanation_report import Method

#: Fewer rows than this say little about the rest: permutation importance is taken instead.
MIN_ROWS = 50
#: Rows times leaves times squared depth times outputs, which is what a tree ensemble costs: some ten seconds.
_WORK = 5e9
_BACKGROUND_ROWS = 100
_FORESTS = ("DecisionTree", "ExtraTree", "ExtraTrees", "GradientBoosting", "HistGradientBoosting", "RandomForest")
_TREES = frozenset(f"sklearn.{name}{kind}" for name in _FORESTS for kind in ("Classifier", "Regressor"))


class NotExplainedError(MLOpsError):
    """SHAP does not fit this model; the message says why."""


class Shapley(NamedTuple):
    """SHAP values.

    :param values: mean absolute value by column of the data, over rows; summed over classes.
    :param rows: how many rows they were computed on: the first of those given.
    """

    method: Method
    values: dict[str, float]
    rows: int


def import_shap() -> Any:
    """Return `shap`, imported quietly: its colours ask matplotlib for what that will deprecate.

    :raises SpecError: it is not installed.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"The set_\w+ function will be deprecated", PendingDeprecationWarning)
        return import_extra("shap", "explain", "evaluation.explanation")


def shap_method(pipeline: Any) -> Method:
    """Return how SHAP would explain a fitted Pipeline `preprocess` → `model`; imports nothing.

    :raises NotExplainedError: it has no exact way to.
    """
    model = _model(pipeline)
    name, library = type(model).__name__, type(model).__module__.partition(".")[0]
    if library in ("xgboost", "lightgbm") and hasattr(model, "get_booster" if library == "xgboost" else "booster_"):
        return "shap_tree"
    if library == "sklearn" and f"sklearn.{name}" in _TREES:
        # shap.TreeExplainer's own limit.
        if name == "GradientBoostingClassifier" and len(model.classes_) > 2:
            raise NotExplainedError("SHAP explains GradientBoostingClassifier for two classes only")
        return "shap_tree"
    if type(model).__module__.startswith("sklearn.linear_model.") and hasattr(model, "coef_"):
        return "shap_linear"
    raise NotExplainedError(f"SHAP has no exact values for {name}")


def shapley(pipeline: Any, frame: pd.DataFrame) -> Shapley:
    """Return SHAP values by column, on as many of the first rows as stay affordable.

    :raises NotExplainedError: SHAP refuses the model, its columns cannot be told apart, or it is too large.
    :raises SpecError: shap is not installed.
    """
    import numpy as np

    method, model = shap_method(pipeline), _model(pipeline)
    shap = import_shap()
    owners = _owners(pipeline, list(frame.columns))
    encoded = pipeline[:-1].transform(frame)
    encoded = np.asarray(encoded.toarray() if hasattr(encoded, "toarray") else encoded, dtype=np.float64)
    if encoded.shape[1] != len(owners):
        raise NotExplainedError(
            "the model's inputs cannot be assigned to columns",
            got=f"{encoded.shape[1]} inputs",
            expected=f"{len(owners)} of {len(frame.columns)} columns",
        )
    with warnings.catch_warnings():
        # What it tells of is the shape of the answer, which is handled below.
        warnings.filterwarnings("ignore", "LightGBM binary classifier with TreeExplainer", UserWarning)
        try:
            values = (_of_trees if method == "shap_tree" else _of_linear)(shap, model, encoded)
        except (ValueError, TypeError, AttributeError, shap.utils._exceptions.InvalidModelError) as error:
            raise NotExplainedError(f"SHAP cannot explain {type(model).__name__}", got=str(error)) from error
    return Shapley(method, _by_column(values, owners, list(frame.columns)), len(values))


def _model(pipeline: Any) -> Any:
    """Return the estimator that does the work: a threshold, or a calibration of one fitted model, only maps its answer.

    So does a vote of one, which numbers classes.
    """
    model = pipeline[-1]
    while (inner := _wrapped(model)) is not None:
        model = inner
    return model


def _wrapped(model: Any) -> Any:
    name = type(model).__name__
    if name in ("FixedThresholdClassifier", "TunedThresholdClassifierCV"):
        return model.estimator_
    if name == "FrozenEstimator":
        return model.estimator
    if name == "CalibratedClassifierCV" and len(model.calibrated_classifiers_) == 1:
        return model.calibrated_classifiers_[0].estimator
    if name == "VotingClassifier" and len(model.estimators_) == 1:
        return model.estimators_[0]
    return None


def _owners(pipeline: Any, columns: list[str]) -> NDArray[Any]:
    """Return which column of the data each input of the model comes from, as an index."""
    import numpy as np

    owners: list[int] = []
    for role, branch, names in pipeline.named_steps["preprocess"].transformers_:
        if role not in ("numeric", "categorical"):
            raise NotExplainedError("the model's inputs cannot be assigned to columns", got="features of transformers")
        encoder = branch[-1] if hasattr(branch, "steps") else branch
        one_hot = type(encoder).__name__ == "OneHotEncoder"
        widths = [len(found) for found in encoder.categories_] if one_hot else [1] * len(names)
        owners += [columns.index(str(name)) for name, width in zip(names, widths, strict=True) for _ in range(width)]
    return np.asarray(owners, dtype=np.intp)


def _of_trees(shap: Any, model: Any, encoded: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    explainer = shap.TreeExplainer(model)
    leaves: NDArray[Any] = explainer.model.values
    trees, nodes, outputs = leaves.shape
    a_row = trees * nodes / 2 * max(1, explainer.model.max_depth) ** 2 * outputs
    affordable = int(_WORK / a_row)
    if affordable < min(MIN_ROWS, len(encoded)):
        raise NotExplainedError(
            f"SHAP of {trees} trees of depth {explainer.model.max_depth} would take too long",
            got=f"{affordable} affordable rows",
            expected=f"at least {MIN_ROWS}",
        )
    found = explainer.shap_values(encoded[:affordable], check_additivity=False)
    values: NDArray[Any] = np.stack(found, axis=-1) if isinstance(found, list) else np.asarray(found)
    return values


def _of_linear(shap: Any, model: Any, encoded: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    background = shap.maskers.Independent(encoded, max_samples=_BACKGROUND_ROWS)
    values: NDArray[Any] = np.asarray(shap.LinearExplainer(model, background).shap_values(encoded))
    return values


def _by_column(values: NDArray[Any], owners: NDArray[Any], columns: list[str]) -> dict[str, float]:
    """Return mean absolute values by column: the inputs of a column added up in each row, then over classes."""
    import numpy as np

    if values.ndim == 2:
        values = values[:, :, None]
    elif values.shape[2] == 2:  # two classes mirror each other
        values = values[:, :, 1:]
    return {
        name: float(np.abs(values[:, owners == index].sum(axis=1)).mean(axis=0).sum())
        for index, name in enumerate(columns)
    }
