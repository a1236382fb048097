"""The metrics as functions of resample counts: what is sorted once is not sorted again for each resample.

Equal to `metrics.measure` of the repeated rows, which the tests hold to 1e-9; NaN where that is undefined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.evaluation.metrics import broken
from airflow_mlops_provider.evaluation.rankings import Ranked, average_precision, counted_along, roc_auc
from airflow_mlops_provider.evaluation.statistic import Statistic, function_of, mean_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.metrics import Predictions
    from airflow_mlops_provider.evaluation.resampling import Units
    from airflow_mlops_provider.evaluation.statistic import Counted


def statistics_of(names: Sequence[str], predictions: Predictions) -> dict[str, Statistic]:
    """Return metrics of one model as functions of counts; none when its predictions are unusable."""
    if broken(predictions) is not None:
        return {}
    bound = {} if predictions.own is None else predictions.own.bound
    known = _of_the_package([name for name in names if name not in bound], predictions)
    return {name: bound[name].statistic(predictions) if name in bound else known[name] for name in names}


def _of_the_package(names: Sequence[str], predictions: Predictions) -> dict[str, Statistic]:
    if predictions.task == "regression":
        return {name: _REGRESSION[name](predictions.truth, predictions.scores) for name in names}
    ranked = _ranked(predictions) if set(names) & set(_RANKING) else []
    return {name: _classification(name, predictions, ranked).as_bounded() for name in names}


# ---------------------------------------------------------------- classification


def _row_losses(name: str, predictions: Predictions) -> NDArray[Any]:
    """Return each row's share of a metric that is a mean over rows."""
    import numpy as np

    truth, scores = predictions.truth, predictions.scores
    if name == "accuracy":
        return np.asarray(predictions.labels == truth, dtype=np.float64)
    if name == "log_loss":
        tiny = np.finfo(np.float64).eps  # where scikit-learn clips
        return np.asarray(-np.log(np.clip(scores[np.arange(len(truth)), truth], tiny, 1 - tiny)))
    hits = np.eye(scores.shape[1])[truth]
    halves = 0.5 if scores.shape[1] == 2 else 1.0
    return np.asarray(halves * np.square(scores - hits).sum(axis=1))


def _classification(name: str, predictions: Predictions, ranked: list[Ranked]) -> Statistic:
    import numpy as np

    if name in ("log_loss", "brier", "accuracy"):
        return mean_of(_row_losses(name, predictions))
    if (one := _RANKING.get(name)) is None:
        return _confusion(name, predictions)

    def of_rows(counts: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.mean([one(ranks.reached(counts)) for ranks in ranked], axis=0))

    def of_units(units: Units) -> Counted:
        each = [ranks.wins(units) if name == "roc_auc" else ranks.precision(units) for ranks in ranked]
        return lambda counts: np.asarray(np.mean([counted(counts) for counted in each], axis=0))

    return Statistic(of_rows, of_units)


def _ranked(predictions: Predictions) -> list[Ranked]:
    """Return the ranking of the positive class of a binary task, else of each class against the rest."""
    size = len(predictions.classes)
    wanted = [1] if size == 2 else range(size)
    return [Ranked(predictions.truth == index, predictions.scores[:, index]) for index in wanted]


_RANKING = {"roc_auc": roc_auc, "average_precision": average_precision}


def _confusion(name: str, predictions: Predictions) -> Statistic:
    import numpy as np

    size = len(predictions.classes)
    cell = predictions.truth * size + predictions.labels

    def of_rows(counts: NDArray[Any]) -> NDArray[Any]:
        # One matrix product with a column a cell is as fast for two classes, and takes 64 numbers a row for eight.
        table = np.stack([np.bincount(cell, weights=line, minlength=size * size) for line in counts])
        return _CONFUSION[name](table.reshape(-1, size, size))

    def of_units(units: Units) -> Counted:
        cells = np.bincount(units.codes * size * size + cell, minlength=units.count * size * size)
        table = cells.reshape(units.count, size * size).astype(np.float64)
        return lambda counts: _CONFUSION[name]((counts @ table).reshape(-1, size, size))

    return Statistic(of_rows, of_units)


