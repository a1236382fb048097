"""The decision threshold of a binary model: from which probability on a row is called positive.

It is chosen on rows that the model was not fitted on, and lies within the model, as scikit-learn's
`FixedThresholdClassifier`: the digest covers it, and whoever loads the model anywhere has it. Costs are minimised as
they fall on those rows, which does not rely on the probabilities being right (Elkan 2001 gives the threshold
FP / (FP + FN) where they are).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_mlops_provider.modeling.splits import ClassLabel
    from airflow_mlops_provider.spec.training import ThresholdRule


def labels_of(scores: NDArray[Any], threshold: NDArray[Any] | float | None = None) -> NDArray[Any]:
    """Return the index of each row's predicted class.

    Without a threshold the most probable one, for two classes the positive above 0.5; with one, the positive from it
    on, as scikit-learn's threshold classifiers have it.

    >>> import numpy as np
    >>> scores = np.array([[0.8, 0.2], [0.6, 0.4]])
    >>> labels_of(scores).tolist(), labels_of(scores, 0.3).tolist()
    ([0, 0], [0, 1])

    :param scores: probabilities, rows x classes.
    :param threshold: one for all rows or one for each; of binary models only.
    """
    labels: NDArray[Any] = scores.argmax(axis=1) if threshold is None else (scores[:, 1] >= threshold).astype(int)
    return labels


def threshold_of(pipeline: Any) -> float | None:
    """Return the decision threshold that a fitted Pipeline holds, None when it decides by the largest probability.

    A `TunedThresholdClassifierCV` that a candidate names as its estimator counts as well; one that looks at something
    else than the positive class's probability does not.
    """
    from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV

    model = pipeline[-1] if hasattr(pipeline, "steps") else pipeline
    if not isinstance(model, (FixedThresholdClassifier, TunedThresholdClassifierCV)):
        return None
    value = model.best_threshold_ if isinstance(model, TunedThresholdClassifierCV) else model.threshold
    of_positive = getattr(model, "pos_label", None) in (None, model.classes_[1])
    if model.response_method == "decision_function" or not of_positive or isinstance(value, str):
        return None
    return float(value)


def with_threshold(model: Any, threshold: float, classes: list[ClassLabel]) -> Any:
    """Return a fitted model whose `predict` calls a row positive from `threshold` on."""
    import numpy as np
    from sklearn.frozen import FrozenEstimator
    from sklearn.model_selection import FixedThresholdClassifier

    fixed = FixedThresholdClassifier(
        FrozenEstimator(model), threshold=threshold, pos_label=classes[1], response_method="predict_proba"
    )
    # Nothing is fitted: the model is frozen. It only makes this one count as fitted.
    return fixed.fit(np.zeros((2, 1)), np.array(classes))


def choose_threshold(rule: ThresholdRule, positive: NDArray[Any], scores: NDArray[Any]) -> float:
    """Return the threshold that a rule asks for on some rows.

    `cost`: where the costs of the wrong predictions add up to the least. `recall`: the highest at which recall is
    reached, which is the most precise. `precision`: the lowest at which precision is reached, which finds the most.
    A threshold lies halfway between two scores, so that rounding does not move a row to the other side.

    :param positive: which rows are of the positive class, bool; at least one of either.
    :param scores: probability of the positive class.
    :raises ModelError: when no threshold reaches the precision.
    """
    import numpy as np

    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    ends = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    hits = np.cumsum(positive[order])[ends]
    called = ends + 1
    # The k-th threshold calls the rows of the k highest scores positive; the first calls none.
    bounds = np.r_[1.0 if ranked[0] < 1 else 1.5, ranked[ends], 0.0]
    halfway = (bounds[:-1] + bounds[1:]) / 2
    halfway[-1] = 0.0
    if rule.cost is not None:
        wrongly, missed = np.r_[0, called - hits], hits[-1] - np.r_[0, hits]
        return float(halfway[np.argmin(rule.cost.false_positive * wrongly + rule.cost.false_negative * missed)])
    if rule.recall is not None:
        return float(halfway[1:][np.argmax(hits >= rule.recall * hits[-1])])
    reached = np.flatnonzero(hits >= (rule.precision or 0.0) * called)
    if not reached.size:
        raise ModelError(
            f"no threshold reaches a precision of {rule.precision:g} on {len(scores)} validation rows",
            got=f"at most {float((hits / called).max()):.4g}",
            hint="Lower the precision in the candidate's threshold, or set a recall instead.",
        )
    return float(halfway[1:][reached[-1]])
