"""The parameters of estimators that a pipeline file may set: numbers, choices and other estimators.

Some parameters of the libraries do more than choose: `memory` loads and writes pickles in a folder, `pre_dispatch` is
an expression, boosters read and write files that they are given by name, and connect to machines.
"""

from __future__ import annotations

import difflib
import re
from datetime import date
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.bounds import check_depth

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Packages of scikit-learn that hold estimators; the others download, open files, or are its tests and its insides.
SKLEARN_PACKAGES = frozenset(
    {
        "calibration", "cluster", "compose", "covariance", "cross_decomposition", "decomposition",
        "discriminant_analysis", "dummy", "ensemble", "feature_extraction", "feature_selection", "frozen",
        "gaussian_process", "impute", "isotonic", "kernel_approximation", "kernel_ridge", "linear_model", "manifold",
        "mixture", "model_selection", "multiclass", "multioutput", "naive_bayes", "neighbors", "neural_network",
        "pipeline", "preprocessing", "random_projection", "semi_supervised", "svm", "tree",
    }
)  # fmt: skip

#: By library: what its estimators may be given. Boosters take any name, and pass it on.
BOOSTERS = {
    "lightgbm": frozenset(
        {
            "alpha", "auc_mu_weights", "bagging_by_query", "bagging_fraction", "bagging_freq", "bagging_seed",
            "bin_construct_sample_cnt", "boost_from_average", "boosting", "boosting_type", "cat_l2", "cat_smooth",
            "categorical_feature", "cegb_penalty_feature_coupled", "cegb_penalty_feature_lazy", "cegb_penalty_split",
            "cegb_tradeoff", "class_weight", "colsample_bytree", "data_random_seed", "data_sample_strategy",
            "deterministic", "device_type", "drop_rate", "drop_seed", "enable_bundle", "extra_seed", "extra_trees",
            "fair_c", "feature_contri", "feature_fraction", "feature_fraction_bynode", "feature_fraction_seed",
            "feature_pre_filter", "force_col_wise", "force_row_wise", "histogram_pool_size", "importance_type",
            "interaction_constraints", "is_enable_sparse", "is_unbalance", "lambda_l1", "lambda_l2", "learning_rate",
            "linear_lambda", "linear_tree", "max_bin", "max_bin_by_feature", "max_cat_threshold", "max_cat_to_onehot",
            "max_delta_step", "max_depth", "max_drop", "metric", "min_child_samples", "min_child_weight",
            "min_data_in_bin", "min_data_in_leaf", "min_data_per_group", "min_gain_to_split", "min_split_gain",
            "min_sum_hessian_in_leaf", "monotone_constraints", "monotone_constraints_method", "monotone_penalty",
            "n_estimators", "n_jobs", "neg_bagging_fraction", "num_class", "num_grad_quant_bins", "num_iterations",
            "num_leaves", "num_threads", "objective", "objective_seed", "other_rate", "path_smooth",
            "poisson_max_delta_step", "pos_bagging_fraction", "quant_train_renew_leaf", "random_state", "reg_alpha",
            "reg_lambda", "reg_sqrt", "scale_pos_weight", "seed", "sigmoid", "skip_drop", "stochastic_rounding",
            "subsample", "subsample_for_bin", "subsample_freq", "top_rate", "tweedie_variance_power", "uniform_drop",
            "use_missing", "use_quantized_grad", "verbose", "verbosity", "xgboost_dart_mode", "zero_as_missing",
        }
    ),
    "xgboost": frozenset(
        {
            "alpha", "base_score", "booster", "colsample_bylevel", "colsample_bynode", "colsample_bytree", "device",
            "early_stopping_rounds", "enable_categorical", "eta", "eval_metric", "feature_selector", "feature_types",
            "feature_weights", "gamma", "grow_policy", "huber_slope", "importance_type", "interaction_constraints",
            "lambda", "learning_rate", "max_bin", "max_cat_threshold", "max_cat_to_onehot", "max_delta_step",
            "max_depth", "max_leaves", "min_child_weight", "min_split_loss", "missing", "monotone_constraints",
            "multi_strategy", "n_estimators", "n_jobs", "normalize_type", "nthread", "num_parallel_tree", "objective",
            "one_drop", "quantile_alpha", "random_state", "rate_drop", "reg_alpha", "reg_lambda", "sample_type",
            "sampling_method", "scale_pos_weight", "seed", "skip_drop", "subsample", "top_k", "tree_method",
            "tweedie_variance_power", "validate_parameters", "verbosity",
        }
    ),
}  # fmt: skip

