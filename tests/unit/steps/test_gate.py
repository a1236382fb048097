from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from judged_evaluation import AS_OF, evaluated

from airflow_mlops_provider.evaluation.report import (
    CandidateScores,
    ChampionScores,
    Difference,
    Scores,
    WorstSlice,
)
from airflow_mlops_provider.exceptions import MLOpsError
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.results import MAX_XCOM_BYTES, StepResult
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from pathlib import Path

FLOOR = {"kind": "absolute", "name": "floor", "metric": "log_loss", "max": 0.5}
BETTER = {"kind": "champion", "metric": "log_loss"}
CHAMPION = ChampionScores(
    seq=2,
    version=3,
    order_key=AS_OF,
    compared="paired",
    metrics={"log_loss": 0.409},
    differences={"log_loss": Difference(value=-0.003, quantiles=[-0.006, -0.003, 0.001])},
)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path))


def gate(
    store: ArtifactStore,
    gates: list[dict[str, Any]],
    evaluation: StepResult | None = None,
    metrics: list[str] | None = None,
) -> StepResult:
    inputs = {"evaluation": [evaluation or evaluated(store)]}
    section = {"gates": gates, "metrics": ["log_loss"] if metrics is None else metrics}
    return run_step(StepRequest(step="gate", pipeline="flights", as_of=AS_OF, section=section, inputs=inputs), store)


def test_when_every_gate_passes_the_decision_is_to_promote(store: ArtifactStore) -> None:
    result = gate(store, [FLOOR, BETTER, {"kind": "latency"}])
    assert result.facts["decision"] == "promote"
    assert result.facts["passed"] is True
    assert result.facts["reason"] == "all 3 gates passed"
    assert result.failure is None


PERFECT = "too good to be true for most data"


@pytest.mark.parametrize(
    ("task", "value", "dummy", "remark"),
    [
        ("regression", {"r2": 0.9999999919}, {"r2": 0}, True),
        ("regression", {"r2": 0.998}, {"r2": 0}, False),
        ("regression", {"rmse": 0.3}, {"rmse": 10}, True),
        ("regression", {"rmse": 0.4}, {"rmse": 10}, False),
        ("regression", {"mae": 0}, {"mae": 10}, True),
        ("regression", {"rmse": 0}, {"rmse": 0}, False),
        ("binary", {"roc_auc": 0.9995}, {"roc_auc": 0.5}, True),
        ("binary", {"roc_auc": 0.999}, {"roc_auc": 0.5}, False),
        ("binary", {"average_precision": 1}, {"average_precision": 0.1}, True),
        ("binary", {"f1": 1}, {"f1": 0}, True),
        ("binary", {"balanced_accuracy": 1}, {"balanced_accuracy": 0.5}, True),
        ("binary", {"accuracy": 1}, {"accuracy": 0.6}, True),
        ("binary", {"accuracy": 0.9995}, {"accuracy": 0.999}, False),
        ("binary", {"accuracy": 1}, {"accuracy": 1}, False),
        ("binary", {"log_loss": 0.0001}, {"log_loss": 0.6}, True),
        ("binary", {"log_loss": 0.01}, {"log_loss": 0.6}, False),
        ("binary", {"brier": 0}, {"brier": 0.2}, True),
        ("binary", {"recall": 1, "precision": 0.1}, {"recall": 0, "precision": 0}, False),
        ("multiclass", {"log_loss": None}, {"log_loss": 1.1}, False),
        ("multiclass", {"roc_auc": 0.99999, "log_loss": 0.3}, {"roc_auc": 0.5, "log_loss": 1.1}, True),
    ],
)
def test_what_is_too_good_to_be_true_is_promoted_with_a_remark(
    task: str, value: dict[str, Any], dummy: dict[str, Any], remark: bool, store: ArtifactStore
) -> None:
    scores = {"candidates": {"forest": CandidateScores(metrics=value)}, "baseline": Scores(metrics=dummy)}
    facts = gate(store, [], evaluated(store, task=task, metrics=list(value), **scores), metrics=list(value)).facts
    assert (PERFECT in facts["reason"]) is remark
    assert [PERFECT in one for one in facts.get("remarks", [])] == [True] * remark


def test_without_gates_the_decision_is_to_promote(store: ArtifactStore) -> None:
    assert gate(store, []).facts["reason"] == "there are no gates"


def test_a_challenger_that_is_not_better_is_skipped_with_the_reason_in_words(store: ArtifactStore) -> None:
    result = gate(store, [FLOOR, BETTER], evaluated(store, champion=CHAMPION))
    assert result.failure is None
    assert result.facts["decision"] == "skip"
    assert result.facts["passed"] is False
    assert result.facts["reason"] == (
        "not better than champion v3 (champion: log_loss 0.412 vs v3 0.409, gain -0.003 [-0.00585, 0.0008], "
        "expected better: gain > 0 with 0.95)"
    )


