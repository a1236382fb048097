from __future__ import annotations

import numpy as np
import pytest

from airflow_mlops_provider.evaluation.metrics import Predictions, measure_all
from airflow_mlops_provider.evaluation.optimism import optimism_of
from airflow_mlops_provider.evaluation.report import CandidateScores, scores_of


def coins(seed: int, rows: int = 300, candidates: int = 8) -> dict[str, Predictions]:
    """Candidates that know nothing: each has a true roc_auc of 0.5."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(2, size=rows)
    scores = generator.random((candidates, rows))
    return {
        f"coin {number}": Predictions("binary", truth, np.column_stack([1 - one, one]), (0, 1))
        for number, one in enumerate(scores)
    }


def scored(predictions: dict[str, Predictions]) -> dict[str, CandidateScores]:
    return {
        name: CandidateScores(**scores_of(measure_all(["roc_auc", "log_loss"], one)).model_dump())
        for name, one in predictions.items()
    }


@pytest.mark.parametrize("metric", ["roc_auc", "log_loss"])
def test_it_is_what_the_best_of_many_coins_seems_to_know(metric: str) -> None:
    true, seeming, found = {"roc_auc": 0.5, "log_loss": 1.0}[metric], [], []
    for seed in range(12):
        predictions = coins(seed)
        scores = scored(predictions)
        best = max if metric == "roc_auc" else min
        winner = best(scores, key=lambda name: scores[name].metrics[metric] or 0.0)
        seeming.append(abs((scores[winner].metrics[metric] or 0.0) - true))
        one = optimism_of(metric, winner, scores, predictions, 100, seed)
        assert one is not None
        assert one.method == "bootstrap"
        assert one.value > 0
        found.append(one.value)
    # The bootstrap does not know that all are alike, so it tells some of it and not the whole.
    assert 0.4 * np.mean(seeming) < np.mean(found) < 1.3 * np.mean(seeming)


def test_of_folds_it_is_the_distance_from_the_best_of_each_fold() -> None:
    scores = {
        "steady": CandidateScores(metrics={"log_loss": 0.5}, folds={"log_loss": [0.5, 0.5]}),
        "moody": CandidateScores(metrics={"log_loss": 0.6}, folds={"log_loss": [0.4, 0.8]}),
    }
    found = optimism_of("log_loss", "steady", scores, {}, 50, 0)
    assert found is not None
    assert (found.method, found.candidates) == ("folds", 2)
    assert found.value == pytest.approx((0.1 + 0.0) / 2)


def test_a_winner_without_rivals_was_not_chosen() -> None:
    predictions = coins(0, candidates=1)
    assert optimism_of("roc_auc", "coin 0", scored(predictions), predictions, 20, 0) is None
