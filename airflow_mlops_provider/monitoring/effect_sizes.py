"""How far two samples of a column lie apart.

Numbers by the Wasserstein distance of their normal scores: a value counts by its rank in the reference (van der Waerden
1952), so that one wild value lies no farther out than the outermost of the reference, and a heavy tail weighs no more
than a light one. In a column that is normally distributed the distance is that of the values, in standard deviations.
Categories by the Jensen-Shannon distance (natural logarithm: 0 to 0.83). Both are effect sizes: they do not grow with
the number of rows, as the significance of a difference does.

Either is a function of how many rows lie in each bin, so that hundreds of samples are measured at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Method = Literal["wasserstein", "jensenshannon"]

#: Quantiles of the reference between which numbers are told apart. What lies beyond the outer ones, 0.1 % on either
#: side, counts alike.
_CUTS = 999


@dataclass(frozen=True)
class Scale:
    """The bins of a column's values.

    :param cuts: of numbers, ascending: a bin for each cut, one between each two, one on either side.
    :param places: of numbers: where each bin lies, in standard deviations of the reference; ascending.
    :param labels: of categories: the category of each bin.
    """

    cuts: NDArray[Any] | None = None
    places: NDArray[Any] | None = None
    labels: tuple[str, ...] = ()

    @property
    def method(self) -> Method:
        """The distance that is measured."""
        return "jensenshannon" if self.places is None else "wasserstein"

    @property
    def bins(self) -> int:
        """How many there are."""
        return len(self.labels) if self.places is None else len(self.places)

    def codes(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the bin of each value; -1 of a category that has none."""
        import numpy as np
        import pandas as pd

        if self.cuts is None:
            return pd.Categorical(values, categories=self.labels).codes.astype(np.int64)
        found: NDArray[Any] = np.searchsorted(self.cuts, values) + np.searchsorted(self.cuts, values, "right")
        return found

    def counts(self, codes: NDArray[Any]) -> NDArray[Any]:
        """Return the rows in each bin."""
        import numpy as np

        return np.bincount(codes, minlength=self.bins)


def numbers(reference: NDArray[Any]) -> Scale:
    """Return the scale of numbers.

    :param reference: finite, not all the same.
    """
    import numpy as np
    from scipy.special import ndtri

    levels = np.arange(1, _CUTS + 1) / (_CUTS + 1)
    cuts = np.unique(np.quantile(reference, levels, method="inverted_cdf"))
    scale = Scale(cuts, np.zeros(2 * len(cuts) + 1))
    shares = scale.counts(scale.codes(reference)) / len(reference)
    # The middle of the ranks that a bin holds.
    least = 0.5 / (_CUTS + 1)
    scores = ndtri(np.clip(np.cumsum(shares) - shares / 2, least, 1 - least))
    mean = shares @ scores
    return Scale(cuts, scores / (shares @ np.square(scores - mean)) ** 0.5)


def categories(reference: NDArray[Any], current: NDArray[Any]) -> Scale:
    """Return the scale of categories, those of either side."""
    return Scale(labels=tuple(sorted({*reference, *current})))


def distance(scale: Scale, reference: NDArray[Any], current: NDArray[Any]) -> NDArray[Any]:
    """Return how far samples lie apart.

    :param reference: rows by bin, of one sample or of many, a line each; of each sample at least one.
    :param current: likewise.
    """
    import numpy as np
    from scipy.spatial.distance import jensenshannon

    before, after = (np.asarray(side / side.sum(axis=-1, keepdims=True)) for side in (reference, current))
    if scale.places is None:
        # Of equal shares, rounding may leave the root of less than nothing.
        return np.asarray(np.nan_to_num(jensenshannon(before, after, axis=-1)))
    between = np.abs(np.cumsum(after - before, axis=-1))[..., :-1]
    return np.asarray(between @ np.diff(scale.places))


def by_chance(
    scale: Scale, shares: NDArray[Any], sizes: tuple[int, int], draws: int, rng: np.random.Generator
) -> NDArray[Any]:
    """Return distances of samples of independent rows between which nothing has changed.

    :param shares: of the rows, in each bin.
    :param sizes: rows of either sample.
    """
    return distance(scale, *(rng.multinomial(size, shares, draws) for size in sizes))
