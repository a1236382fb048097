from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from candidates_to_train import LOGISTIC, RANDOM, TREE, features, info_of, table
from sklearn.metrics import roc_auc_score

from airflow_mlops_provider.modeling.model_file import load_model
from airflow_mlops_provider.modeling.predictions import predict, predictions_frame

if TYPE_CHECKING:
    from airflow_mlops_provider.storage import ArtifactStore

FOLDS = {"split": {"by": "cross_validation", "folds": 3}}


@pytest.mark.parametrize("estimator", ["xgboost.XGBClassifier", "lightgbm.LGBMClassifier", TREE["estimator"]])
def test_classes_may_be_text(estimator: str, trained: Any, store: ArtifactStore) -> None:
    frame = table(classes=3)
    frame["y"] = frame["y"].map({0: "slow", 1: "fast", 2: "never"})
    params = {"verbose": -1} if "lightgbm" in estimator else {}

    result = trained({"estimator": estimator, "params": params}, frame, task="multiclass")

    info = info_of(store, result)
    model = load_model(store, result.artifacts["model"])
    assert info.classes == ["fast", "never", "slow"]
    assert model.classes_.tolist() == info.classes
    predictions = predictions_frame(store, result.artifacts["predictions"])
    assert list(predictions) == ["row", "fold", "p_0", "p_1", "p_2"]
    np.testing.assert_allclose(predictions[["p_0", "p_1", "p_2"]].sum(axis=1), 1, atol=1e-6)


def test_the_holdout_is_never_trained_on(trained: Any, store: ArtifactStore) -> None:
    # A tree without limits knows its training rows by heart.
    frame = table().assign(a=np.random.default_rng(0).normal(size=300), b=0.5, kind="x", y=[0, 1] * 150)

    result = trained({"estimator": TREE["estimator"]}, frame)

    predictions = predictions_frame(store, result.artifacts["predictions"])
    assert set(predictions["fold"]) == {1}
    assert (predictions["p_1"].round() == frame["y"].iloc[predictions["row"]].to_numpy()).mean() < 0.7


def test_cross_validation_predicts_every_row_out_of_fold_and_keeps_a_model_of_all(
    trained: Any, store: ArtifactStore
) -> None:
    frame = table().assign(a=np.random.default_rng(0).normal(size=300), b=0.5, kind="x", y=[0, 1] * 150)

    result = trained({"estimator": TREE["estimator"]}, frame, preparation=FOLDS)

    predictions = predictions_frame(store, result.artifacts["predictions"])
    assert predictions["row"].tolist() == list(range(300))
    assert set(predictions["fold"]) == {1, 2, 3}
    assert (predictions["p_1"].round() == frame["y"]).mean() < 0.7
    by_heart = predict(load_model(store, result.artifacts["model"]), features(frame), "binary")[:, 1]
    assert (by_heart.round() == frame["y"]).all()


def test_model_info_holds_what_publishing_needs(trained: Any, store: ArtifactStore) -> None:
    result = trained({"estimator": "lightgbm.LGBMClassifier", "params": {"n_estimators": 3, "verbose": -1}})

    info = info_of(store, result)
    assert [(feature.name, feature.kind) for feature in info.features] == [
        ("a", "numeric"),
        ("b", "numeric"),
        ("kind", "categorical"),
    ]
    assert (info.task, info.target, info.classes, info.predict_fn) == ("binary", "y", [0, 1], "predict_proba")
    assert [line.split("==")[0] for line in info.requirements] == [
        "lightgbm", "numpy", "pandas", "scikit-learn", "scipy", "skops",
    ]  # fmt: skip
    assert info.digest == result.facts["digest"]
    assert info.size == result.artifacts["model"].size
    example = pd.DataFrame(info.input_example)
    assert example.shape == (3, 3)
    assert not example.isna().any().any()
    assert predict(load_model(store, result.artifacts["model"]), example, "binary").shape == (3, 2)


def test_the_example_is_complete_even_where_no_row_is(trained: Any, store: ArtifactStore) -> None:
    frame = table()
    frame.loc[frame.index % 2 == 0, "a"] = np.nan
    frame.loc[frame.index % 2 == 1, "b"] = np.nan

    result = trained(LOGISTIC, frame, preparation=RANDOM | {"missing": {"max_share": 0.7}})

    example = pd.DataFrame(info_of(store, result).input_example)
    assert example.shape == (3, 3)
    assert not example.isna().any().any()


@pytest.mark.parametrize(
    "settings",
    [
        {"impute_numeric": "mean"},
        {"impute_numeric": "median", "encode": "ordinal"},
        {"impute_numeric": "most_frequent", "impute_categorical": "most_frequent"},
        {"impute_numeric": "knn", "scale": "none"},
    ],
)
def test_a_model_takes_what_it_has_not_seen(settings: dict[str, Any], trained: Any, store: ArtifactStore) -> None:
    model = load_model(store, trained({**LOGISTIC, **settings}).artifacts["model"])
    strange = pd.DataFrame(
        {"a": [np.nan, np.nan, 0.1, 99.0], "b": [np.nan] * 4, "kind": ["violet", np.nan, None, "red"]}
    )

    probabilities = predict(model, strange, "binary")

    assert np.isfinite(probabilities).all()
    assert (predict(model, strange.astype({"kind": "category"}), "binary") == probabilities).all()


def test_a_column_that_is_empty_in_training_does_not_shift_the_others(trained: Any, store: ArtifactStore) -> None:
    frame = table().assign(b=np.nan)

    result = trained(LOGISTIC, frame, preparation=RANDOM | {"missing": {"max_share": 1.0}})

    model = load_model(store, result.artifacts["model"])
    assert result.facts["warnings"] == []
    with_values = predict(model, features(frame).assign(b=3.0), "binary")
    assert np.isfinite(with_values).all()
    assert roc_auc_score(frame["y"], with_values[:, 1]) > 0.7


def test_class_weights_find_their_classes(trained: Any, store: ArtifactStore) -> None:
    # JSON makes text of the keys that YAML read as numbers.
    result = trained({**LOGISTIC, "params": {"class_weight": {"0": 1, "1": 50}}})

    assert predictions_frame(store, result.artifacts["predictions"])["p_1"].mean() > 0.8


def test_warnings_of_the_fit_are_facts(trained: Any) -> None:
    warnings = trained({**LOGISTIC, "params": {"max_iter": 1}}).facts["warnings"]

    assert len(warnings) == 1
    assert warnings[0].startswith("ConvergenceWarning: lbfgs failed to converge")
    assert len(warnings[0]) <= 200
