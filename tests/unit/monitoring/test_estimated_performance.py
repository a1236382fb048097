from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from sklearn import metrics

from airflow_mlops_provider.evaluation.metrics import measure_all, predictions_of
from airflow_mlops_provider.monitoring.estimate_report import Estimate, has_fallen
from airflow_mlops_provider.monitoring.estimated_performance import (
    MAX_ROWS,
    Calibrator,
    Outcomes,
    Reference,
    Unlabelled,
    estimate,
    evenly,
)
from airflow_mlops_provider.spec import CLASSIFICATION_METRICS, Estimated

NAMES = list(CLASSIFICATION_METRICS)


def requested(rows: int, classes: int = 2, seed: int = 0, **changes: Any) -> tuple[Unlabelled, np.ndarray]:
    """Return rows whose labels are drawn from their own probabilities, rounded so that there are ties."""
    generator = np.random.default_rng(seed)
    scores = np.round(generator.dirichlet(np.ones(classes), rows), 2)
    scores /= scores.sum(axis=1, keepdims=True)
    truth = (generator.random((rows, 1)) > scores.cumsum(axis=1)[:, :-1]).sum(axis=1)
    task: Literal["binary", "multiclass"] = "binary" if classes == 2 else "multiclass"
    return Unlabelled(task, tuple(range(classes)), scores, **changes), truth


@pytest.mark.parametrize(("classes", "threshold"), [(2, None), (2, 0.3), (3, None)])
def test_labels_that_came_give_the_metrics_that_evaluate_measures(classes: int, threshold: float | None) -> None:
    rows, truth = requested(300, classes, threshold=threshold)
    measured = measure_all(NAMES, predictions_of(rows.task, truth, rows.scores, rows.classes, threshold))

    found = Outcomes(NAMES, rows).realised(truth)

    assert found == {name: pytest.approx(measured[name].value, abs=1e-9) for name in NAMES}


