"""What of a judged model is kept when its candidate is fitted anew on more rows.

What was settled on rows that the candidate was not fitted on is copied, for fitted on all rows it leaves none to settle
it on: how many rounds a boosting goes before it stops, how probabilities are calibrated, and the decision threshold.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_mlops_provider.modeling.threshold import threshold_of, with_threshold

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_mlops_provider.modeling.splits import ClassLabel
    from airflow_mlops_provider.spec import Candidate


class Layers(NamedTuple):
    """A judged model, taken apart.

    :param base: the estimator of the candidate, fitted.
    :param calibrated: what calibrates it; None when the candidate does not ask for it.
    :param threshold: what the candidate asks for; None when it asks for none.
    """

    base: Any
    calibrated: Any
    threshold: float | None


def layers_of(judged: Any, candidate: Candidate) -> Layers:
    """Take a stored Pipeline apart, as `calibration.settle` put it together.

    A calibration or a threshold that the candidate names as its estimator is part of the base, and fitted anew.
    """
    model = judged.named_steps["model"]
    threshold = calibrated = None
    if candidate.threshold is not None:
        threshold, model = threshold_of(judged), model.estimator.estimator
    if candidate.calibrate is not None:
        calibrated, model = model, model.estimator.estimator
    return Layers(model, calibrated, threshold)


def keep_rounds(model: Any, judged: Any) -> None:
    """Let an unfitted boosting go as many rounds as the judged one, if that one stopped by rows set aside.

    Fitted on all rows, it would else set some aside once more, and stop by other ones.
    """
    if getattr(judged, "do_early_stopping_", False):  # HistGradientBoosting
        model.set_params(early_stopping=False, max_iter=int(judged.n_iter_))
    elif getattr(judged, "n_iter_no_change", None) is not None and hasattr(judged, "n_estimators_"):
        model.set_params(n_iter_no_change=None, n_estimators=int(judged.n_estimators_))


def resettled(pipeline: Any, layers: Layers, classes: list[ClassLabel]) -> Any:
    """Return a fitted Pipeline under the calibration and the threshold of the judged model."""
    from sklearn.frozen import FrozenEstimator
    from sklearn.pipeline import Pipeline

    model = pipeline.named_steps["model"]
    if layers.calibrated is not None:
        frozen = FrozenEstimator(model)
        calibrated = copy.copy(layers.calibrated)
        [judged] = layers.calibrated.calibrated_classifiers_
        one = copy.copy(judged)
        one.estimator = calibrated.estimator = frozen
        calibrated.calibrated_classifiers_ = [one]
        calibrated.n_features_in_ = model.n_features_in_
        model = calibrated
    if layers.threshold is not None:
        model = with_threshold(model, layers.threshold, classes)
    return Pipeline([("preprocess", pipeline.named_steps["preprocess"]), ("model", model)])


def moved(judged: NDArray[Any], refitted: NDArray[Any]) -> NDArray[Any]:
    """Return how far apart two predictions of each row are.

    The total variation distance of the probabilities, from 0 to 1, which for two classes is that of either of them; for
    a regression the difference, in units of the target.

    >>> import numpy as np
    >>> moved(np.array([[0.8, 0.2]]), np.array([[0.7, 0.3]])).round(2).tolist()
    [0.1]

    :param judged: `(n,)` numbers, or `(n, classes)` probabilities.
    """
    import numpy as np

    apart: NDArray[Any] = np.abs(judged - refitted)
    return apart if apart.ndim == 1 else apart.sum(axis=1) / 2
