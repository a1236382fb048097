"""What a metric is without labels, estimated from calibrated probabilities: CBPE, and its interval.

Confidence-based performance estimation (NannyML's documentation, "Confidence-based Performance Estimation"; Białek,
Kuberski, Perrakis & Bifet 2024, "Estimating Model Performance Under Covariate Shift Without Labels", arXiv:2401.08348):
where a calibrated probability is right, it says what share of such rows is of the class. So each row counts once for
each class, weighed by that class's calibrated probability, and the metric of those weighed rows is its expectation.

The interval is one of prediction, for the metric that the labels will give. Its variance adds up two:

- chance: labels are drawn from the calibrated probabilities, and the metric of each draw is taken;
- the estimate's own error: the held-out rows are cut into blocks in their order, which is by time where there is one.
  Each is estimated by a calibration on rows far from it, and compared with its labels. What the mean square of these
  errors exceeds chance by is systematic: storms, strikes, whatever moves the rows of one time together and stands in
  no feature. It is taken for no less than what the calibration owes to the rows that it happened to be fitted on, by
  resampling them: of few held-out rows the blocks say little.

Both are taken as normal, by Student's t for as many degrees of freedom as there are parts that a calibration is fitted
without: neighbouring blocks move together, so their number says too much. Nothing of that bounds a change of the
concept that is larger than those within the holdout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.evaluation.metrics import predictions_of
from airflow_mlops_provider.evaluation.resampled_metrics import statistics_of
from airflow_mlops_provider.monitoring.estimate_report import Estimate
from airflow_mlops_provider.spec.metrics import less_is_better

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from airflow_mlops_provider.spec.frozen import Task

#: Draws of the labels, of a window and of a block: the error of a standard deviation is 7 % and 16 %.
DRAWS, BLOCK_DRAWS = 100, 20
#: Resamples of the held-out rows, on each of which a calibration is fitted.
RESAMPLES = 20
#: Rows of a window that are estimated from: chance is then half a percentage point, far below the estimate's own error.
MAX_ROWS = 20_000
#: Rows of a block at least, or its metric is mostly chance; blocks at least, or their errors say little.
MIN_BLOCK_ROWS, MIN_BLOCKS = 50, 20
#: Parts of the held-out rows of which each is estimated by a calibration on the others.
_PARTS = 5
#: Counts held at once, as the bootstrap has it.
_CHUNK = 1_000_000


@dataclass(frozen=True)
class Unlabelled:
    """Rows that a model predicted.

    :param scores: its probabilities, rows x classes.
    :param threshold: its decision threshold.
    """

    task: Task
    classes: tuple[Any, ...]
    scores: NDArray[Any]
    threshold: float | None = None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.scores)

    def take(self, rows: NDArray[Any]) -> Unlabelled:
        """Return some of the rows."""
        return Unlabelled(self.task, self.classes, self.scores[rows], self.threshold)


def evenly(unlabelled: Unlabelled) -> Unlabelled:
    """Return at most `MAX_ROWS` of the rows, evenly spread."""
    import numpy as np

    size = min(unlabelled.rows, MAX_ROWS)
    return (
        unlabelled
        if size == unlabelled.rows
        else unlabelled.take(np.arange(size, dtype=np.int64) * unlabelled.rows // size)
    )


class Outcomes:
    """Metrics of some rows for any labels: each row stands there once for each class, and labels are weights."""

    def __init__(self, names: Sequence[str], unlabelled: Unlabelled) -> None:
        import numpy as np

        size = unlabelled.scores.shape[1]
        every = np.tile(np.arange(size), unlabelled.rows)
        outcomes_of_each = predictions_of(
            unlabelled.task, every, np.repeat(unlabelled.scores, size, axis=0), unlabelled.classes, unlabelled.threshold
        )
        self._shape = unlabelled.scores.shape
        self._statistics = statistics_of(names, outcomes_of_each)

    def expected(self, weights: NDArray[Any]) -> dict[str, float]:
        """Return each metric of rows weighed by class; NaN where it is undefined.

        :param weights: rows x classes, each row adding up to 1.
        """
        return {name: float(values[0]) for name, values in self._measured(weights.reshape(1, -1)).items()}

    def spread(self, weights: Sequence[NDArray[Any]]) -> dict[str, float]:
        """Return the standard deviation of each metric over several weighings."""
        import numpy as np

        together = np.stack([one.reshape(-1) for one in weights])
        return {name: _spread(values) for name, values in self._measured(together).items()}

    def realised(self, truth: NDArray[Any]) -> dict[str, float]:
        """Return each metric for these labels, as indexes of the classes."""
        import numpy as np

        return self.expected(np.eye(self._shape[1])[truth])

    def deviation(self, weights: NDArray[Any], draws: int, seed: int) -> dict[str, float]:
        """Return the standard deviation of each metric over labels drawn by their weights."""
        import numpy as np

        generator = np.random.default_rng(seed)
        bounds = weights.cumsum(axis=1)[:, :-1]
        found: dict[str, list[NDArray[Any]]] = {}
        size = max(1, _CHUNK // (weights.size or 1))
        for start in range(0, draws, size):
            uniform = generator.random((min(size, draws - start), len(weights), 1))
            labels = (uniform >= bounds).sum(axis=2)
            counts = (labels[:, :, None] == np.arange(self._shape[1])).reshape(len(labels), -1)
            for name, values in self._measured(counts.astype(np.float64)).items():
                found.setdefault(name, []).append(values)
        return {name: _spread(np.concatenate(values)) for name, values in found.items()}

    def _measured(self, counts: NDArray[Any]) -> dict[str, NDArray[Any]]:
        import numpy as np

        with np.errstate(divide="ignore", invalid="ignore"):
            return {name: statistic(counts) for name, statistic in self._statistics.items()}


class Calibrator:
    """Calibrated probabilities from a model's own: isotonic, each class against the rest, made to add up to 1."""

    def __init__(self, scores: NDArray[Any], truth: NDArray[Any]) -> None:
        from sklearn.isotonic import IsotonicRegression

        size = scores.shape[1]
        # Of two classes the second one's says all.
        self._classes = [1] if size == 2 else list(range(size))
        self._curves = [
            IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(scores[:, index], truth == index)
            for index in self._classes
        ]

    def __call__(self, scores: NDArray[Any]) -> NDArray[Any]:
        """Return calibrated probabilities, rows x classes."""
        import numpy as np

        found = np.column_stack(
            [curve.predict(scores[:, index]) for index, curve in zip(self._classes, self._curves, strict=True)]
        )
        if scores.shape[1] == 2:
            return np.column_stack([1 - found[:, 0], found[:, 0]])
        total = found.sum(axis=1, keepdims=True)
        shares: NDArray[Any] = np.divide(found, total, out=np.full_like(found, 1 / found.shape[1]), where=total > 0)
        return shares