def test_expected_metrics_are_those_of_weighed_rows_as_scikit_learn_has_them() -> None:
    rows, _ = requested(200)
    true = np.clip(rows.scores[:, 1] * 0.8 + 0.05, 0, 1)
    twice = np.concatenate([np.ones(200), np.zeros(200)])
    scores, weights = np.tile(rows.scores[:, 1], 2), np.concatenate([true, 1 - true])
    called = scores > 0.5

    found = Outcomes(NAMES, rows).expected(np.column_stack([1 - true, true]))

    expected = {
        "roc_auc": metrics.roc_auc_score(twice, scores, sample_weight=weights),
        "average_precision": metrics.average_precision_score(twice, scores, sample_weight=weights),
        "log_loss": metrics.log_loss(twice, scores, sample_weight=weights),
        "brier": metrics.brier_score_loss(twice, scores, sample_weight=weights),
        "accuracy": metrics.accuracy_score(twice, called, sample_weight=weights),
        "f1": metrics.f1_score(twice, called, sample_weight=weights),
        "recall": metrics.recall_score(twice, called, sample_weight=weights),
        "precision": metrics.precision_score(twice, called, sample_weight=weights),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("classes", [2, 3])
def test_drawn_labels_spread_as_labels_do(classes: int) -> None:
    rows, _ = requested(400, classes)
    generator = np.random.default_rng(1)
    drawn = [
        measure_all(["accuracy", "log_loss"], predictions_of(rows.task, one, rows.scores, rows.classes))
        for one in ((generator.random((400, 1)) > rows.scores.cumsum(axis=1)[:, :-1]).sum(axis=1) for _ in range(300))
    ]

    found = Outcomes(["accuracy", "log_loss"], rows).deviation(rows.scores, 300, seed=2)

    for name in ("accuracy", "log_loss"):
        by_hand = float(np.std([one[name].value for one in drawn], ddof=1))
        assert found[name] == pytest.approx(by_hand, rel=0.25)


def test_calibration_undoes_what_distorts_probabilities_and_adds_up_to_one() -> None:
    for classes in (2, 3):
        rows, truth = requested(20_000, classes)
        pushed = rows.scores**2 / (rows.scores**2).sum(axis=1, keepdims=True)
        mended = Calibrator(pushed, truth)(pushed)
        assert mended.sum(axis=1) == pytest.approx(1)
        assert np.abs(mended - rows.scores).mean() < 0.35 * np.abs(pushed - rows.scores).mean()


def reference(rows: int = 6000, *, wave: float = 0.0) -> Reference:
    """Return held-out rows in whose order the labels come and go in waves that no feature tells."""
    held, truth = requested(rows, seed=5)
    moved = np.sin(np.arange(rows) / rows * 10 * np.pi) * wave
    again = np.random.default_rng(6).random(rows) < np.clip(held.scores[:, 1] + moved, 0, 1)
    return Reference(held, again.astype(int) if wave else truth, holdout_rows=rows)


def reported(window: Unlabelled, known: Reference, names: list[str], **changes: Any) -> dict[str, Estimate]:
    settings: dict[str, Any] = {"confidence": 0.9, "rows": window.rows, "holdout": {}, "seed": 3} | changes
    return estimate(names, window, known, **settings)


def test_where_calibration_holds_the_interval_holds_as_often_as_it_says() -> None:
    names, held = ["accuracy", "roc_auc", "log_loss"], reference()
    hits = []
    for seed in range(10, 50):
        window, truth = requested(300, seed=seed)
        found = reported(window, held, names)
        realised = measure_all(names, predictions_of("binary", truth, window.scores, window.classes))
        hits += [found[name].holds(realised[name].value) for name in names]

    assert 0.8 < np.mean(hits) <= 0.98


def test_waves_in_the_holdout_widen_the_interval_and_chance_stays() -> None:
    window, _ = requested(300, seed=9)
    calm, rough = (reported(window, reference(wave=wave), ["precision"])["precision"] for wave in (0.0, 0.3))

    assert calm.chance == pytest.approx(rough.chance, rel=0.2)
    assert calm.error is not None
    assert rough.error is not None
    assert rough.error > 3 * calm.error
    assert rough.error > 0.05


def test_longer_windows_are_held_against_longer_blocks() -> None:
    held = reference()
    assert held.blocks_for(100) == 60
    assert held.blocks_for(300) == 20
    assert held.blocks_for(6000) == 20
    few, truth = requested(120)
    assert Reference(few, truth, holdout_rows=120).blocks_for(10) == 2


def test_a_window_without_a_positive_row_called_still_has_an_estimate_and_one_class_has_none() -> None:
    window = Unlabelled("binary", (0, 1), np.tile([0.9, 0.1], (300, 1)))
    found = reported(window, reference(), ["f1", "roc_auc"])
    assert found["f1"].value == 0.0

    certain = Reference(window, np.zeros(300, int), holdout_rows=300)
    nothing = reported(window, certain, ["roc_auc"])["roc_auc"]
    assert (nothing.value, nothing.why) == (None, "it is undefined on these rows")
    assert nothing.words("roc_auc") == "roc_auc cannot be estimated: it is undefined on these rows"


def test_many_rows_are_spread_evenly() -> None:
    rows = Unlabelled("binary", (0, 1), np.column_stack([np.zeros(MAX_ROWS * 2), np.arange(MAX_ROWS * 2)]))
    assert evenly(rows).scores[:3, 1].tolist() == [0, 2, 4]
    assert evenly(rows).rows == MAX_ROWS


@pytest.mark.parametrize(
    ("metric", "span", "holdout", "fallen"),
    [
        ("roc_auc", (0.65, 0.71), 0.8, True),
        ("roc_auc", (0.65, 0.73), 0.8, False),
        ("log_loss", (0.56, 0.6), 0.5, True),
        ("log_loss", (0.54, 0.9), 0.5, False),
        ("log_loss", (0.3, 0.4), 0.5, False),
        ("log_loss", (None, None), 0.5, False),
        ("log_loss", (0.9, 0.95), None, False),
    ],
)
def test_a_whole_interval_beyond_the_margin_is_a_fall(
    metric: str, span: tuple[float | None, float | None], holdout: float | None, fallen: bool
) -> None:
    low, high = span
    value = None if low is None or high is None else (low + high) / 2
    found = Estimate(value=value, low=low, high=high, confidence=0.9, holdout=holdout)
    assert has_fallen(metric, found, Estimated(), None) == fallen
