"""What models of real data rely on, by SHAP or by permutation, and by the columns of the data."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.inspection import partial_dependence

from airflow_mlops_provider.evaluation.report import EvaluationReport
from airflow_mlops_provider.exceptions import SpecError
from airflow_mlops_provider.modeling.model_file import load_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mlops_provider.evaluation.explanation_report import ExplanationReport
    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.storage import ArtifactStore

HOSTILE = "</script><script>alert(1)</script>"
ORDINAL = {"encode": "ordinal", "scale": "none"}


def patients(task: str = "binary") -> tuple[pd.DataFrame, list[str]]:
    """Three measurements, and a ward that tells the target in most rows."""
    load = {"binary": load_breast_cancer, "multiclass": load_wine, "regression": load_diabetes}[task]
    frame = load(as_frame=True).frame.sample(frac=1, random_state=0).reset_index(drop=True)
    numeric = list(frame.columns[:3])
    frame = frame[[*numeric, "target"]]
    generator = np.random.default_rng(1)
    reported = frame["target"] > frame["target"].median() if task == "regression" else frame["target"]
    named = np.where(generator.random(len(frame)) < 0.85, "ward " + reported.astype(int).astype(str), "elsewhere")
    frame["ward"] = pd.Categorical(named)
    frame["target"] = frame["target"].astype(float if task == "regression" else "int64")
    frame.loc[::50, numeric[1]] = np.nan
    return frame, numeric


@pytest.fixture
def explained(
    ingested: Callable[..., StepResult], step: Callable[..., StepResult]
) -> Callable[..., dict[str, StepResult]]:
    def run(
        frame: pd.DataFrame,
        numeric: list[str],
        candidate: dict[str, Any],
        task: str = "binary",
        **explanation: Any,
    ) -> dict[str, StepResult]:
        dataset = ingested(frame, task=task, target="target", numeric=numeric, categorical=["ward"])
        split = step("prepare", {"split": {"by": "random", "holdout": 0.6}}, dataset=dataset)
        model = step("train", {"name": "only", "candidate": candidate}, dataset=dataset, split=split)
        evaluation = {
            "bootstrap": {"resamples": 20},
            "importance": None,
            "slices": ["ward"],
            "min_slice_rows": 20,
            "explanation": {"rows": 80, "top": 2, **explanation},
        }
        metrics = ["mae"] if task == "regression" else ["log_loss"]
        section = {"evaluation": evaluation, "metrics": metrics, "candidates": ["only"]}
        judged = step("evaluate", section, dataset=dataset, split=split, models=model)
        return {"model": model, "evaluation": judged}

    return run


def explanation_of(store: ArtifactStore, results: dict[str, StepResult]) -> ExplanationReport:
    report = EvaluationReport.model_validate(store.read_json(results["evaluation"].artifacts["evaluation"]))
    assert report.explanation is not None
    return report.explanation


@pytest.mark.parametrize(
    ("estimator", "settings", "task", "method"),
    [
        ("sklearn.linear_model.LogisticRegression", {}, "binary", "shap_linear"),
        ("sklearn.linear_model.LogisticRegression", {}, "multiclass", "shap_linear"),
        ("sklearn.linear_model.Ridge", {}, "regression", "shap_linear"),
        ("sklearn.ensemble.RandomForestClassifier", {"params": {"n_estimators": 10}}, "multiclass", "shap_tree"),
        ("sklearn.ensemble.HistGradientBoostingClassifier", ORDINAL, "binary", "shap_tree"),
        ("sklearn.ensemble.GradientBoostingClassifier", ORDINAL, "multiclass", "permutation"),
        ("sklearn.tree.DecisionTreeRegressor", {"params": {"max_depth": 4}}, "regression", "shap_tree"),
        ("xgboost.XGBClassifier", {"params": {"n_estimators": 10}}, "multiclass", "shap_tree"),
        ("lightgbm.LGBMClassifier", {"params": {"n_estimators": 10, "verbose": -1}}, "binary", "shap_tree"),
        ("sklearn.naive_bayes.GaussianNB", ORDINAL, "binary", "permutation"),
    ],
)
def test_a_ward_that_tells_the_target_is_what_a_model_relies_on(
    estimator: str,
    settings: dict[str, Any],
    task: str,
    method: str,
    store: ArtifactStore,
    explained: Callable[..., dict[str, StepResult]],
) -> None:
    frame, numeric = patients(task)
    found = explanation_of(store, explained(frame, numeric, {"estimator": estimator, **settings}, task))
    assert found.overall.method == method
    assert (found.overall.why is None) == (method != "permutation")
    assert {one.column for one in found.overall.columns} == {*numeric, "ward"}
    assert found.overall.columns[0].column == "ward"
    assert sum(one.share for one in found.overall.columns) == pytest.approx(1)
    assert found.overall.rows == 80
    assert found.worst_slice is not None
    assert found.worst_slice.column == "ward"
    assert [one.column for one in found.dependence][0] == "ward"


def test_values_of_one_hot_inputs_add_up_to_those_of_their_column(
    store: ArtifactStore, explained: Callable[..., dict[str, StepResult]]
) -> None:
    frame, numeric = patients()
    results = explained(frame, numeric, {"estimator": "sklearn.linear_model.LogisticRegression"}, rows=5000)
    found = explanation_of(store, results)
    pipeline = load_model(store, results["model"].artifacts["model"])
    # By hand: of a linear model, a Shapley value is the coefficient times the distance from the mean (of 100 rows).
    [coefficients] = pipeline[-1].coef_
    encoded = np.asarray(pipeline[:-1].transform(frame[[*numeric, "ward"]].astype({"ward": object})))
    by_hand = np.abs((encoded - encoded.mean(axis=0)) @ np.diag(coefficients))
    ward = np.abs(((encoded - encoded.mean(axis=0)) * coefficients)[:, 3:].sum(axis=1)).mean()
    values = {one.column: one.importance for one in found.overall.columns}
    assert values["ward"] == pytest.approx(ward, rel=0.2)
    assert values["ward"] < by_hand[:, 3:].mean(axis=0).sum()
    assert values[numeric[0]] == pytest.approx(by_hand[:, 0].mean(), rel=0.2)


def test_partial_dependence_is_scikit_learns(
    store: ArtifactStore, explained: Callable[..., dict[str, StepResult]]
) -> None:
    frame, numeric = patients()
    results = explained(frame, numeric, {"estimator": "sklearn.linear_model.LogisticRegression"}, rows=5000, top=4)
    dependence = {one.column: one for one in explanation_of(store, results).dependence}
    ward, size = dependence["ward"], dependence[numeric[0]]
    assert ward.kind == "categorical"
    assert sorted(map(str, ward.grid)) == ["elsewhere", "ward 0", "ward 1"]
    answers = dict(zip(ward.grid, ward.answers["1"], strict=True))
    assert answers["ward 0"] < answers["elsewhere"] < answers["ward 1"]
    pipeline = load_model(store, results["model"].artifacts["model"])
    features = frame[[*numeric, "ward"]].astype({"ward": object})
    whole = partial_dependence(pipeline, features, [0], custom_values={0: np.array(size.grid)})
    assert size.answers["1"] == pytest.approx(whole["average"][0], abs=0.05)
    assert len(size.grid) == 20


def test_implausible_reliance_fails_by_the_name_of_the_column(
    store: ArtifactStore,
    explained: Callable[..., dict[str, StepResult]],
    step: Callable[..., StepResult],
) -> None:
    frame, numeric = patients()
    results = explained(frame, numeric, {"estimator": "sklearn.linear_model.LogisticRegression"})
    gates = [
        {"kind": "max_importance", "columns": {"ward": 0.2}},
        {"kind": "max_importance", "name": "any", "any": 0.3},
        {"kind": "max_importance", "name": "fine", "columns": {"ward": 1, numeric[0]: 1}},
        {"kind": "max_importance", "name": "unused", "columns": {"gone": 0.1}},
    ]
    judged = step("gate", {"gates": gates, "metrics": ["log_loss"]}, evaluation=results["evaluation"])
    verdicts = store.read_json(judged.artifacts["verdicts"])["verdicts"]
    assert [one["passed"] for one in verdicts] == [False, False, True, True]
    assert verdicts[0]["got"].startswith("ward ")
    assert "relies on 'ward' more than is plausible" in verdicts[0]["why"]
    assert judged.failure is not None
    assert "ward" in str(judged.failure.as_error())


def test_the_same_seed_gives_the_same_explanation(
    store: ArtifactStore, explained: Callable[..., dict[str, StepResult]]
) -> None:
    frame, numeric = patients()
    forest = {"estimator": "sklearn.ensemble.RandomForestClassifier", "params": {"n_estimators": 5}}
    first = explanation_of(store, explained(frame, numeric, forest))
    again = explanation_of(store, explained(frame, numeric, forest, top=2, method="auto", rows=80))
    assert first == again


def test_without_shap_the_extra_is_named_and_permutation_does_without(
    store: ArtifactStore, explained: Callable[..., dict[str, StepResult]], monkeypatch: pytest.MonkeyPatch
) -> None:
    frame, numeric = patients()
    logistic = {"estimator": "sklearn.linear_model.LogisticRegression"}
    monkeypatch.setitem(sys.modules, "shap", None)
    with pytest.raises(SpecError, match=r"needs 'shap'.*airflow-mlops-provider\[explain\]"):
        explained(frame, numeric, logistic)
    found = explanation_of(store, explained(frame, numeric, logistic, method="permutation"))
    assert found.overall.method == "permutation"
    assert found.overall.columns[0].column == "ward"


def test_the_page_shows_it_and_runs_nothing_that_a_column_is_called(
    store: ArtifactStore, explained: Callable[..., dict[str, StepResult]]
) -> None:
    frame, numeric = patients()
    frame = frame.rename(columns={numeric[0]: HOSTILE})
    frame["ward"] = frame["ward"].cat.rename_categories({"ward 1": "<img src=x onerror=alert(1)>"})
    settled = {
        "estimator": "sklearn.ensemble.RandomForestClassifier",
        "params": {"n_estimators": 10},
        "calibrate": "sigmoid",
        "threshold": 0.4,
    }
    results = explained(frame, [HOSTILE, *numeric[1:]], settled, top=4)
    # Behind a calibration and a threshold, the forest itself is explained.
    assert explanation_of(store, results).overall.method == "shap_tree"
    page = store.fetch(results["evaluation"].artifacts["report"]).read_text(encoding="utf-8")
    for message in (
        "What the winner relies on",
        "On the worst slice, ward=",
        "Mean prediction by ward",
        "Mean prediction by &lt;",
    ):
        assert message in page
    assert "<script" not in page
    assert "<img" not in page
    assert len(page) < 2_000_000
