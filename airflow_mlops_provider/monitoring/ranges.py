"""Which numbers of a window lie outside the range of the reference, whatever a few wild ones among its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_mlops_provider.monitoring.sampling import Observed

#: Share of the reference's rows on either side that are no measure of its range, and at least so many rows.
_TAIL, _TAIL_ROWS = 0.001, 2
#: Share that ends where a tail begins.
_BODY = 0.01
#: Share of the window's rows that may lie outside before it is reported.
_OUTSIDE = 0.01
#: Lengths of a tail, from the body to the range's end, beyond which a single number is reported.
_FAR = 10


@dataclass(frozen=True)
class SeenRange:
    """Where the numbers of a reference lie.

    :param low: quantile of `tail`.
    :param far_low: a single number below this is reported.
    """

    low: float
    high: float
    far_low: float
    far_high: float
    tail: float


def range_of(reference: Observed) -> SeenRange | None:
    """Return the range of a reference's numbers; None when it has none, or only one.

    Far is what lies a whole range beyond it, or ten times as far as the tail reaches: heavy tails reach far by
    themselves.
    """
    import numpy as np

    values = reference.values()
    if reference.kind != "numeric" or not len(values) or reference.constant:
        return None
    tail = min(max(_TAIL, _TAIL_ROWS / len(values)), _BODY)
    levels = [tail, _BODY, 1 - _BODY, 1 - tail]
    with np.errstate(over="ignore"):
        low, begins, ends, high = (float(one) for one in np.quantile(values, levels, method="inverted_cdf"))
        if low == high:  # nearly constant
            low, high = float(values.min()), float(values.max())
            begins, ends = low, high
        far = [max(high - low, _FAR * length) for length in (begins - low, high - ends)]
        return SeenRange(low, high, low - far[0], high + far[1], tail)


def outside(reference: Observed, current: Observed) -> tuple[str, str] | None:
    """Return what lies outside the reference's range, and the range; None when it is no more than usual."""
    found = range_of(reference)
    if found is None or current.low is None or current.high is None:
        return None
    # A new row lies beyond the outermost of n others with probability 2 / (n + 1), and the range itself is uncertain.
    usual = _OUTSIDE + 2 * found.tail + 4 / (reference.rows + 1)
    far = current.low < found.far_low or current.high > found.far_high
    share = current.outside / current.rows
    if not far and share <= usual:
        return None
    got = f"{current.low:.6g} to {current.high:.6g}, {share:.2%} of the rows outside"
    return got, f"{found.low:.6g} to {found.high:.6g}"
