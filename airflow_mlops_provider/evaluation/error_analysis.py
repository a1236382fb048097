"""Measures where a model is wrong: which class it takes for which, or how far off it is and at which predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.evaluation.calibration import BINS, equal_parts
from airflow_mlops_provider.evaluation.error_report import LEVELS, Confusion, ResidualBin, Residuals
from airflow_mlops_provider.evaluation.metrics import broken

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.metrics import Predictions

#: Lines of a confusion matrix; a larger one is neither read nor stored.
MAX_CLASSES = 20
_HISTOGRAM_BINS = 40
#: Share of the rows beyond each end of the histogram, so that one outlier does not flatten the rest.
_TAIL = 0.005
#: The square of a larger number, summed over rows, may not be finite.
_LARGEST = 1e150


def measure_confusion(predictions: Predictions) -> Confusion | None:
    """Return the confusion matrix of a classifier; None for a regression, or unusable predictions."""
    import numpy as np

    if predictions.task == "regression" or broken(predictions) is not None:
        return None
    size = len(predictions.classes)
    pairs = predictions.truth * size + predictions.labels
    counts = np.bincount(pairs, minlength=size * size).reshape(size, size)
    names = [str(label) for label in predictions.classes]
    if size <= MAX_CLASSES:
        return Confusion(classes=names, counts=counts.tolist())
    # The most frequent keep their order; the others are one.
    largest = np.sort(np.argsort(-counts.sum(axis=1), kind="stable")[: MAX_CLASSES - 1])
    group = np.full(size, MAX_CLASSES - 1)
    group[largest] = np.arange(MAX_CLASSES - 1)
    folded = np.zeros((MAX_CLASSES, MAX_CLASSES), dtype=np.int64)
    np.add.at(folded, (group[:, None], group[None, :]), counts)
    others = size - len(largest)
    return Confusion(
        classes=[*(names[index] for index in largest), f"{others} others"], counts=folded.tolist(), others=others
    )


def measure_residuals(predictions: Predictions) -> Residuals | None:
    """Return the residuals of a regression; None for a classifier, or numbers that cannot be added up."""
    import numpy as np

    if predictions.task != "regression" or broken(predictions) is not None:
        return None
    if max(np.abs(predictions.scores).max(), np.abs(predictions.truth).max()) > _LARGEST:
        return None
    residuals = predictions.truth - predictions.scores
    edges = np.linspace(*_ends(residuals), _HISTOGRAM_BINS + 1)
    counts, _ = np.histogram(np.clip(residuals, edges[0], edges[-1]), edges)
    order = np.argsort(predictions.scores, kind="stable")
    return Residuals(
        mean=float(residuals.mean()),
        sd=float(residuals.std()),
        quantiles=_quantiles(residuals),
        edges=edges.tolist(),
        counts=counts.tolist(),
        bins=[_bin(predictions, residuals, part) for part in equal_parts(order, predictions.scores[order], BINS)],
    )


def _ends(residuals: NDArray[Any]) -> tuple[float, float]:
    import numpy as np

    low, high = (float(end) for end in np.quantile(residuals, [_TAIL, 1 - _TAIL]))
    room = max(abs(low), 1.0) * 1e-6
    return (low, high) if high - low > room else (low - room, high + room)


def _bin(predictions: Predictions, residuals: NDArray[Any], rows: NDArray[Any]) -> ResidualBin:
    return ResidualBin(
        predicted=float(predictions.scores[rows].mean()),
        observed=float(predictions.truth[rows].mean()),
        quantiles=_quantiles(residuals[rows]),
        rows=len(rows),
    )


def _quantiles(values: NDArray[Any]) -> list[float]:
    import numpy as np

    return [float(value) for value in np.quantile(values, LEVELS)]
