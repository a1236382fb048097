from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from candidates_to_train import LOGISTIC, NESTED, RIDGE, features, table
from sklearn.metrics import roc_auc_score

from airflow_mlops_provider.modeling.model_file import load_model
from airflow_mlops_provider.modeling.predictions import predict, predictions_frame

if TYPE_CHECKING:
    from airflow_mlops_provider.storage import ArtifactStore

PLAIN = [
    {"estimator": "sklearn.ensemble.RandomForestClassifier", "params": {"n_estimators": 5, "n_jobs": 2}},
    {"estimator": "sklearn.ensemble.ExtraTreesClassifier", "params": {"n_estimators": 5}},
    {"estimator": "sklearn.ensemble.GradientBoostingClassifier", "params": {"n_estimators": 5}},
    {"estimator": "sklearn.ensemble.AdaBoostClassifier", "params": {"n_estimators": 5}},
    {"estimator": "sklearn.ensemble.BaggingClassifier", "params": {"estimator": LOGISTIC, "n_estimators": 3}},
    {
        "estimator": "sklearn.ensemble.HistGradientBoostingClassifier",
        "params": {"max_iter": 5},
        "encode": "ordinal",
        "impute_numeric": "none",
        "scale": "none",
    },
    {"estimator": "sklearn.neural_network.MLPClassifier", "params": {"hidden_layer_sizes": [8], "max_iter": 1000}},
    {
        "estimator": "sklearn.neural_network.MLPClassifier",
        "params": {"hidden_layer_sizes": [4], "solver": "sgd", "max_iter": 2000},
    },
    {"estimator": "sklearn.neighbors.KNeighborsClassifier", "params": {"n_jobs": 2}},
    {"estimator": "sklearn.neighbors.KNeighborsClassifier", "params": {"algorithm": "ball_tree"}, "encode": "ordinal"},
    {"estimator": "sklearn.naive_bayes.GaussianNB"},
    {"estimator": "sklearn.linear_model.SGDClassifier", "params": {"loss": "log_loss"}},
    {"estimator": "sklearn.discriminant_analysis.LinearDiscriminantAnalysis"},
    {"estimator": "sklearn.gaussian_process.GaussianProcessClassifier", "params": {"max_iter_predict": 5}},
    {"estimator": "xgboost.XGBClassifier", "params": {"n_estimators": 5}},
    {"estimator": "lightgbm.LGBMClassifier", "params": {"n_estimators": 5, "verbose": -1}},
]


@pytest.mark.parametrize("candidate", NESTED + PLAIN, ids=lambda candidate: candidate["estimator"].rpartition(".")[2])
def test_a_stored_classifier_predicts_what_the_trained_one_predicted(
    candidate: dict[str, Any], trained: Any, store: ArtifactStore
) -> None:
    frame = table()

    result = trained(candidate, frame)

    predictions = predictions_frame(store, result.artifacts["predictions"])
    model = load_model(store, result.artifacts["model"])
    again = predict(model, features(frame).iloc[predictions["row"]], "binary")
    # A forest's trees are added up in any order.
    np.testing.assert_allclose(again, predictions[["p_0", "p_1"]].to_numpy(), rtol=0, atol=1e-12)
    assert roc_auc_score(frame["y"].iloc[predictions["row"]], predictions["p_1"]) > 0.7


@pytest.mark.parametrize(
    "candidate",
    [
        RIDGE,
        {"estimator": "sklearn.ensemble.RandomForestRegressor", "params": {"n_estimators": 5}},
        {"estimator": "sklearn.ensemble.HistGradientBoostingRegressor", "params": {"max_iter": 5}},
        {"estimator": "sklearn.ensemble.VotingRegressor", "params": {"estimators": [["a", RIDGE], ["b", RIDGE]]}},
        {"estimator": "sklearn.linear_model.TweedieRegressor", "params": {"power": 0}},
        {"estimator": "sklearn.svm.SVR"},
        {
            "estimator": "sklearn.compose.TransformedTargetRegressor",
            "params": {
                "regressor": RIDGE,
                "transformer": {"estimator": "sklearn.preprocessing.QuantileTransformer", "params": {"n_quantiles": 9}},
            },
        },
        {"estimator": "xgboost.XGBRegressor", "params": {"n_estimators": 20}},
        {"estimator": "lightgbm.LGBMRegressor", "params": {"n_estimators": 20, "verbose": -1}},
    ],
    ids=lambda candidate: candidate["estimator"].rpartition(".")[2],
)
def test_a_stored_regressor_predicts_what_the_trained_one_predicted(
    candidate: dict[str, Any], trained: Any, store: ArtifactStore
) -> None:
    frame = table(classes=0)

    result = trained(candidate, frame, task="regression")

    predictions = predictions_frame(store, result.artifacts["predictions"])
    assert list(predictions) == ["row", "fold", "prediction"]
    model = load_model(store, result.artifacts["model"])
    again = predict(model, features(frame).iloc[predictions["row"]], "regression")
    np.testing.assert_allclose(again, predictions["prediction"], rtol=0, atol=1e-12)
    assert np.corrcoef(predictions["prediction"], frame["y"].iloc[predictions["row"]])[0, 1] > 0.6
