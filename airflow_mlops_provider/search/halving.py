"""Successive halving: many points on few rows, the better third of them on three times as many, and so on.

scikit-learn's own (Jamieson & Talwalkar 2016) decides who goes on and on which rows; what a point reaches on them is
measured, and kept, as in every other search.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.search.trials import Trial
from airflow_mlops_provider.spec.metrics import less_is_better

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from airflow_mlops_provider.search.rules import Rules
    from airflow_mlops_provider.search.space import Point
    from airflow_mlops_provider.search.trials import Bench

#: Of a point that reached the last round: it saw all rows but those that rounding left out.
_NEARLY_ALL = 0.999


def halved(points: Mapping[int, Point], bench: Bench, shard: int, rules: Rules) -> list[Trial]:
    """Return a trial of each point as its last round had it; the survivor's is measured again on all rows.

    :param points: by number.
    """
    rounds = _Rounds(points, bench, rules)
    found = rounds.run()
    results = found.cv_results_
    trials: dict[int, Trial] = {}
    for position, number in enumerate(map(int, results["param_number"])):
        score = float(results["mean_test_score"][position])
        measured = math.isfinite(score)
        trials[number] = Trial(
            number=number,
            shard=shard,
            params=points[number],
            score=rounds.sign * score if measured else None,
            seconds=round(rounds.seconds[number], 3),
            share=min(int(results["n_resources"][position]) / len(bench.rows), _NEARLY_ALL),
            why=None if measured else rounds.why.get(number, "the time limit was reached"),
        )
    survivor = int(results["param_number"][found.best_index_])
    whole = bench.trial(survivor, shard, points[survivor])
    rules.stop(whole)
    trials[survivor] = whole.model_copy(update={"seconds": round(whole.seconds + trials[survivor].seconds, 3)})
    return [trials[number] for number in sorted(trials)]


@dataclass
class _Rounds:
    """The rounds of scikit-learn's search, which gets its scores of points on rows from here."""

    points: Mapping[int, Point]
    bench: Bench
    rules: Rules
    seconds: dict[int, float] = field(default_factory=dict)
    why: dict[int, str] = field(default_factory=dict)

    @property
    def sign(self) -> int:
        """scikit-learn takes more for better."""
        return -1 if less_is_better(self.bench.metric) else 1

    def run(self) -> Any:
        """Return scikit-learn's search, done."""
        import numpy as np
        from sklearn.base import BaseEstimator
        from sklearn.experimental import enable_halving_search_cv  # noqa: F401  # the import itself enables it
        from sklearn.model_selection import HalvingGridSearchCV

        class Probe(BaseEstimator):  # type: ignore[misc]  # scikit-learn carries no types
            """A point by its number, and the rows that it is to be fitted to."""

            def __init__(self, number: int = 0) -> None:
                self.number = number

            def fit(self, rows: NDArray[np.int64], y: None = None) -> Probe:
                self.rows_ = rows[:, 0]
                return self

        def score(probe: Any, rows: NDArray[np.int64], y: None = None) -> float:
            return self._score(probe.number, probe.rows_, rows[:, 0])

        rows = self.bench.rows
        search = HalvingGridSearchCV(
            Probe(),
            {"number": sorted(self.points)},
            cv=[tuple(np.searchsorted(rows, side) for side in fold) for fold in self.bench.folds],
            scoring=score,
            refit=False,
            error_score="raise",
            return_train_score=False,
            random_state=self.bench.seed,
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="One or more of the test scores are non-finite")
            return search.fit(rows.reshape(-1, 1))

    def _score(self, number: int, train: NDArray[np.int64], test: NDArray[np.int64]) -> float:
        self.seconds.setdefault(number, 0.0)
        if self.rules.late:
            return math.nan
        fold = hashlib.sha256(train.tobytes() + test.tobytes()).hexdigest()[:16]
        result = self.bench.fitted(f"{number:04}-{fold}", self.points[number], [(train, test)])
        self.seconds[number] += result["seconds"]
        self.rules.seconds += result["seconds"]
        if result["why"] is not None:
            self.why[number] = result["why"]
        return math.nan if result["score"] is None else self.sign * float(result["score"])