def _recalls(table: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return hits, true rows and predicted rows of each class; true rows are NaN where a class is absent."""
    import numpy as np

    hits, true, predicted = np.einsum("bii->bi", table), table.sum(axis=2), table.sum(axis=1)
    complete = (true > 0).all(axis=1, keepdims=True)
    return hits, np.where(complete, true, np.nan), predicted


def _of_task(values: NDArray[Any]) -> NDArray[Any]:
    """Return the positive class's value of a binary task, else the mean over classes."""
    import numpy as np

    return np.asarray(values[:, 1] if values.shape[1] == 2 else values.mean(axis=1))


def _balanced_accuracy(table: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    hits, true, _ = _recalls(table)
    return np.asarray((hits / true).mean(axis=1))


def _recall(table: NDArray[Any]) -> NDArray[Any]:
    hits, true, _ = _recalls(table)
    return _of_task(hits / true)


def _precision(table: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    hits, true, predicted = _recalls(table)
    return _of_task(hits / np.maximum(predicted, 1) + 0 * true)


def _f1(table: NDArray[Any]) -> NDArray[Any]:
    hits, true, predicted = _recalls(table)
    return _of_task(2 * hits / (true + predicted))


_CONFUSION: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "balanced_accuracy": _balanced_accuracy,
    "recall": _recall,
    "precision": _precision,
    "f1": _f1,
}


# ---------------------------------------------------------------- regression


def _rmse(truth: NDArray[Any], predicted: NDArray[Any]) -> Statistic:
    import numpy as np

    return function_of([mean_of(np.square(truth - predicted))], np.sqrt)


def _mae(truth: NDArray[Any], predicted: NDArray[Any]) -> Statistic:
    import numpy as np

    return mean_of(np.abs(truth - predicted))


def _r2(truth: NDArray[Any], predicted: NDArray[Any]) -> Statistic:
    import numpy as np

    centred = truth - truth.mean()

    def score(residual: NDArray[Any], first: NDArray[Any], square: NDArray[Any]) -> NDArray[Any]:
        variance = square - np.square(first)
        # All resampled rows may have one target value: what is left of the variance is then rounding.
        return np.asarray(1 - residual / np.where(variance > 1e-12 * square, variance, np.nan))

    return function_of([mean_of(each) for each in (np.square(truth - predicted), centred, np.square(centred))], score)


def _median_absolute_error(truth: NDArray[Any], predicted: NDArray[Any]) -> Statistic:
    import numpy as np

    errors = np.abs(truth - predicted)
    order = np.argsort(errors, kind="stable")
    ranked = errors[order]

    def median(counts: NDArray[Any]) -> NDArray[Any]:
        reached = counted_along(counts, order)[:, 1:]
        rows = reached[:, -1:]  # of a resample: groups are not all of one size
        lower = (reached < (rows + 1) // 2).sum(axis=1)
        upper = (reached < rows // 2 + 1).sum(axis=1)
        return np.asarray((ranked[lower] + ranked[upper]) / 2)

    return Statistic(median)


def _max_error(truth: NDArray[Any], predicted: NDArray[Any]) -> Statistic:
    """The largest error drawn. A bootstrap of a maximum is biased downwards (Efron & Tibshirani 1993, sec. 7.4)."""
    import numpy as np

    errors = np.abs(truth - predicted)
    return Statistic(lambda counts: np.asarray(np.where(counts > 0, errors, 0.0).max(axis=1)))


_REGRESSION: dict[str, Callable[[NDArray[Any], NDArray[Any]], Statistic]] = {
    "rmse": _rmse,
    "mae": _mae,
    "r2": _r2,
    "median_absolute_error": _median_absolute_error,
    "max_error": _max_error,
}
