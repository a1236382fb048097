"""A fitted model as a file: skops, never pickle.

Loading trusts a list of our own, not what a file says of itself. Integrity is the sha256 of the stored file;
identity (same settings, same data, same model) is `canonical_digest`, which does not ask how many cores made it.
"""

from __future__ import annotations

import importlib
import io
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from pydantic import JsonValue

from airflow_mlops_provider.allow_list import AllowList, requirement_of
from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.exceptions import ModelError, NotAllowedError
from airflow_mlops_provider.modeling.model_archive import canonical_digest, check_archive, write_canonical
from airflow_mlops_provider.modeling.splits import ClassLabel
from airflow_mlops_provider.spec.frozen import Finite, Frozen, Task
from airflow_mlops_provider.storage.disk_errors import of_disk

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mlops_provider.results import ArtifactRef
    from airflow_mlops_provider.storage import ArtifactStore

__all__ = ["ModelInfo", "canonical_digest", "load_model", "requirements_for", "save_model"]

SUFFIX = ".skops"

_DISTANCES = (
    "Euclidean", "SEuclidean", "Manhattan", "Chebyshev", "Minkowski", "Mahalanobis", "Hamming", "Canberra",
    "BrayCurtis", "Jaccard", "Matching", "Dice", "RogersTanimoto", "RussellRao", "SokalMichener", "SokalSneath",
    "Haversine",
)  # fmt: skip
_KERNELS = (
    "CompoundKernel", "Sum", "Product", "Exponentiation", "ConstantKernel", "WhiteKernel", "RBF", "Matern",
    "RationalQuadratic", "ExpSineSquared", "DotProduct", "PairwiseKernel",
)  # fmt: skip
_SPLITTERS = ("KFold", "StratifiedKFold", "TimeSeriesSplit", "LeaveOneOut", "ShuffleSplit", "StratifiedShuffleSplit")

#: What fitted estimators of scikit-learn, xgboost and lightgbm hold and skops does not trust by itself. Each is a
#: class or a function without effects of its own. Tree and TreePredictor index without bounds checks, so a forged file
#: could crash the process: the store's sha256 is what keeps a file from being forged.
TRUSTED_TYPES = frozenset(
    {
        "builtins.NoneType",
        "collections.OrderedDict",
        "numpy.dtype",
        "numpy.mean",
        "sklearn._loss.loss.HalfTweedieLoss",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.calibration._TemperatureScaling",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.feature_selection._univariate_selection.f_classif",
        "sklearn.feature_selection._univariate_selection.f_regression",
        "sklearn.feature_selection._univariate_selection.chi2",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.metrics._scorer._PassthroughScorer",
        "sklearn.multiclass._ConstantPredictor",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
        "sklearn.utils._bunch.Bunch",
        "xgboost.core.Booster",
        "xgboost.sklearn.XGBClassifier",
        "xgboost.sklearn.XGBRegressor",
        "xgboost.sklearn.XGBRFClassifier",
        "xgboost.sklearn.XGBRFRegressor",
        "lightgbm.basic.Booster",
        "lightgbm.sklearn.LGBMClassifier",
        "lightgbm.sklearn.LGBMRegressor",
        *(f"sklearn.metrics._dist_metrics.{name}Distance{bits}" for name in _DISTANCES for bits in (32, 64)),
        *(f"sklearn.gaussian_process.kernels.{name}" for name in _KERNELS),
        *(f"sklearn.model_selection._split.{name}" for name in _SPLITTERS),
    }
)


class Feature(Frozen):
    """One input of a model.

    :param kind: `numeric` inputs are doubles, `categorical` inputs are strings.
    """

    name: str
    kind: str


class ModelInfo(Document):
    """What is needed to use a model file elsewhere, and to publish it.

    :param classes: in the order of probability columns; None for regression.
    :param features: the inputs, in order.
    :param threshold: probability from which on a row is of the second class; None for the most probable class.
    :param predict_fn: the method that answers: `predict_proba` or `predict`.
    :param trusted_types: the types that skops has to trust to load this file.
    :param requirements: pinned pip requirements.
    :param input_example: a few training rows by column, without missing values.
    """

    task: Task
    candidate: str
    estimator: str
    target: str
    classes: list[ClassLabel] | None
    features: list[Feature]
    digest: str
    size: int
    threshold: Finite | None = None
    predict_fn: Literal["predict", "predict_proba"]
    trusted_types: list[str]
    requirements: list[str]
    input_example: dict[str, list[JsonValue]]


