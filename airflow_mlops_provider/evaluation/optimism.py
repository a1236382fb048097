"""By how much the best of several candidates looks too good on the rows that chose it.

The expected value of a maximum is above the maximum of the expected values. Of one holdout the bias is estimated by the
bootstrap's plug-in principle (Efron & Tibshirani 1993, ch. 10): choose the best on each resample, and see how much
better it is there than on all held-out rows. Of folds it is the estimate of Tibshirani & Tibshirani (2009): how much
better the best of each fold is in its fold than the winner of all folds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.evaluation.bootstrap import resample
from airflow_mlops_provider.evaluation.metrics import gain
from airflow_mlops_provider.evaluation.report import Optimism
from airflow_mlops_provider.evaluation.resampled_metrics import statistics_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_mlops_provider.evaluation.metrics import Predictions
    from airflow_mlops_provider.evaluation.report import CandidateScores

#: The others are chosen on hardly any resample.
_MOST = 10


def optimism_of(
    metric: str,
    winner: str,
    scores: Mapping[str, CandidateScores],
    predictions: Mapping[str, Predictions],
    resamples: int,
    seed: int,
) -> Optimism | None:
    """Return how much too good the winner looks in a metric; None without another candidate, or a defined value.

    :param predictions: each candidate's predictions for the held-out rows.
    """
    points = {name: one.metrics[metric] for name, one in scores.items()}
    gains = {name: gain(metric, value, 0.0) for name, value in points.items() if value is not None}
    if winner not in gains or len(gains) < 2:
        return None
    best = sorted(gains, key=lambda name: -gains[name])[:_MOST]
    folds = {name: scores[name].folds.get(metric, []) for name in best}
    by_folds = any(folds.values())
    if by_folds:
        value = _of_folds(metric, winner, folds)
    else:
        value = _of_resamples(metric, {name: predictions[name] for name in best}, gains, resamples, seed)
    if value is None:
        return None
    return Optimism(metric=metric, value=value, method="folds" if by_folds else "bootstrap", candidates=len(gains))


def _of_folds(metric: str, winner: str, folds: Mapping[str, list[float | None]]) -> float | None:
    gaps = []
    for at, own in enumerate(folds[winner]):
        there = [gain(metric, value, 0.0) for line in folds.values() if (value := line[at]) is not None]
        if own is not None:
            gaps.append(max(there) - gain(metric, own, 0.0))
    return sum(gaps) / len(gaps) if gaps else None


def _of_resamples(
    metric: str, predictions: Mapping[str, Predictions], gains: Mapping[str, float], resamples: int, seed: int
) -> float | None:
    import numpy as np

    statistics = {name: statistics_of([metric], one)[metric] for name, one in predictions.items()}
    first = next(iter(predictions.values()))
    drawn = resample(statistics, first.drawn, resamples, seed)
    table = np.stack([one.values for one in drawn.values()]) * gain(metric, 1.0, 0.0)
    table = table[:, np.isfinite(table).all(axis=0)]
    if not table.shape[1]:
        return None
    chosen = table.argmax(axis=0)
    known = np.array([gains[str(name)] for name in drawn])
    # Where one candidate is chosen on every resample there is no bias, and what is left is the resamples' own noise.
    return max(0.0, float((table.max(axis=0) - known[chosen]).mean()))
