from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from airflow_mlops_provider.evaluation.metrics import Predictions, gain, measure, measure_all, predictions_of
from airflow_mlops_provider.exceptions import SpecError
from airflow_mlops_provider.spec import CLASSIFICATION_METRICS, LOSSES, REGRESSION_METRICS


def binary(rows: int = 500, seed: int = 0, decimals: int = 15) -> Predictions:
    generator = np.random.default_rng(seed)
    truth = (generator.random(rows) < 0.3).astype(int)
    score = np.clip(0.3 + 0.2 * truth + 0.2 * generator.standard_normal(rows), 0, 1).round(decimals)
    return predictions_of("binary", truth, np.column_stack([1 - score, score]), ("no", "yes"))


def three_classes(rows: int = 300, seed: int = 0) -> Predictions:
    generator = np.random.default_rng(seed)
    truth = generator.integers(3, size=rows)
    raw = generator.random((rows, 3)) + np.eye(3)[truth]
    return predictions_of("multiclass", truth, raw / raw.sum(axis=1, keepdims=True), ("a", "b", "c"))


def regression(rows: int = 300, seed: int = 0) -> Predictions:
    generator = np.random.default_rng(seed)
    truth = generator.gamma(2.0, 50.0, rows)
    return predictions_of("regression", truth, truth + generator.normal(0, 20, rows))


BINARY = {
    "roc_auc": lambda p: sk.roc_auc_score(p.truth, p.scores[:, 1]),
    "average_precision": lambda p: sk.average_precision_score(p.truth, p.scores[:, 1]),
    "log_loss": lambda p: sk.log_loss(p.truth, p.scores),
    "brier": lambda p: np.mean((p.scores[:, 1] - p.truth) ** 2),
    "accuracy": lambda p: np.mean((p.scores[:, 1] > 0.5) == p.truth),
    "balanced_accuracy": lambda p: sk.balanced_accuracy_score(p.truth, p.scores[:, 1] > 0.5),
    "f1": lambda p: sk.f1_score(p.truth, p.scores[:, 1] > 0.5),
    "precision": lambda p: sk.precision_score(p.truth, p.scores[:, 1] > 0.5),
    "recall": lambda p: sk.recall_score(p.truth, p.scores[:, 1] > 0.5),
}
MULTICLASS = {
    "roc_auc": lambda p: sk.roc_auc_score(p.truth, p.scores, multi_class="ovr", average="macro"),
    "average_precision": lambda p: np.mean(
        [sk.average_precision_score(p.truth == label, p.scores[:, label]) for label in range(3)]
    ),
    "log_loss": lambda p: sk.log_loss(p.truth, p.scores),
    "brier": lambda p: np.mean(np.sum((p.scores - np.eye(3)[p.truth]) ** 2, axis=1)),
    "accuracy": lambda p: sk.accuracy_score(p.truth, p.scores.argmax(axis=1)),
    "balanced_accuracy": lambda p: sk.balanced_accuracy_score(p.truth, p.scores.argmax(axis=1)),
    "f1": lambda p: sk.f1_score(p.truth, p.scores.argmax(axis=1), average="macro"),
    "precision": lambda p: sk.precision_score(p.truth, p.scores.argmax(axis=1), average="macro"),
    "recall": lambda p: sk.recall_score(p.truth, p.scores.argmax(axis=1), average="macro"),
}
REGRESSION = {
    "rmse": lambda p: sk.mean_squared_error(p.truth, p.scores) ** 0.5,
    "mae": lambda p: sk.mean_absolute_error(p.truth, p.scores),
    "r2": lambda p: sk.r2_score(p.truth, p.scores),
    "median_absolute_error": lambda p: np.median(np.abs(p.truth - p.scores)),
    "max_error": lambda p: np.max(np.abs(p.truth - p.scores)),
}


@pytest.mark.parametrize(
    ("predictions", "expected", "names"),
    [
        (binary(), BINARY, CLASSIFICATION_METRICS),
        (three_classes(), MULTICLASS, CLASSIFICATION_METRICS),
        (regression(), REGRESSION, REGRESSION_METRICS),
    ],
    ids=["binary", "multiclass", "regression"],
)
def test_every_metric_is_that_of_scikit_learn(predictions: Predictions, expected: dict, names: tuple) -> None:
    assert set(expected) == set(names)
    measured = measure_all(names, predictions)
    for name in names:
        assert measured[name].why is None
        assert measured[name].value == pytest.approx(expected[name](predictions), abs=1e-9), name


