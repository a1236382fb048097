"""Rows to train on, and candidates of the kinds that can be asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from airflow_mlops_provider.modeling.model_file import ModelInfo

if TYPE_CHECKING:
    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.storage import ArtifactStore

ROLES: dict[str, Any] = {"target": "y", "keys": ["id"], "numeric": ["a", "b"], "categorical": ["kind"]}
LOGISTIC = {"estimator": "sklearn.linear_model.LogisticRegression"}
TREE = {"estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 3}}
RIDGE = {"estimator": "sklearn.linear_model.Ridge"}
RANDOM = {"split": {"by": "random", "holdout": 0.3}}


def table(rows: int = 300, classes: int = 2) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    a = rng.normal(0, 1, rows)
    b = rng.normal(0, 1, rows)
    kind = rng.choice(["red", "green", "blue"], rows)
    score = a + 0.5 * b + (kind == "red") + rng.normal(0, 0.7, rows)
    frame = pd.DataFrame({"id": range(rows), "a": a, "b": b, "kind": kind})
    frame.loc[rng.random(rows) < 0.1, "a"] = np.nan
    frame.loc[rng.random(rows) < 0.1, "kind"] = None
    frame["y"] = pd.qcut(score, classes, labels=False) if classes else score
    return frame


def info_of(store: ArtifactStore, result: StepResult) -> ModelInfo:
    return ModelInfo.model_validate(store.read_json(result.artifacts["model_info"]))


def features(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[["a", "b", "kind"]].astype({"kind": object}).replace({None: np.nan})


NESTED: list[dict[str, Any]] = [
    {
        "estimator": "sklearn.ensemble.StackingClassifier",
        "params": {"estimators": [["tree", TREE], ["logistic", LOGISTIC]], "cv": 2},
    },
    {
        "estimator": "sklearn.ensemble.VotingClassifier",
        "params": {"estimators": [["tree", TREE], ["logistic", LOGISTIC]], "voting": "soft"},
    },
    {
        "estimator": "sklearn.calibration.CalibratedClassifierCV",
        "params": {"estimator": {"estimator": "sklearn.svm.LinearSVC"}, "cv": 2},
    },
    {
        "estimator": "sklearn.calibration.CalibratedClassifierCV",
        "params": {"estimator": TREE, "method": "isotonic", "cv": 2},
    },
    {
        "estimator": "sklearn.model_selection.GridSearchCV",
        "params": {"estimator": LOGISTIC, "param_grid": {"C": [0.1, 1.0]}, "cv": 2},
    },
    {
        "estimator": "sklearn.pipeline.Pipeline",
        "params": {
            "steps": [
                ["reduce", {"estimator": "sklearn.decomposition.PCA", "params": {"n_components": 2}}],
                ["model", LOGISTIC],
            ]
        },
    },
]
