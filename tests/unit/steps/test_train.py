from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.exceptions import ModelError, NotAllowedError, SpecError
from airflow_mlops_provider.modeling.model_file import ModelInfo, load_model
from airflow_mlops_provider.modeling.predictions import predict, predictions_frame
from airflow_mlops_provider.steps import train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.storage import ArtifactStore

ROLES: dict[str, Any] = {"target": "y", "keys": ["id"], "numeric": ["a", "b"], "categorical": ["kind"]}
LOGISTIC = {"estimator": "sklearn.linear_model.LogisticRegression"}
TREE = {"estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 3}}
RIDGE = {"estimator": "sklearn.linear_model.Ridge"}
RANDOM = {"split": {"by": "random", "holdout": 0.3}}
FOLDS = {"split": {"by": "cross_validation", "folds": 3}}


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


@pytest.fixture
def trained(ingested: Callable[..., StepResult], step: Callable[..., StepResult]) -> Callable[..., StepResult]:
    def run(
        candidate: dict[str, Any],
        frame: pd.DataFrame | None = None,
        *,
        task: str = "binary",
        preparation: dict[str, Any] = RANDOM,
        seed: int = 7,
    ) -> StepResult:
        dataset = ingested(table() if frame is None else frame, task=task, **ROLES)
        split = step("prepare", preparation, dataset=dataset, seed=seed)
        section = {"name": "one", "candidate": candidate}
        return step("train", section, dataset=dataset, split=split, seed=seed)

    return run


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


def test_xgboost_is_required_only_where_it_is_used(trained: Any, store: ArtifactStore) -> None:
    nested = {
        "estimator": "sklearn.ensemble.VotingClassifier",
        "params": {
            "estimators": [["x", {"estimator": "xgboost.XGBClassifier", "params": {"n_estimators": 2}}]],
            "voting": "soft",
        },
    }

    assert any(line.startswith("xgboost") for line in info_of(store, trained(nested)).requirements)
    assert not any(line.startswith("xgboost") for line in info_of(store, trained(LOGISTIC)).requirements)


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


def test_the_seed_reaches_nested_estimators(trained: Any, store: ArtifactStore) -> None:
    candidate = {
        "estimator": "sklearn.ensemble.StackingClassifier",
        "params": {
            "estimators": [["seeded", TREE], ["own", {**TREE, "params": {"random_state": 1}}]],
            "final_estimator": {"estimator": "sklearn.ensemble.RandomForestClassifier", "params": {"n_estimators": 2}},
            "cv": 2,
        },
    }

    model = load_model(store, trained(candidate, seed=11).artifacts["model"])["model"]

    assert [tree.random_state for tree in model.estimators_] == [11, 1]
    assert model.final_estimator_.random_state == 11


def test_class_weights_find_their_classes(trained: Any, store: ArtifactStore) -> None:
    # JSON makes text of the keys that YAML read as numbers.
    result = trained({**LOGISTIC, "params": {"class_weight": {"0": 1, "1": 50}}})

    assert predictions_frame(store, result.artifacts["predictions"])["p_1"].mean() > 0.8


def test_warnings_of_the_fit_are_facts(trained: Any) -> None:
    warnings = trained({**LOGISTIC, "params": {"max_iter": 1}}).facts["warnings"]

    assert len(warnings) == 1
    assert warnings[0].startswith("ConvergenceWarning: lbfgs failed to converge")
    assert len(warnings[0]) <= 200


def test_other_libraries_get_one_thread_unless_the_file_says_otherwise(trained: Any, store: ArtifactStore) -> None:
    boosting = {"estimator": "lightgbm.LGBMClassifier", "params": {"n_estimators": 2, "verbose": -1}}
    threads = {**boosting, "params": {**boosting["params"], "n_jobs": 2}}

    models = [load_model(store, trained(candidate).artifacts["model"])["model"] for candidate in (boosting, threads)]

    assert [model.n_jobs for model in models] == [1, 2]


@pytest.mark.parametrize(
    ("candidate", "error", "message"),
    [
        ({"estimator": "os.system"}, NotAllowedError, "outside the allow-list"),
        ({"estimator": "sklearn.svm.NoSuchThing"}, NotAllowedError, "has no 'NoSuchThing'"),
        ({"estimator": "sklearn.impute.IterativeImputer"}, NotAllowedError, "cannot be imported"),
        ({"estimator": "sklearn.metrics.roc_auc_score"}, SpecError, "is not a scikit-learn estimator"),
        (RIDGE, SpecError, "does not fit a binary pipeline.*a classifier"),
        ({"estimator": "sklearn.preprocessing.StandardScaler"}, SpecError, "does not fit a binary pipeline"),
        (
            {**TREE, "params": {"max_dept": 3}},
            SpecError,
            r"params\.max_dept: unknown parameter of DecisionTreeClassifier; did you mean 'max_depth'",
        ),
        (
            {"estimator": "sklearn.ensemble.BaggingClassifier", "params": {"estimator": {**TREE, "params": {"x": 1}}}},
            SpecError,
            r"params\.estimator\.x: unknown parameter of DecisionTreeClassifier; known: ccp_alpha",
        ),
        (
            {
                "estimator": "sklearn.ensemble.VotingClassifier",
                "params": {"estimators": [["shell", {"estimator": "subprocess.Popen"}]]},
            },
            NotAllowedError,
            "'subprocess.Popen' is outside the allow-list",
        ),
        (
            {"estimator": "sklearn.ensemble.BaggingClassifier", "params": {"estimator": {**TREE, "parms": {}}}},
            SpecError,
            r"params\.estimator names an estimator and more: got \['parms'\]",
        ),
        ({"estimator": "sklearn.svm.LinearSVC"}, SpecError, "gives no probabilities"),
        (
            {"estimator": "sklearn.ensemble.VotingClassifier", "params": {"estimators": [["a", TREE]]}},
            SpecError,
            "gives no probabilities.*voting: soft",
        ),
        (
            {**LOGISTIC, "impute_numeric": "none"},
            ModelError,
            r"candidate 'one' \(sklearn.linear_model.LogisticRegression\) could not be trained.*NaN",
        ),
        ({**TREE, "params": {"max_depth": "deep"}}, ModelError, "could not be trained.*max_depth"),
    ],
)
def test_a_candidate_that_cannot_be_used_is_named(
    candidate: dict[str, Any], error: type[Exception], message: str, trained: Any
) -> None:
    with pytest.raises(error, match=f"(?s){message}"):
        trained(candidate)


PLUGIN = """
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_info


class Counting(LogisticRegression):
    def fit(self, X, y):
        self.threads_ = max(library["num_threads"] for library in threadpool_info())
        return super().fit(X, y)
"""


def test_an_estimator_of_the_plugins_folder_trains_and_its_libraries_get_one_thread(
    ingested: Any, step: Any, store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "counting_estimator.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(folder))
    dataset = ingested(table(), **ROLES)
    split = step("prepare", RANDOM, dataset=dataset)

    result = step(
        "train",
        {"name": "one", "candidate": {"estimator": "counting_estimator.Counting"}},
        plugins=str(folder),
        dataset=dataset,
        split=split,
    )

    model = load_model(store, result.artifacts["model"], AllowList(plugins_folder=str(folder)))
    assert model["model"].threads_ == 1


def test_names_are_all_found() -> None:
    section = train.Section.model_validate({"name": "one", "candidate": NESTED[0]})

    assert train.names(section) == [
        "sklearn.ensemble.StackingClassifier",
        "sklearn.tree.DecisionTreeClassifier",
        "sklearn.linear_model.LogisticRegression",
    ]


_TWICE = """
import json, sys
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.storage import ArtifactStore

request = StepRequest.model_validate_json(sys.argv[1])
result = run_step(request, ArtifactStore(sys.argv[2]))
print(json.dumps([result.facts["digest"], {role: ref.sha256 for role, ref in result.artifacts.items()}]))
"""


@pytest.mark.parametrize(
    "candidate",
    [
        NESTED[0],
        {"estimator": "sklearn.ensemble.RandomForestClassifier", "params": {"n_estimators": 5, "n_jobs": -1}},
        {"estimator": "sklearn.ensemble.HistGradientBoostingClassifier", "params": {"max_iter": 5}},
        {"estimator": "lightgbm.LGBMClassifier", "params": {"n_estimators": 5, "verbose": -1}},
        {"estimator": "xgboost.XGBClassifier", "params": {"n_estimators": 5}},
    ],
    ids=lambda candidate: candidate["estimator"].rpartition(".")[2],
)
def test_the_same_data_and_settings_make_the_same_files_in_any_process(
    candidate: dict[str, Any], trained: Any, store: ArtifactStore, tmp_path: Path
) -> None:
    here = trained(candidate)
    request = json.loads(store.read_request(here))
    other = tmp_path / "other"
    (tmp_path / "artifacts").rename(other)
    for receipt in other.glob("receipts/tests/train/*/receipt.json"):
        receipt.unlink()

    there = subprocess.run(
        [sys.executable, "-c", _TWICE, json.dumps(request), str(other)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "123"},
    )

    digest, files = json.loads(there.stdout.splitlines()[-1])
    assert digest == here.facts["digest"]
    assert files == {role: ref.sha256 for role, ref in here.artifacts.items()}
