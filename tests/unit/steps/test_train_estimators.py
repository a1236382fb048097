from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from candidates_to_train import LOGISTIC, NESTED, RANDOM, RIDGE, ROLES, TREE, info_of, table

from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.exceptions import MLOpsError, ModelError, NotAllowedError, SpecError
from airflow_mlops_provider.modeling.model_file import load_model
from airflow_mlops_provider.runner import request_behind
from airflow_mlops_provider.steps import train

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mlops_provider.storage import ArtifactStore


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
        ({"estimator": "sklearn.tree.plot_tree"}, SpecError, "is not a scikit-learn estimator"),
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
            r"params\.estimator has unexpected keys: got \['parms'\]",
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


GREEDY = """
import numpy as np
from sklearn.linear_model import LogisticRegression


class Greedy(LogisticRegression):
    def fit(self, X, y):
        return super().fit(np.zeros((2**31, 2**20)), y)
"""


@pytest.mark.parametrize("search", [None, {"method": "grid", "space": {"C": [0.1, 1.0]}, "metric": "roc_auc"}])
def test_a_step_that_gets_no_more_memory_does_not_blame_the_parameters(
    ingested: Any, step: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, search: Any
) -> None:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "greedy_estimator.py").write_text(GREEDY)
    monkeypatch.syspath_prepend(str(folder))
    dataset = ingested(table(), **ROLES)
    split = step("prepare", RANDOM, dataset=dataset)
    candidate = {"estimator": "greedy_estimator.Greedy", "search": search}

    with pytest.raises(MLOpsError, match=r"ran out of memory") as failed:
        step("train", {"name": "one", "candidate": candidate}, plugins=str(folder), dataset=dataset, split=split)

    assert "Give the worker more memory" in str(failed.value)
    assert "impute_numeric" not in str(failed.value)


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
    request = request_behind(store, here).model_dump(mode="json")
    request["allow_list"] = AllowList(modules=("lightgbm", "xgboost")).model_dump(mode="json")  # never stored
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