#: Names that speak of a place, whatever the library.
_PLACE = re.compile(r"(^|_)(files?|filename|path|dir|directory|folder|memory|cache|snapshot|log|url|uri|config)$")
_FUNCTION = re.compile(r"(^|_)(func|function|callbacks?|tokenizer|preprocessor)$")
_DUNDER = re.compile(r"__\w+__")
#: LightGBM writes parameters as `name=value name=value`, and reads a text with a blank in it as several.
_BOOSTER_TEXT = re.compile(r"[\w.,:@\[\]()-]{0,1000}")
#: Mappings whose keys are classes, no parameters.
_BY_CLASS = ("class_weight",)
_MAX_TEXT = 10_000
_MAX_DEPTH = 24


def function_problem(dotted: str) -> str | None:
    """Return why a name is no function of the user's: libraries' own would open what a file names."""
    if dotted.partition(".")[0] in ("sklearn", *BOOSTERS):
        return f"{dotted!r} is not allowed here: write a function in the plugins folder or a module of your own"
    return None


def name_problem(dotted: str) -> str | None:
    """Return why a dotted name cannot be one of a public estimator of scikit-learn; None for other libraries."""
    top, *rest = dotted.split(".")
    if top != "sklearn":
        return None
    if any(part.startswith("_") for part in rest):
        return f"{dotted!r} is private to scikit-learn"
    if len(rest) < 2 or rest[0] not in SKLEARN_PACKAGES or "tests" in rest:
        return f"{dotted!r} is not a scikit-learn estimator, such as sklearn.linear_model.LogisticRegression"
    return None


def estimator_problems(setting: dict[str, Any], where: str) -> list[str]:
    """Return what is wrong with an estimator's name and parameters, and with those inside of it."""
    try:
        check_depth(setting, _MAX_DEPTH)
    except ValueError as error:
        return [f"{where}: {error}"]
    return list(_estimator_problems(setting, where))


def booster_problem(library: str, name: str, value: Any) -> str | None:
    """Return why a booster may not be given a parameter; None when it may."""
    known = BOOSTERS[library]
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1)
        return f"{library} does not get {name!r}" + (f"; did you mean {nearest[0]!r}?" if nearest else "")
    if name not in _BY_CLASS and (strange := [text for text in _texts(value) if not _BOOSTER_TEXT.fullmatch(text)]):
        return f"{library} would read {strange[0]!r} as more than a value of {name}"
    return None


def _estimator_problems(setting: dict[str, Any], where: str) -> Iterator[str]:
    name, params = str(setting["estimator"]), setting.get("params") or {}
    if (problem := name_problem(name)) is not None:
        yield f"{where}.estimator: {problem}"
    library = name.partition(".")[0]
    for key, value in params.items() if isinstance(params, dict) else ():
        if library in BOOSTERS and (problem := booster_problem(library, str(key), value)) is not None:
            yield f"{where}.params.{key}: {problem}"
        yield from _value_problems(str(key), value, f"{where}.params.{key}")


def _value_problems(key: str, value: Any, where: str) -> Iterator[str]:
    if (problem := _problem(key.rpartition("__")[2], value)) is not None:
        yield f"{where}: {problem}"
    elif isinstance(value, dict) and isinstance(value.get("estimator"), str):
        yield from _estimator_problems(value, where)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _value_problems("" if key in _BY_CLASS else str(name), item, f"{where}.{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _value_problems("", item, f"{where}.{index}")


def _problem(name: str, value: Any) -> str | None:
    """Return why a parameter may not have a value; None when it may."""
    if value is None or isinstance(value, bool | int | float):
        return None
    if _PLACE.search(name):
        return "estimators must not read or write files: leave it out"
    if _FUNCTION.search(name):
        return "it takes a function, which a pipeline file cannot name: write an estimator in the plugins folder"
    if not isinstance(value, str):
        return None if isinstance(value, dict | list | date) else f"a value of type {type(value).__name__}"
    if name in ("pre_dispatch", "verbose_feature_names_out"):
        return "it must be a number, true or false: a text would be evaluated"
    if name == "input" and value in ("file", "filename"):
        return "it would read files named in the data"
    if len(value) > _MAX_TEXT:
        return f"a text of {len(value)} characters, more than {_MAX_TEXT}"
    return "it names an internal of Python" if _DUNDER.search(value) else None


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for key, item in value.items() for text in (str(key), *_texts(item)))
    elif isinstance(value, list | tuple):
        yield from (text for item in value for text in _texts(item))
