"""From a candidate's settings to an unfitted scikit-learn Pipeline.

Everything that is fitted to data lives in the Pipeline: imputation, encoding, scaling, the estimator. It consists
of scikit-learn's own transformers, so the stored model works alone, on plain columns of numbers and text.
"""

from __future__ import annotations

import difflib
import inspect
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import SpecError
from airflow_mlops_provider.spec.parameters import BOOSTERS, booster_problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.allow_list import AllowList
    from airflow_mlops_provider.modeling.splits import ClassLabel
    from airflow_mlops_provider.spec.data import Columns
    from airflow_mlops_provider.spec.training import Candidate

#: Libraries whose threads `threadpoolctl` does not always reach; they write the number of them into the model, too.
_OWN_THREADS = ("lightgbm", "xgboost")
_THREAD_SETTINGS = frozenset({"n_jobs", "nthread", "num_threads", "num_thread", "nthreads"})

#: What a missing category becomes with `impute_categorical: missing`.
MISSING = "missing"


def nested_names(value: Any) -> list[str]:
    """Return the dotted name of each estimator in a setting, outermost first.

    >>> nested_names({"estimators": [["a", {"estimator": "sklearn.svm.SVC"}]], "cv": 3})
    ['sklearn.svm.SVC']
    """
    if _is_estimator(value):
        return [value["estimator"], *nested_names(value.get("params", {}))]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [name for item in items for name in nested_names(item)]


def _is_estimator(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("estimator"), str) and set(value) <= {"estimator", "params"}


def build_pipeline(
    candidate: Candidate,
    columns: Columns,
    *,
    task: str,
    seed: int,
    allow_list: AllowList,
    classes: Sequence[ClassLabel] = (),
) -> Any:
    """Return the unfitted Pipeline `preprocess` → `model`.

    :param seed: becomes `random_state` of every estimator, nested ones too, whose settings do not name one. In the
        same way xgboost and lightgbm get one thread, so that candidates do not starve each other.
    :param classes: lets `class_weight: {0: 1, 1: 5}` find its classes after JSON made text of the keys.
    :raises SpecError: names the setting that is wrong.
    """
    from sklearn.pipeline import Pipeline

    builder = _Builder(seed, allow_list, classes)
    model = builder.estimator({"estimator": candidate.estimator, "params": candidate.params}, "params")
    _check_task(model, candidate, task)
    if task != "regression" and _numbers_its_classes(model) and list(classes) != list(range(len(classes))):
        model = _with_any_classes(model)
    return Pipeline([("preprocess", _preprocessing(candidate, columns, model, builder)), ("model", model)])


class _Builder:
    """Turns settings into estimators."""

    def __init__(self, seed: int, allow_list: AllowList, classes: Sequence[ClassLabel]) -> None:
        self.seed = seed
        self.allow_list = allow_list
        self.classes = {str(label): label for label in classes}

    def estimator(self, setting: dict[str, Any], where: str) -> Any:
        from sklearn.base import BaseEstimator

        name = setting["estimator"]
        cls = self.allow_list.load(name)
        if not (isinstance(cls, type) and issubclass(cls, BaseEstimator)):
            raise SpecError(f"{where}: {name!r} is not a scikit-learn estimator", got=type(cls).__name__)
        settings = setting.get("params") or {}
        _check_params(cls, settings, where)
        _check_boosters(cls, settings, where)
        params = {key: self.value(item, f"{where}.{key}") for key, item in settings.items()}
        if isinstance(params.get("class_weight"), dict):
            params["class_weight"] = {self.classes.get(str(k), k): v for k, v in params["class_weight"].items()}
        if _is_of(cls, _OWN_THREADS) and not _THREAD_SETTINGS & set(params):
            params["n_jobs"] = 1
        try:
            model = cls(**params)
        except (TypeError, ValueError) as error:
            raise SpecError(f"{where}: {name} does not accept these settings", got=str(error)) from error
        if "random_state" not in params and "random_state" in model.get_params(deep=False):
            model.set_params(random_state=self.seed)
        return model

    def value(self, value: Any, where: str) -> Any:
        if _is_estimator(value):
            return self.estimator(value, where)
        if isinstance(value, dict) and isinstance(value.get("estimator"), str):
            extra = sorted(set(value) - {"estimator", "params"})
            raise SpecError(f"{where} has unexpected keys", got=extra, expected="estimator and params")
        if isinstance(value, dict):
            return {key: self.value(item, f"{where}.{key}") for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            items = [self.value(item, f"{where}.{index}") for index, item in enumerate(value)]
            # scikit-learn wants its (name, estimator) pairs as tuples, which JSON does not have.
            return tuple(items) if any(map(_is_estimator, value)) and isinstance(items[0], str) else items
        return value


def _is_of(cls: type, libraries: tuple[str, ...]) -> bool:
    return any(base.__module__.partition(".")[0] in libraries for base in cls.__mro__)


def _check_params(cls: type, settings: dict[str, Any], where: str) -> None:
    known = _parameters(cls)
    if known is None:
        return
    problems = []
    for key in settings:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1)
            problems.append(
                f"{where}.{key}: unknown parameter of {cls.__name__}"
                + (f"; did you mean {nearest[0]!r}?" if nearest else f"; known: {', '.join(sorted(known))}")
            )
    if problems:
        raise SpecError(f"{cls.__name__} does not have these parameters:", problems=problems)


