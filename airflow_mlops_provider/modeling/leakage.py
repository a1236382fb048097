"""How well one feature alone tells the target: what tells it perfectly was not known beforehand.

Measured on a bounded sample, the same for the same rows. A number is ranked; a category (or a number of few
values) stands for the rate of the target among half of the sample, and is scored on the other half, so that a
category of one row tells nothing.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Rows that the association is measured on.
SAMPLE_ROWS = 20_000
#: A number of at most this many values is looked at as a category, too.
_FEW_VALUES = 50
_TWO_CLASSES = 2
#: Classes that are compared pair by pair.
_MAX_PAIRED = 5
#: A feature can identify a class of fewer rows by chance.
_MIN_CLASS_ROWS = 10
_MAX_CLASSES = 20


def sample_rows(rows: int, most: int = SAMPLE_ROWS) -> NDArray[np.int64]:
    """Return the positions of the sample: evenly spaced, so spread over time where the table is sorted by it."""
    import numpy as np

    if rows <= most:
        return np.arange(rows)
    return np.linspace(0, rows - 1, most).astype(np.int64)


def association_of_numbers(values: NDArray[np.float64], target: NDArray[np.float64], *, classes: int) -> float:
    """Return how well a number tells the target, from 0.5 (AUC) or 0 (|Spearman|) to 1.

    Of several classes it has to tell each from each: many an honest feature sets one of them apart.

    :param target: class indices for `classes` > 0, else the numbers of a regression.
    """
    import numpy as np

    missing = np.isnan(values)
    known = values[~missing]
    found = [strength_of(known, target[~missing], classes)] if known.size else []
    if missing.any():
        found.append(strength_of(missing.astype(np.float64), target, classes))
    distinct, codes = np.unique(known, return_inverse=True)
    if 2 < distinct.size <= _FEW_VALUES:
        found.append(association_of_categories(codes, target[~missing], classes=classes))
    return max(found, default=0.0)


def association_of_categories(codes: NDArray[np.integer], target: NDArray[np.float64], *, classes: int) -> float:
    """Return how well a category tells the target; see `association_of_numbers`.

    :param codes: one integer a category; negative for a missing one, which is a category as well.
    """
    import numpy as np

    codes = np.where(codes < 0, codes.max(initial=0) + 1, codes)
    size = int(codes.max(initial=0)) + 1
    learn = np.random.default_rng(0).random(codes.size) < 0.5  # every other row would follow a rhythm in the data
    score = ~learn
    counts = np.bincount(codes[learn], minlength=size)
    found = []
    for truth in _truths(target, classes):
        sums = np.bincount(codes[learn], weights=truth[learn], minlength=size)
        prior = truth[learn].mean() if learn.any() else 0.0
        rates = np.where(counts > 0, sums / np.maximum(counts, 1), prior)
        held = truth[score]
        found.append(strength_of(rates[codes[score]], held, _TWO_CLASSES if classes else 0))
    return min((strength for strength in found if strength > 0), default=0.0)


def _pairwise_strength(values: NDArray[np.float64], target: NDArray[np.float64], classes: int) -> float:
    """Return the weakest AUC between two of the commonest classes, in either direction (Hand & Till 2001)."""
    import numpy as np

    labels = target.astype(np.int64)
    common = np.argsort(-np.bincount(labels, minlength=classes), kind="stable")[:_MAX_PAIRED]
    found = []
    for one, other in combinations(common.tolist(), 2):
        either = (labels == one) | (labels == other)
        found.append(_best_auc(_ranks(values[either]), (labels[either] == one).astype(np.float64), _TWO_CLASSES))
    return min((strength for strength in found if strength > 0), default=0.0)


def _truths(target: NDArray[np.float64], classes: int) -> list[NDArray[np.float64]]:
    """Return the target itself, or one column of 0 and 1 for each of the commonest classes."""
    import numpy as np

    if not classes:
        return [target]
    counts = np.bincount(target.astype(np.int64), minlength=classes)
    common = np.argsort(-counts, kind="stable")[: 1 if classes == _TWO_CLASSES else _MAX_CLASSES]
    return [(target == label).astype(np.float64) for label in common]


def strength_of(values: NDArray[np.float64], target: NDArray[np.float64], classes: int) -> float:
    """Return the AUC in either direction, or |Spearman's rho|; 0 when neither is defined."""
    if classes > _TWO_CLASSES:
        return _pairwise_strength(values, target, classes)
    return _best_auc(_ranks(values), target, classes) if classes else _spearman(values, target)


def _best_auc(ranks: NDArray[np.float64], target: NDArray[np.float64], classes: int) -> float:
    """Return max(AUC, 1 - AUC) over classes: the Mann-Whitney U statistic over its maximum."""
    import numpy as np

    labels = target.astype(np.int64)
    inside = np.bincount(labels, minlength=classes).astype(np.float64)
    outside = labels.size - inside
    enough = (inside >= _MIN_CLASS_ROWS) & (outside >= _MIN_CLASS_ROWS)
    if not enough.any():
        return 0.0
    sums = np.bincount(labels, weights=ranks, minlength=classes)[enough]
    inside, outside = inside[enough], outside[enough]
    auc = (sums - inside * (inside + 1) / 2) / (inside * outside)
    return float(np.maximum(auc, 1 - auc).max())


def _spearman(values: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    import numpy as np

    if values.size < _MIN_CLASS_ROWS:
        return 0.0
    left, right = _ranks(values), _ranks(target)
    if left.std() == 0 or right.std() == 0:
        return 0.0
    return float(abs(np.corrcoef(left, right)[0, 1]))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ranks from 1, ties averaged."""
    import numpy as np

    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    average: NDArray[np.float64] = (last - (counts - 1) / 2)[inverse]
    return average