def import_skops() -> Any:
    """Return `skops.io`, imported quietly.

    While it is imported, skops asks every loaded module for the names of SciPy's functions, and each deprecated module
    of Airflow answers each name with a warning: a thousand lines in a task's log.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import skops.io
    return skops.io


def save_model(pipeline: Any, path: Path, allow_list: AllowList | None = None) -> list[str]:
    """Write a fitted Pipeline, and return the types that skops has to trust to load it.

    :raises ModelError: when it holds something that cannot be stored without pickle, or that we would not load.
    """
    skops = import_skops()

    try:
        write_canonical(io.BytesIO(skops.dumps(pipeline)), path)
    except MemoryError:
        raise
    except Exception as error:
        if of_disk(error):
            raise  # of the workspace, not of the model
        raise ModelError(
            f"estimator {_names(pipeline)} cannot be stored without pickle",
            got=f"{type(error).__name__}: {error}",
            hint="Choose another estimator, or leave out the parameter that is a function.",
        ) from error
    return _trusted(path, allow_list or AllowList(), "the trained model")


def load_model(store: ArtifactStore, ref: ArtifactRef, allow_list: AllowList | None = None) -> Any:
    """Return a stored Pipeline after checking its digest and every type in it.

    :param allow_list: whose plugins and modules may appear besides `TRUSTED_TYPES`.
    :raises ArtifactError: when the file is missing, or not the one that was stored.
    :raises ModelError: names the types that are not trusted; or the file cannot be read.
    """
    skops = import_skops()

    path = store.fetch(ref)
    trusted = _trusted(path, allow_list or AllowList(), f"model {ref.uri}")
    try:
        model = skops.load(path, trusted=trusted)
    except Exception as error:
        raise _unreadable(f"model {ref.uri}", error) from error
    if not isinstance(model, importlib.import_module("sklearn.base").BaseEstimator):
        raise ModelError(f"model {ref.uri} is not a model", got=type(model).__name__, expected="an estimator")
    return model


def _trusted(path: Path, allow_list: AllowList, what: str) -> list[str]:
    skops = import_skops()

    try:
        check_archive(path)
        named: list[str] = skops.get_untrusted_types(file=path)
    except Exception as error:
        raise _unreadable(what, error) from error
    if refused := [name for name in named if name not in TRUSTED_TYPES and not _is_own_class(name, allow_list)]:
        raise ModelError(
            f"{what} contains types that are not trusted",
            got=refused,
            hint="A plugin's estimator class must be defined in the module that the pipeline names.",
        )
    return named


def _unreadable(what: str, error: Exception) -> Exception:
    if of_disk(error):
        return error
    return ModelError(
        f"{what} cannot be read",
        got=f"{type(error).__name__}: {error}",
        hint="It may have been written by another version of skops or scikit-learn: train it again.",
    )


def _is_own_class(name: str, allow_list: AllowList) -> bool:
    """Return whether a type is an estimator class of an allowed module, defined there and not imported into it."""
    module, _, attribute = name.rpartition(".")
    if module.partition(".")[0] == "sklearn":
        return False  # listed one by one: its modules hold functions of other libraries as well
    try:
        found = allow_list.load(name)
    except NotAllowedError:
        return False
    base = importlib.import_module("sklearn.base").BaseEstimator
    return isinstance(found, type) and issubclass(found, base) and found.__module__ == module


def _names(pipeline: Any) -> str:
    model = pipeline[-1] if hasattr(pipeline, "steps") else pipeline
    return type(model).__name__


# ---------------------------------------------------------------- requirements


@cache
def requirements_for(modules: frozenset[str]) -> list[str]:
    """Return pinned requirements for loading a model whose classes come from `modules`.

    >>> [line.split("==")[0] for line in requirements_for(frozenset())]
    ['numpy', 'pandas', 'scikit-learn', 'scipy', 'skops']
    """
    always = ("numpy", "pandas", "sklearn", "scipy", "skops")
    return sorted({requirement_of(module) for module in (*always, *modules)})
