"""Patients of the breast cancer data set, in clinics that no model is told of, one of which is served worse."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from fairlearn import metrics as fairlearn
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.metrics import recall_score

from airflow_mlops_provider.data.tables import read_table
from airflow_mlops_provider.evaluation.report import EvaluationReport
from airflow_mlops_provider.exceptions import DataError, SpecError
from airflow_mlops_provider.modeling.predictions import predictions_frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.storage import ArtifactStore

CLINICS = ("harbour", "hill", "market")
MODELS = {
    "binary": "sklearn.linear_model.LogisticRegression",
    "multiclass": "sklearn.linear_model.LogisticRegression",
    "regression": "sklearn.linear_model.Ridge",
}
METRICS = {"binary": ["accuracy", "recall"], "multiclass": ["accuracy", "recall"], "regression": ["mae"]}


def patients(task: str = "binary") -> tuple[pd.DataFrame, list[str]]:
    """Rows in random order, with the clinic of each."""
    load = {"binary": load_breast_cancer, "multiclass": load_wine, "regression": load_diabetes}[task]
    frame = load(as_frame=True).frame.sample(frac=1, random_state=0).reset_index(drop=True)
    features = list(frame.columns[:5])
    frame = frame[[*features, "target"]]
    frame["target"] = frame["target"].astype(float if task == "regression" else "int64")
    generator = np.random.default_rng(1)
    frame["clinic"] = pd.Categorical(generator.choice(CLINICS, size=len(frame), p=[0.4, 0.35, 0.25]))
    return frame, features


@pytest.fixture
def evaluated(
    ingested: Callable[..., StepResult], step: Callable[..., StepResult]
) -> Callable[..., dict[str, StepResult]]:
    """Train one model on a frame whose clinic is no feature, and judge it by clinics."""

    def run(frame: pd.DataFrame, features: list[str], task: str = "binary", **fairness: Any) -> dict[str, StepResult]:
        dataset = ingested(frame, task=task, target="target", numeric=features, groups=["clinic"])
        split = step("prepare", {"split": {"by": "random", "holdout": 0.6}}, dataset=dataset)
        candidate = {"name": "only", "candidate": {"estimator": MODELS[task]}}
        model = step("train", candidate, dataset=dataset, split=split)
        evaluation = {
            "bootstrap": {"resamples": 50},
            "importance": None,
            "fairness": {"groups": ["clinic"], "min_rows": 20, **fairness},
        }
        section = {"evaluation": evaluation, "metrics": METRICS[task], "candidates": ["only"]}
        judged = step("evaluate", section, dataset=dataset, split=split, models=model)
        return {"dataset": dataset, "model": model, "evaluation": judged}

    return run


def report_of(store: ArtifactStore, results: dict[str, StepResult]) -> EvaluationReport:
    return EvaluationReport.model_validate(store.read_json(results["evaluation"].artifacts["evaluation"]))


def answers(store: ArtifactStore, results: dict[str, StepResult], frame: pd.DataFrame) -> pd.DataFrame:
    """What was said of the held-out rows, beside the truth and the clinic."""
    message = predictions_frame(store, results["model"].artifacts["predictions"])
    held = frame.iloc[message["row"]].reset_index(drop=True)
    classes = [name for name in message if name.startswith("p_")]
    held["said"] = message[classes].to_numpy().argmax(axis=1) if classes else message["prediction"]
    held["clinic"] = held["clinic"].astype(str)
    return held


def test_gaps_of_two_classes_are_fairlearns_own(
    store: ArtifactStore, evaluated: Callable[..., dict[str, StepResult]]
) -> None:
    frame, features = patients()
    frame.loc[::40, "clinic"] = None
    results = evaluated(frame, features, min_rows=30)
    found = report_of(store, results).fairness
    assert found is not None
    held = answers(store, results, frame)
    rows = held["clinic"].value_counts()
    assert {group.value: group.rows for group in found.groups} == {name: rows[name] for name in CLINICS}
    assert [(group.value, group.rows) for group in found.small] == [("(missing)", rows["nan"])]
    held = held[held["clinic"] != "nan"]
    expected = {
        "demographic_parity_difference": fairlearn.demographic_parity_difference,
        "equal_opportunity_difference": fairlearn.equal_opportunity_difference,
        "equalized_odds_difference": fairlearn.equalized_odds_difference,
        "error_rate_difference": fairlearn.zero_one_loss_difference,
    }
    assert [gap.gap for gap in found.gaps] == list(expected)
    for gap in found.gaps:
        value = expected[gap.gap](held["target"], held["said"], sensitive_features=held["clinic"])
        assert gap.value == pytest.approx(value)
        assert gap.low is not None
        assert gap.high is not None
        assert gap.low < gap.high
        ends = [
            found.group("clinic", name).metrics[gap.metric or ""].value or 0.0 for name in (gap.highest, gap.lowest)
        ]
        assert ends[0] - ends[1] == pytest.approx(value)
    of = held[held["clinic"] == "hill"]
    recall = found.group("clinic", "hill").metrics["recall"]
    assert recall.value == pytest.approx(recall_score(of["target"], of["said"]))
    assert recall.low is not None
    assert recall.low <= recall.value


def test_of_several_classes_the_worst_counts_and_is_named(
    store: ArtifactStore, evaluated: Callable[..., dict[str, StepResult]]
) -> None:
    frame, features = patients("multiclass")
    results = evaluated(frame, features, "multiclass", min_rows=10)
    found = report_of(store, results).fairness
    assert found is not None
    gap = next(gap for gap in found.gaps if gap.gap == "equal_opportunity_difference")
    held = answers(store, results, frame)
    by_class = {
        f"true_positive_rate[{index}]": fairlearn.equal_opportunity_difference(
            held["target"] == index, held["said"] == index, sensitive_features=held["clinic"]
        )
        for index in range(3)
    }
    assert gap.metric == max(by_class, key=by_class.__getitem__)
    assert gap.value == pytest.approx(max(by_class.values()))


def test_a_regression_has_gaps_in_units_of_its_target(
    store: ArtifactStore, evaluated: Callable[..., dict[str, StepResult]]
) -> None:
    frame, features = patients("regression")
    results = evaluated(frame, features, "regression")
    found = report_of(store, results).fairness
    assert found is not None
    held = answers(store, results, frame)
    error = held["said"] - held["target"]
    expected = {
        "mean_prediction_difference": held["said"],
        "mean_error_difference": error,
        "mae_difference": error.abs(),
    }
    assert {gap.gap: gap.value for gap in found.gaps} == {
        name: pytest.approx(np.ptp(values.groupby(held["clinic"]).mean())) for name, values in expected.items()
    }


def test_a_clinic_that_is_served_worse_fails_the_gates_by_name(
    store: ArtifactStore,
    evaluated: Callable[..., dict[str, StepResult]],
    step: Callable[..., StepResult],
) -> None:
    frame, features = patients()
    worse = (frame["clinic"] == "hill") & (np.random.default_rng(3).random(len(frame)) < 0.4)
    frame.loc[worse, "target"] = 1 - frame.loc[worse, "target"]
    results = evaluated(frame, features)
    gates: list[dict[str, Any]] = [
        {"kind": "max_gap", "gap": "error_rate_difference", "max": 0.15},
        {"kind": "max_gap", "name": "surely", "gap": "error_rate_difference", "max": 0.15, "judged_by": "low"},
        {"kind": "max_gap", "name": "loose", "gap": "error_rate_difference", "max": 0.9, "judged_by": "high"},
        {"kind": "min_group_metric", "metric": "accuracy", "min": 0.8, "column": "clinic"},
        {"kind": "min_group_metric", "name": "low bar", "metric": "accuracy", "min": 0.3},
    ]
    judged = step("gate", {"gates": gates, "metrics": METRICS["binary"]}, evaluation=results["evaluation"])
    verdicts = {one["name"]: one for one in store.read_json(judged.artifacts["verdicts"])["verdicts"]}
    assert {name: one["passed"] for name, one in verdicts.items()} == {
        "max_gap": False,
        "surely": False,
        "loose": True,
        "min_group_metric": False,
        "low bar": True,
    }
    assert judged.failure is not None
    error = str(judged.failure.as_error())
    rows = {name: int((answers(store, results, frame)["clinic"] == name).sum()) for name in CLINICS}
    assert "clinic: error_rate hill" in error
    assert f"of {rows['hill']} rows" in error
    assert f"(clinic=hill, {rows['hill']} rows)" in verdicts["min_group_metric"]["got"]
    # The model never saw where a patient was treated.
    info = store.read_json(results["model"].artifacts["model_info"])
    assert [feature["name"] for feature in info["features"]] == features


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("one group", "1 groups of clinic have enough rows"),
        ("no positive", "true_positive_rate of clinic=hill is undefined: no rows of class 1"),
    ],
)
def test_a_gap_that_cannot_be_told_fails_and_says_why(
    change: str,
    why: str,
    store: ArtifactStore,
    evaluated: Callable[..., dict[str, StepResult]],
    step: Callable[..., StepResult],
) -> None:
    frame, features = patients()
    if change == "one group":
        frame["clinic"] = pd.Categorical(np.where(frame.index < 20, "hill", "market"))
    else:
        frame.loc[frame["clinic"] == "hill", "target"] = 0
    results = evaluated(frame, features, min_rows=21)
    gates = [{"kind": "max_gap", "gap": "equal_opportunity_difference", "max": 1}]
    if change == "one group":
        gates.append({"kind": "min_group_metric", "metric": "accuracy", "min": 0})
    judged = step("gate", {"gates": gates, "metrics": METRICS["binary"]}, evaluation=results["evaluation"])
    verdicts = store.read_json(judged.artifacts["verdicts"])["verdicts"]
    assert [one["passed"] for one in verdicts] == [False] * len(gates)
    assert why in verdicts[0]["why"]
    assert judged.failure is not None


def test_an_identifier_is_no_group(evaluated: Callable[..., dict[str, StepResult]]) -> None:
    frame, features = patients()
    frame["clinic"] = [f"patient {number}" for number in range(len(frame))]
    with pytest.raises(DataError, match=r"'clinic' has \d+ groups .* at most 100"):
        evaluated(frame, features, min_rows=1)


def test_without_fairlearn_the_extra_is_named(
    evaluated: Callable[..., dict[str, StepResult]], monkeypatch: pytest.MonkeyPatch
) -> None:
    frame, features = patients()
    monkeypatch.setitem(sys.modules, "fairlearn.metrics", None)
    with pytest.raises(SpecError, match=r"needs 'fairlearn'.*airflow-mlops-provider\[fairness\]"):
        evaluated(frame, features)


def test_scoring_asks_for_no_groups_and_training_does(
    store: ArtifactStore, step: Callable[..., StepResult], tmp_path: Any
) -> None:
    frame, features = patients()
    frame.drop(columns="clinic").to_csv(tmp_path / "rows.csv", index=False)
    columns = {"target": "target", "numeric": features, "groups": ["clinic"]}
    section = {"task": "binary", "data": {"source": {"uri": str(tmp_path / "rows.csv")}, "columns": columns}}
    with pytest.raises(DataError, match="no column 'clinic'"):
        step("ingest", section)
    scored = step("ingest", {**section, "purpose": "scoring"})
    assert "clinic" not in read_table(store, scored.artifacts["dataset"])
    frame.to_csv(tmp_path / "rows.csv", index=False)
    trained = step("ingest", section)
    stored = read_table(store, trained.artifacts["dataset"])["clinic"]
    assert stored.astype(str).tolist() == frame["clinic"].tolist()