def test_the_second_class_is_the_positive_one() -> None:
    predictions = binary()
    turned = predictions_of("binary", 1 - predictions.truth, predictions.scores[:, ::-1], ("yes", "no"))
    assert measure("roc_auc", turned).value == pytest.approx(measure("roc_auc", predictions).value)
    assert measure("average_precision", turned).value != pytest.approx(measure("average_precision", predictions).value)


def test_rounding_of_stored_probabilities_changes_nothing() -> None:
    exact = three_classes()
    stored = predictions_of("multiclass", exact.truth, exact.scores.astype(np.float32), exact.classes)
    assert stored.scores.sum(axis=1) == pytest.approx(np.ones(exact.rows), abs=1e-15)
    assert measure("log_loss", stored).value == pytest.approx(measure("log_loss", exact).value, abs=1e-6)


ONE_CLASS = predictions_of("binary", np.zeros(3), np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]), (0, 1))


@pytest.mark.parametrize("name", ["roc_auc", "average_precision", "balanced_accuracy", "f1", "precision", "recall"])
def test_a_metric_that_compares_classes_needs_both(name: str) -> None:
    assert measure(name, ONE_CLASS) == (None, "no rows of class 1")


@pytest.mark.parametrize("name", ["log_loss", "brier", "accuracy"])
def test_a_mean_over_rows_stands_with_one_class(name: str) -> None:
    assert measure(name, ONE_CLASS).value is not None


def test_a_class_that_is_absent_from_the_rows_is_named() -> None:
    predictions = three_classes()
    part = predictions.take(predictions.truth != 2)
    assert measure("roc_auc", part) == (None, "no rows of class c")
    assert measure("log_loss", part).value == pytest.approx(sk.log_loss(part.truth, part.scores, labels=[0, 1, 2]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("predictions", [binary(10), three_classes(10), regression(10)])
def test_a_prediction_that_is_not_finite_leaves_no_metric_defined(predictions: Predictions, bad: float) -> None:
    scores = predictions.scores.copy()
    scores[3] = bad
    broken = predictions_of(predictions.task, predictions.truth, scores, predictions.classes)
    names = REGRESSION_METRICS if predictions.task == "regression" else CLASSIFICATION_METRICS
    for measured in measure_all(names, broken).values():
        assert measured == (None, "1 of 10 predictions are not finite")


@pytest.mark.parametrize("row", [[0.5, 0.6], [-0.5, 1.5], [0.0, 0.0]])
def test_what_is_no_probability_is_not_measured(row: list[float]) -> None:
    predictions = predictions_of("binary", np.array([0, 1]), np.array([[0.4, 0.6], row]), (0, 1))
    assert measure("log_loss", predictions) == (None, "1 of 2 rows of predicted probabilities do not add up to 1")


def test_no_rows_have_no_metric() -> None:
    assert measure("accuracy", binary().take(np.array([], dtype=int))) == (None, "no rows")


@pytest.mark.parametrize(("truth", "why"), [([5.0, 5.0, 5.0], "the target is constant"), ([5.0], "only one row")])
def test_r2_needs_a_target_that_varies(truth: list[float], why: str) -> None:
    predictions = predictions_of("regression", np.array(truth), np.full(len(truth), 4.0))
    assert measure("r2", predictions) == (None, why)
    assert measure("rmse", predictions).value == 1.0


def test_a_metric_too_large_for_a_number_is_undefined() -> None:
    predictions = predictions_of("regression", np.array([1.0, 2.0]), np.array([1e200, 2.0]))
    assert measure("rmse", predictions) == (None, "it is inf")


def test_a_constant_prediction_is_worth_as_much_as_a_coin() -> None:
    truth = np.array([0, 1, 0, 1, 1])
    predictions = predictions_of("binary", truth, np.tile([0.4, 0.6], (5, 1)), (0, 1))
    assert measure("roc_auc", predictions).value == 0.5


@pytest.mark.parametrize("name", [*CLASSIFICATION_METRICS, *REGRESSION_METRICS])
def test_gain_is_positive_where_the_challenger_is_better(name: str) -> None:
    assert gain(name, 0.2, 0.3) == pytest.approx(0.1 if name in LOSSES else -0.1)


@pytest.mark.parametrize(
    ("name", "predictions"), [("f1_macro", three_classes()), ("rmse", binary()), ("f1", regression())]
)
def test_a_metric_that_no_model_of_the_task_has_is_named_with_those_that_it_has(
    name: str, predictions: Predictions
) -> None:
    with pytest.raises(SpecError, match=f"no metric '{name}' for a {predictions.task} model.*expected .*(f1|mae)"):
        measure(name, predictions)
