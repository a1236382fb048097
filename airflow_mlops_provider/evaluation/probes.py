"""What is measured on the winner itself: importance of columns, the look of its predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.evaluation.metrics import gain, measure, predictions_of
from airflow_mlops_provider.evaluation.probe_report import ImportanceOf, Importances, PredictionStats
from airflow_mlops_provider.exceptions import ModelError
from airflow_mlops_provider.modeling.predictions import one_thread, predict

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.metrics import Predictions
    from airflow_mlops_provider.spec.evaluation import Importance


def measure_importance(
    pipeline: Any, frame: pd.DataFrame, sample: Predictions, metric: str, settings: Importance, seed: int
) -> Importances:
    """Shuffle each raw column in turn and see what the metric loses (Breiman 2001).

    :param sample: the truth of the frame's rows, with the winner's stored predictions.
    """
    import numpy as np
    from sklearn.inspection import permutation_importance

    def score(model: Any, shuffled: pd.DataFrame, truth: NDArray[Any]) -> float:
        scores = predict(model, shuffled, sample.task)
        predictions = predictions_of(sample.task, truth, scores, sample.classes, sample.threshold, own=sample.own)
        value = measure(metric, predictions).value
        return float("nan") if value is None else gain(metric, value, 0.0)

    outcome = Importances(metric=metric, rows=len(frame), repeats=settings.repeats)
    if (why := measure(metric, sample).why) is not None:
        return outcome.model_copy(update={"why": f"{metric} is undefined on the sample: {why}"})
    try:
        with one_thread():
            found = permutation_importance(
                pipeline, frame, sample.truth, scoring=score, n_repeats=settings.repeats, random_state=seed
            )
    except ModelError as error:
        return outcome.model_copy(update={"why": str(error)})
    if not np.isfinite(found.importances).all():
        return outcome.model_copy(update={"why": f"{metric} is undefined when a column is shuffled"})
    columns = {
        str(name): ImportanceOf(mean=float(mean), sd=float(sd))
        for name, mean, sd in zip(frame.columns, found.importances_mean, found.importances_std, strict=True)
    }
    return outcome.model_copy(update={"columns": columns})


def prediction_stats(predictions: Predictions, training_target: NDArray[Any]) -> PredictionStats:
    """Compare predictions with the target of the training rows, and with the truth of the held-out ones.

    Where time changes the target, a good model follows it: what it predicts lies between what trained and what was
    held out. So that part of the distance counts which lies outside of both.
    """
    import numpy as np

    finite = np.isfinite(predictions.scores.reshape(predictions.rows, -1)).all(axis=1)
    nulls = int((~finite).sum())
    if not finite.any():
        return PredictionStats(rows=predictions.rows, nulls=nulls, why="no prediction is finite")
    usable = predictions.take(finite)
    described = _numbers if predictions.task == "regression" else _classes
    return PredictionStats(rows=predictions.rows, nulls=nulls, **described(usable, training_target))


def _classes(predictions: Predictions, training_target: NDArray[Any]) -> dict[str, Any]:
    import numpy as np

    size = len(predictions.classes)
    shares = np.bincount(predictions.labels, minlength=size) / predictions.rows
    expected = predictions.scores.mean(axis=0)
    target = np.bincount(training_target, minlength=size) / len(training_target)

    held_out = np.bincount(predictions.truth, minlength=size) / predictions.rows

    def named(values: NDArray[Any]) -> dict[str, float]:
        return {str(label): float(value) for label, value in zip(predictions.classes, values, strict=True)}

    return {
        "shares": named(shares),
        "expected_shares": named(expected),
        "target_shares": named(target),
        "held_out_shares": named(held_out),
        "shift": float(np.abs(expected - target).sum() / 2),
        "target_shift": float(np.abs(held_out - target).sum() / 2),
        "unexplained_shift": float(_outside(expected, target, held_out).sum() / 2),
    }


def _numbers(predictions: Predictions, training_target: NDArray[Any]) -> dict[str, Any]:
    import numpy as np
    from scipy.stats import wasserstein_distance

    with np.errstate(over="ignore", invalid="ignore"):
        values = {
            "mean": float(predictions.scores.mean()),
            "sd": float(predictions.scores.std()),
            "target_mean": float(training_target.mean()),
            "target_sd": float(training_target.std()),
        }
        distances = {
            "shift": float(wasserstein_distance(predictions.scores, training_target)),
            "target_shift": float(wasserstein_distance(predictions.truth, training_target)),
            "unexplained_shift": _distance_outside(predictions.scores, training_target, predictions.truth),
        }
    if values["target_sd"] == 0:
        return values | {"why": "the training target is constant"}
    shifts = {name: distance / values["target_sd"] for name, distance in distances.items()}
    finite: dict[str, Any] = {name: value if np.isfinite(value) else None for name, value in values.items()}
    if not np.isfinite(list(shifts.values())).all():
        return finite | {"why": "the predictions are too large to compare"}
    return finite | shifts


def _distance_outside(values: NDArray[Any], one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return how far a sample lies outside of what lies between two others.

    The Wasserstein distance in one dimension is the area between two distribution functions (Vallender 1974). This is
    the area between that of `values` and the band between those of the others; with two equal ones it is the distance.

    >>> import numpy as np
    >>> _distance_outside(np.array([4.0]), np.array([0.0]), np.array([3.0]))
    1.0
    """
    import numpy as np

    samples = [np.sort(sample) for sample in (values, one, other)]
    points = np.sort(np.concatenate(samples))
    heights = (np.searchsorted(sample, points[:-1], side="right") / len(sample) for sample in samples)
    return float((_outside(*heights) * np.diff(points)).sum())


def _outside(values: NDArray[Any], one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    """Return how far each value lies outside of the interval between two others."""
    import numpy as np

    beyond: NDArray[Any] = np.abs(values - np.clip(values, np.minimum(one, other), np.maximum(one, other)))
    return beyond
