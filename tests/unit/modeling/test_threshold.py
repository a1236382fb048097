from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_score, recall_score
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV

from airflow_mlops_provider.exceptions import ModelError
from airflow_mlops_provider.modeling.threshold import choose_threshold, threshold_of
from airflow_mlops_provider.spec.training import ThresholdRule


def scored(rows: int = 400, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    positive = generator.random(rows) < 0.3
    scores = np.clip(0.35 + 0.2 * positive + generator.normal(scale=0.15, size=rows), 0, 1)
    return positive, np.round(scores, 2)  # ties, as a tree's and an isotonic calibration's


def best(rule: dict[str, Any], positive: np.ndarray, scores: np.ndarray) -> float:
    """Return what the best of all thresholds reaches, tried one by one."""
    tried = [scores >= threshold for threshold in np.r_[np.unique(scores), 2.0]]
    if "cost" in rule:
        return min(cost_of(rule, positive, called) for called in tried)
    wanted = next(iter(rule.values()))
    measures = (recall_score, precision_score) if "recall" in rule else (precision_score, recall_score)
    reached = [called for called in tried if called.any() and measures[0](positive, called) >= wanted]
    return max(measures[1](positive, called) for called in reached)


def cost_of(rule: dict[str, Any], positive: np.ndarray, called: np.ndarray) -> float:
    costs = rule["cost"]
    wrongly, missed = (called & ~positive).sum(), (~called & positive).sum()
    return float(costs["false_positive"] * wrongly + costs["false_negative"] * missed)


@pytest.mark.parametrize(
    "rule",
    [
        *({"cost": {"false_positive": a, "false_negative": b}} for a, b in [(1, 1), (1, 100), (100, 1), (0.5, 2)]),
        *({"recall": share} for share in (0.1, 0.5, 0.8, 0.999)),
        *({"precision": share} for share in (0.3, 0.6, 0.75)),
    ],
    ids=str,
)
def test_no_threshold_does_better(rule: dict[str, Any]) -> None:
    positive, scores = scored()
    called = scores >= choose_threshold(ThresholdRule.model_validate(rule), positive, scores)

    if "cost" in rule:
        assert cost_of(rule, positive, called) == best(rule, positive, scores)
    elif "recall" in rule:
        assert recall_score(positive, called) >= rule["recall"]
        assert precision_score(positive, called) == pytest.approx(best(rule, positive, scores), abs=0.02)
    else:
        assert precision_score(positive, called) >= rule["precision"]
        assert recall_score(positive, called) == pytest.approx(best(rule, positive, scores))


def test_a_threshold_lies_between_two_scores() -> None:
    positive, scores = scored()
    for share in (0.2, 0.5, 0.9):
        threshold = choose_threshold(ThresholdRule(recall=share), positive, scores)
        assert np.abs(scores - threshold).min() > 1e-3


def test_a_precision_out_of_reach_is_refused() -> None:
    with pytest.raises(ModelError, match="no threshold reaches a precision of 0.9 on 4 validation rows"):
        choose_threshold(ThresholdRule(precision=0.9), np.array([True, False, True, False]), np.full(4, 0.5))


@pytest.mark.parametrize(
    ("settings", "honoured"),
    [({}, True), ({"response_method": "decision_function"}, False), ({"pos_label": 0}, False)],
    ids=str,
)
def test_a_threshold_that_a_candidate_brings_along_counts_when_it_is_of_the_positive_probability(
    settings: dict[str, Any], honoured: bool
) -> None:
    positive, scores = scored()
    fixed = FixedThresholdClassifier(LogisticRegression(), threshold=0.2, **settings)
    fixed.fit(scores[:, None], positive.astype(int))

    assert threshold_of(fixed) == (0.2 if honoured else None)


def test_a_tuned_threshold_counts_and_a_plain_model_has_none() -> None:
    positive, scores = scored()
    tuned = TunedThresholdClassifierCV(LogisticRegression(), cv=2).fit(scores[:, None], positive.astype(int))

    assert threshold_of(tuned) == tuned.best_threshold_
    assert threshold_of(LogisticRegression().fit(scores[:, None], positive)) is None
