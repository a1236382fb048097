"""How far predicted probabilities lie from what happens: the calibration curve and its mean error.

The expected calibration error is the mean distance between predicted and observed, weighed by rows, over bins of the
prediction (Naeini, Cooper & Hauskrecht 2015). The bins hold equally many rows each: those of equal width leave most
rows of a rare class in one bin, and their error is the more biased (Nixon et al. 2019; Roelofs et al. 2022). Of two
classes it is the positive one's probability that is binned; of more the largest one, against how often it is right
(Guo et al. 2017).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.evaluation.metrics import broken
from airflow_mlops_provider.evaluation.report import Calibration, CalibrationBin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.metrics import Predictions

#: As many as Guo et al. 2017 take.
BINS = 15
#: Rows that a bin has at least: the observed share of fewer is mostly chance, and would count as an error.
MIN_BIN_ROWS = 20


def measure_calibration(predictions: Predictions) -> Calibration | None:
    """Return the calibration curve of a classifier and its error; None for a regression, or unusable predictions."""
    import numpy as np

    if predictions.task == "regression" or broken(predictions) is not None:
        return None
    predicted, happened = _subject(predictions)
    order = np.argsort(predicted, kind="stable")
    bins = [_bin(predicted[part], happened[part]) for part in equal_parts(order, predicted[order], BINS)]
    error = sum(one.rows * abs(one.predicted - one.observed) for one in bins) / len(order)
    return Calibration(error=error, bins=bins)


def _subject(predictions: Predictions) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the probabilities that are binned, and whether what they are of happened."""
    if len(predictions.classes) == 2:
        return predictions.scores[:, 1], predictions.truth == 1
    # Not the predicted class: which is predicted may depend on a threshold, calibration does not.
    most = predictions.scores.argmax(axis=1)
    return predictions.scores.max(axis=1), predictions.truth == most


def equal_parts(order: NDArray[Any], ranked: NDArray[Any], parts: int) -> list[NDArray[Any]]:
    """Divide rows into parts of about equally many, each of `MIN_BIN_ROWS` at least.

    Rows of equal value stay together: which of them comes first is chance.

    :param order: the rows, sorted by a value.
    :param ranked: that value, ascending.
    """
    import numpy as np

    rows = len(ranked)
    count = max(1, min(parts, rows // MIN_BIN_ROWS))
    cuts = np.searchsorted(ranked, ranked[rows * np.arange(1, count) // count], side="left")
    return np.split(order, np.unique(cuts[cuts > 0]))


def _bin(predicted: NDArray[Any], happened: NDArray[Any]) -> CalibrationBin:
    return CalibrationBin(predicted=float(predicted.mean()), observed=float(happened.mean()), rows=len(predicted))