def test_one_failing_gate_makes_the_run_red_and_every_failed_gate_is_named(store: ArtifactStore) -> None:
    gates = [
        FLOOR | {"max": 0.4},
        BETTER,
        {"kind": "model_size", "max_mb": 1},
        {"kind": "latency"},
    ]
    result = gate(store, gates, evaluated(store, champion=CHAMPION))
    assert result.facts["decision"] == "fail"
    assert result.failure is not None
    assert result.failure.what == "the challenger fails floor, champion, model_size"
    assert "log_loss 0.412" in str(result.failure.got)
    assert "<= 0.4" in str(result.failure.expected)
    assert "3 MB" in str(result.failure.got)


def test_all_verdicts_are_stored_before_any_is_acted_on(store: ArtifactStore) -> None:
    gates = [FLOOR | {"max": 0.1}, BETTER, {"kind": "latency"}, {"kind": "model_size"}]
    result = gate(store, gates, evaluated(store, champion=CHAMPION))
    verdicts = store.read_json(result.artifacts["verdicts"])["verdicts"]
    assert [(verdict["name"], verdict["passed"], verdict["on_fail"]) for verdict in verdicts] == [
        ("floor", False, "fail"),
        ("champion", False, "skip"),
        ("latency", True, "fail"),
        ("model_size", True, "fail"),
    ]
    assert set(verdicts[0]) == {
        "name",
        "kind",
        "passed",
        "on_fail",
        "got",
        "expected",
        "why",
        "metric",
        "margin",
        "spent",
    }


def test_a_gate_that_names_no_metric_uses_the_first_of_the_gates_own_list(store: ArtifactStore) -> None:
    both = {"roc_auc": 0.7, "log_loss": 0.412}
    evaluation = evaluated(
        store,
        metrics=["roc_auc", "log_loss"],
        candidates={"forest": CandidateScores(metrics=both)},
        baseline=Scores(metrics={"roc_auc": 0.5, "log_loss": 0.6}),
    )
    assert "log_loss 0.412 vs 0.6" in str(gate(store, [{"kind": "baseline"}], evaluation).facts["verdicts"])
    assert "roc_auc 0.7 vs 0.5" in str(gate(store, [{"kind": "baseline"}], evaluation, []).facts["verdicts"])


@pytest.mark.parametrize("letter", ["x", "ж", "字"])
def test_the_facts_fit_into_xcom_however_many_gates_fail(store: ArtifactStore, letter: str) -> None:
    name = letter * 80
    worst = WorstSlice(column=name, value=name, rows=300, metric=0.7)
    evaluation = evaluated(store, worst_slices={"log_loss": worst})
    gates = [{"kind": "worst_slice", "name": f"{name} {index}", "max": 0.1} for index in range(60)]
    result = gate(store, gates, evaluation)
    assert len(json.dumps(result.xcom())) < MAX_XCOM_BYTES
    assert len(store.read_json(result.artifacts["verdicts"])["verdicts"]) == 60


def test_failed_gates_come_first_in_the_facts(store: ArtifactStore) -> None:
    gates = [{"kind": "latency", "name": f"latency {index}"} for index in range(30)] + [FLOOR | {"max": 0.1}]
    shown: Any = gate(store, gates).facts["verdicts"]
    assert shown[0][:2] == ["floor", False]


def test_a_metric_that_is_undefined_fails_even_without_gates(store: ArtifactStore) -> None:
    broken = CandidateScores(metrics={"log_loss": None}, undefined={"log_loss": "3 of 20 predictions are not finite"})
    result = gate(store, [], evaluated(store, candidates={"forest": broken}))
    assert result.facts["decision"] == "fail"
    assert "3 of 20 predictions are not finite" in str(result.facts["reason"])


def test_the_result_of_evaluate_is_asked_for_by_name(store: ArtifactStore) -> None:
    request = StepRequest(step="gate", pipeline="flights", as_of=AS_OF, section={"gates": [], "metrics": []})
    with pytest.raises(MLOpsError, match="needs the result of one 'evaluation' task"):
        run_step(request, store)


def test_the_same_evaluation_is_judged_once(store: ArtifactStore) -> None:
    assert not gate(store, [FLOOR]).cached
    assert gate(store, [FLOOR]).cached
    assert not gate(store, [FLOOR | {"max": 0.4}]).cached


def test_judging_imports_no_heavy_library(store: ArtifactStore) -> None:
    inputs = {"evaluation": [evaluated(store, champion=CHAMPION)]}
    kinds = [FLOOR, BETTER, {"kind": "latency"}, {"kind": "predictions"}, {"kind": "worst_slice", "min": 0}]
    section = {"gates": kinds, "metrics": ["log_loss"]}
    request = StepRequest(step="gate", pipeline="flights", as_of=AS_OF, section=section, inputs=inputs)
    code = (
        "import sys; from airflow_mlops_provider.job import StepRequest;"
        "from airflow_mlops_provider.runner import run_step;"
        "from airflow_mlops_provider.storage import ArtifactStore;"
        "run_step(StepRequest.model_validate_json(sys.argv[1]), ArtifactStore(sys.argv[2]));"
        "heavy = ('numpy', 'pandas', 'sklearn', 'scipy', 'pyarrow', 'skops', 'mlflow', 'airflow');"
        "print([name for name in heavy if name in sys.modules])"
    )
    run = [sys.executable, "-c", code, request.model_dump_json(), store.root]
    assert subprocess.check_output(run, text=True).strip() == "[]"