@dataclass(frozen=True)
class Reference:
    """The champion's predictions for held-out rows, in their order, and the rows' true classes.

    :param truth: indexes of the classes.
    :param holdout_rows: held-out rows that these are a sample of.
    """

    unlabelled: Unlabelled
    truth: NDArray[Any]
    holdout_rows: int

    @cached_property
    def calibrator(self) -> Calibrator:
        """The calibration on all of them."""
        return Calibrator(self.unlabelled.scores, self.truth)

    def resampled(self, seed: int) -> Iterator[Calibrator]:
        """Yield calibrations on resamples of the rows."""
        import numpy as np

        generator = np.random.default_rng(seed)
        for _ in range(RESAMPLES):
            rows = generator.integers(self.unlabelled.rows, size=self.unlabelled.rows)
            yield Calibrator(self.unlabelled.scores[rows], self.truth[rows])

    def blocks_for(self, rows: int) -> int:
        """Return into how many blocks they are cut for windows of so many rows.

        As many rows as the window has, where there are enough of them: what moves together within a week averages out
        over a month. Blocks that are shorter than the window make the interval too wide, never too narrow.
        """
        wanted = max(MIN_BLOCKS, round(self.holdout_rows / max(rows, 1)))
        return max(1, min(wanted, self.unlabelled.rows // MIN_BLOCK_ROWS))

    def error(self, names: Sequence[str], blocks: int, seed: int) -> dict[str, tuple[float, int]]:
        """Return the standard deviation of the estimate's own error, by metric, and on how many blocks it was seen."""
        import numpy as np

        number = np.arange(self.unlabelled.rows) * blocks // self.unlabelled.rows
        parts = min(_PARTS, blocks)
        squares: dict[str, list[float]] = {name: [] for name in names}
        for part in range(parts):
            own = number * parts // blocks == part
            known = ~own if parts > 1 else own
            calibrated = Calibrator(self.unlabelled.scores[known], self.truth[known])
            for block in np.unique(number[own]):
                for name, square in self._beyond_chance(names, number == block, calibrated, seed + int(block)).items():
                    squares[name].append(square)
        defined = {name: np.array([one for one in values if math.isfinite(one)]) for name, values in squares.items()}
        return {
            name: (math.sqrt(max(0.0, float(values.mean()))) if len(values) else math.nan, len(values))
            for name, values in defined.items()
        }

    def _beyond_chance(
        self, names: Sequence[str], rows: NDArray[Any], calibrated: Calibrator, seed: int
    ) -> dict[str, float]:
        unlabelled = self.unlabelled.take(rows)
        outcomes, weights = Outcomes(names, unlabelled), calibrated(unlabelled.scores)
        estimated, realised = outcomes.expected(weights), outcomes.realised(self.truth[rows])
        chance = outcomes.deviation(weights, BLOCK_DRAWS, seed)
        return {name: (realised[name] - estimated[name]) ** 2 - chance[name] ** 2 for name in names}


def estimate(
    names: Sequence[str],
    window: Unlabelled,
    reference: Reference,
    *,
    confidence: float,
    rows: int,
    holdout: Mapping[str, float | None],
    seed: int,
) -> dict[str, Estimate]:
    """Return what each metric of a window is, before its labels are there.

    :param confidence: of the two-sided interval.
    :param rows: rows of the window, of which `window` may be a sample.
    :param holdout: what was measured on the holdout.
    """
    weights = reference.calibrator(window.scores)
    outcomes = Outcomes(names, window)
    values, chance = outcomes.expected(weights), outcomes.deviation(weights, DRAWS, seed)
    errors = reference.error(names, reference.blocks_for(rows), seed)
    least = outcomes.spread([calibrated(window.scores) for calibrated in reference.resampled(seed)])
    found = {}
    for name in names:
        seen, blocks = errors[name]
        error = max(seen, least[name])
        found[name] = _estimate(name, values[name], chance[name], error, blocks, confidence, holdout.get(name))
    return found


def _estimate(
    name: str, value: float, chance: float, error: float, blocks: int, confidence: float, holdout: float | None
) -> Estimate:
    from scipy.stats import t

    if not math.isfinite(value):
        return Estimate(value=None, confidence=confidence, holdout=holdout, why="it is undefined on these rows")
    if not math.isfinite(chance + error):
        why = "it is undefined on blocks of the held-out rows"
        return Estimate(value=value, confidence=confidence, holdout=holdout, why=why)
    half = float(t.ppf((1 + confidence) / 2, min(blocks, _PARTS))) * math.hypot(chance, error)
    highest = math.inf if less_is_better(name) else 1.0
    return Estimate(
        value=value,
        low=max(0.0, value - half),
        high=min(highest, value + half),
        confidence=confidence,
        chance=chance,
        error=error,
        blocks=blocks,
        holdout=holdout,
    )


def _spread(values: NDArray[Any]) -> float:
    import numpy as np

    defined = values[np.isfinite(values)]
    return float(defined.std(ddof=1)) if len(defined) > len(values) / 2 else math.nan