def _check_boosters(cls: type, settings: dict[str, Any], where: str) -> None:
    """Refuse what a booster would open or connect to, of a plugin's own class too, unless that names it itself."""
    own = {
        parameter.name
        for parameter in inspect.signature(cls).parameters.values()
        if parameter.kind is not parameter.VAR_KEYWORD and cls.__module__.partition(".")[0] not in BOOSTERS
    }
    for library in BOOSTERS:
        for key, value in settings.items() if _is_of(cls, (library,)) else ():
            if key not in own and (problem := booster_problem(library, key, value)) is not None:
                raise SpecError(f"{where}.{key}: {problem}")


def _parameters(cls: type) -> set[str] | None:
    """Return the constructor's parameters, None when it takes any (as those of xgboost and lightgbm do)."""
    parameters = inspect.signature(cls).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return {parameter.name for parameter in parameters}


def _check_task(model: Any, candidate: Candidate, task: str) -> None:
    from sklearn.base import is_classifier, is_regressor

    wanted, fits = ("a regressor", is_regressor) if task == "regression" else ("a classifier", is_classifier)
    if not fits(model):
        raise SpecError(
            f"estimator {candidate.estimator} does not fit a {task} pipeline",
            expected=wanted,
            hint="Choose another estimator, or correct the pipeline's task.",
        )
    # A stacking without a final estimator gets a logistic regression, but does not know of it before it is fitted.
    unsure = getattr(model, "final_estimator", model) is None
    if task != "regression" and not unsure and not hasattr(model, "predict_proba"):
        raise SpecError(
            f"estimator {candidate.estimator} gives no probabilities with these parameters; every metric needs them",
            hint="Enable them (such as voting: soft), or wrap it in sklearn.calibration.CalibratedClassifierCV.",
        )


def _numbers_its_classes(model: Any) -> bool:
    """Return whether the classifier takes no classes but 0, 1, 2, …, as xgboost's do."""
    return _is_of(type(model), ("xgboost",))


def _with_any_classes(model: Any) -> Any:
    """Return a vote of one: scikit-learn's own way to number classes for a model, and to name them in its answers."""
    from sklearn.ensemble import VotingClassifier

    return VotingClassifier([("model", model)], voting="soft")


def _preprocessing(candidate: Candidate, columns: Columns, model: Any, builder: _Builder) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.utils import get_tags

    branches = []
    if columns.numeric:
        branches.append(("numeric", _numeric(candidate), list(columns.numeric)))
    if columns.categorical:
        branches.append(("categorical", _categorical(candidate), list(columns.categorical)))
    branches += [
        (f"features_{index}", _made(candidate, index, columns, builder), list(one.columns))
        for index, one in enumerate(candidate.features)
    ]
    takes_sparse = bool(get_tags(model).input_tags.sparse)
    return ColumnTransformer(branches, sparse_threshold=0.3 if takes_sparse else 0.0, verbose_feature_names_out=False)


def _made(candidate: Candidate, index: int, columns: Columns, builder: _Builder) -> Any:
    """Return the Pipeline of one transformer of `features`.

    :raises SpecError: it is none, or a column is no feature any more.
    """
    from sklearn.pipeline import Pipeline

    one, where = candidate.features[index], f"features.{index}"
    if lost := sorted(set(one.columns) - set(columns.features)):
        raise SpecError(
            f"{where} makes features from {lost[0]!r}, which is no longer a feature",
            got=f"features {sorted(columns.features)}",
            hint="`preparation` may have dropped it. Remove it from the columns of the transformer.",
        )
    transformer = builder.estimator({"estimator": one.transformer, "params": one.params}, f"{where}.params")
    # What comes of it is scaled like numbers, which centres them.
    if "sparse_output" in transformer.get_params(deep=False) and "sparse_output" not in one.params:
        transformer.set_params(sparse_output=False)
    if not hasattr(transformer, "transform"):
        raise SpecError(f"{where}: {one.transformer!r} is not a transformer: it has no method transform")
    after = _numeric(candidate)
    steps = [("transform", transformer)] if after == "passthrough" else [("transform", transformer), *after.steps]
    if one.impute and after != "passthrough" and "impute" in after.named_steps:
        # The transformer gets a frame, whether or not anything is filled in.
        steps.insert(0, ("fill", _numeric(candidate).named_steps["impute"].set_output(transform="pandas")))
    return Pipeline(steps)


def _numeric(candidate: Candidate) -> Any:
    from sklearn.impute import KNNImputer, SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    steps: list[tuple[str, Any]] = []
    if candidate.impute_numeric == "knn":
        steps.append(("impute", KNNImputer(keep_empty_features=True)))
    elif candidate.impute_numeric != "none":
        steps.append(("impute", SimpleImputer(strategy=candidate.impute_numeric, keep_empty_features=True)))
    if candidate.scale == "standard":
        steps.append(("scale", StandardScaler()))
    return Pipeline(steps) if steps else "passthrough"


def _categorical(candidate: Candidate) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

    if candidate.impute_categorical == "missing":
        filling: dict[str, Any] = {"strategy": "constant", "fill_value": MISSING}
    else:
        filling = {"strategy": "most_frequent"}
    if candidate.encode == "onehot":
        encoder = OneHotEncoder(handle_unknown="infrequent_if_exist")
    else:
        encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    # NaN is what our tables hold; None is what a plain column of text may hold, and the first leaves it alone.
    return Pipeline(
        [
            ("impute", SimpleImputer(**filling, keep_empty_features=True)),
            ("impute_none", SimpleImputer(**filling, missing_values=None, keep_empty_features=True)),
            ("encode", encoder),
        ]
    )
