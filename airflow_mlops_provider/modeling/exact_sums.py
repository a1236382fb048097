"""The fewest columns of which a target is an exact linear combination, and coefficients as whole numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

#: What is made up of its parts differs from them by rounding alone.
_EXACT_R2 = 0.9999
#: Columns that are fitted together, those most like the target.
_FITTED = 200
#: A sum of more parts is none that a person would write down.
_MOST_PARTS = 12
#: Coefficients are so near to whole numbers, after multiplication with a small one.
_WHOLE, _MULTIPLIERS = 0.005, (1, 2, 3, 4, 5, 10)
#: With fewer rows nothing is looked for.
MIN_ROWS = 40


def whole_numbers(
    values: Sequence[float], *, multipliers: Sequence[int] = _MULTIPLIERS, scaled: bool = True
) -> list[int] | None:
    """Return coefficients as whole numbers, up to a common factor when `scaled`; None when they are none.

    >>> whole_numbers([0.3, 0.7]), whole_numbers([60.0, 1.0]), whole_numbers([0.31, 0.712])
    ([3, 7], [60, 1], None)
    """
    least = min(abs(value) for value in values)
    if least == 0:
        return None
    for multiplier in multipliers:
        wanted = [multiplier * value / (least if scaled else 1) for value in values]
        near = [round(value) for value in wanted]
        if all(near) and all(abs(value - one) < _WHOLE for value, one in zip(wanted, near, strict=True)):
            return near
    return None


def exact_sum(features: Mapping[str, NDArray[Any]], target: NDArray[Any]) -> tuple[dict[str, float], float] | None:
    """Return the fewest features of which the target is a linear combination, with coefficients and R²; else None."""
    import numpy as np

    names = list(features)
    if len(names) < 2:
        return None
    table = np.column_stack([features[name] for name in names])
    complete = np.isfinite(table).all(axis=1) & np.isfinite(target)
    table, truth = table[complete], target[complete]
    if len(truth) < MIN_ROWS:
        return None
    halves = np.random.default_rng(0).random(len(truth)) < 0.5
    fit = _Fit.of(table, truth, halves)
    if fit is None:
        return None
    columns = fit.fewest()
    if columns is None or not 2 <= len(columns) <= _MOST_PARTS:
        return None
    return dict(zip([names[column] for column in columns], fit.coefficients(columns), strict=True)), fit.r2(columns)


@dataclass(frozen=True)
class _Fit:
    """Least squares on one half of the rows, judged on the other; every column of mean 0 and deviation 1."""

    learned: NDArray[Any]
    scored: NDArray[Any]
    target: NDArray[Any]
    truth: NDArray[Any]
    scales: NDArray[Any]

    @classmethod
    def of(cls, table: NDArray[Any], target: NDArray[Any], halves: NDArray[Any]) -> _Fit | None:
        import numpy as np

        middle, spread = table[halves].mean(axis=0), table[halves].std(axis=0)
        centre, scale = target[halves].mean(), target[halves].std()
        if scale == 0 or not np.isfinite([*middle, *spread, centre, scale]).all():
            return None
        spread = np.where(spread > 0, spread, np.inf)
        scaled, truth = (table - middle) / spread, (target - centre) / scale
        return cls(scaled[halves], scaled[~halves], truth[halves], truth[~halves], scale / spread)

    def r2(self, columns: Sequence[int]) -> float:
        import numpy as np

        missed = self.truth - self.scored[:, columns] @ self._solve(columns)
        return float(1 - (missed**2).sum() / max(((self.truth - self.truth.mean()) ** 2).sum(), np.finfo(float).tiny))

    def coefficients(self, columns: Sequence[int]) -> list[float]:
        """Return them in the features' own units."""
        return [float(value) for value in self._solve(columns) * self.scales[columns]]

    def fewest(self) -> list[int] | None:
        """Return the fewest columns that are exact together; None when not even all of them are."""
        import numpy as np

        # With more columns than a quarter of the rows, chance alone could fit them.
        columns = self._most_alike(min(_FITTED, len(self.target) // 4))
        if (whole := self.r2(columns)) <= _EXACT_R2:
            return None
        enough = max(_EXACT_R2, 1 - 4 * (1 - whole) - 1e-12)  # what is left out of an exact sum is no part of it
        weights = np.abs(self._solve(columns))
        heavy = [column for column, weight in zip(columns, weights, strict=True) if weight > 1e-5]
        if heavy and self.r2(heavy) > enough:
            columns = heavy
        if len(columns) > 4 * _MOST_PARTS:
            return None
        order = np.argsort(np.abs(self._solve(columns)), kind="stable")
        for column in [columns[place] for place in order]:
            fewer = [one for one in columns if one != column]
            if fewer and self.r2(fewer) > enough:
                columns = fewer
        return columns

    def _most_alike(self, most: int) -> list[int]:
        import numpy as np

        alike = np.abs(self.learned.T @ self.target)
        return sorted(int(column) for column in np.argsort(-alike, kind="stable")[:most])

    def _solve(self, columns: Sequence[int]) -> NDArray[Any]:
        import numpy as np

        solution: NDArray[Any] = np.linalg.lstsq(self.learned[:, columns], self.target, rcond=None)[0]
        return solution
