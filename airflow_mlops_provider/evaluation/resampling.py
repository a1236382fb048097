"""What a resample draws, decided once for every estimate on the same rows: rows, groups of rows, or blocks of time.

Rows of one day share its weather, rows of one customer the customer. Drawn one by one, they would suggest that far more
is known than is. So rows with a timestamp are drawn in blocks of time (Künsch 1989; Politis & Romano 1994), and rows of
a group together (Field & Welsh 2007). Where there are more than `MOST` units, several are drawn together: blocks that
follow each other, or rows or groups that are dealt at random. That changes no variance and bounds the work.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow_mlops_provider.evaluation.resampling_report import Resampled

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Units at most.
MOST = 400
DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)
#: How rows and groups are dealt: to the same units in every task.
_DEAL = 20130912


@dataclass(frozen=True)
class Units:
    """The units that every resample of some rows draws.

    :param codes: of each row the number of its unit, from 0 on; of blocks in the order of time.
    :param count: how many units there are.
    :param drawn: `row`, `group`, or `block` of time.
    :param column: whose values are the groups.
    :param block: length of a block.
    :param things: how many rows, groups or blocks there are, before several were drawn together.
    :param besides: the groups of the same rows, where blocks are drawn and rows belong to groups, too.
    """

    codes: NDArray[Any]
    count: int
    drawn: Literal["row", "group", "block"] = "row"
    column: str | None = None
    block: timedelta | None = None
    things: int = 0
    besides: Units | None = None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.codes)

    @property
    def effective(self) -> float:
        """Of how many units of equal size these say as much (Kish 1965; Carter, Schnepel & Steigerwald 2017)."""
        import numpy as np

        sizes = np.bincount(self.codes, minlength=self.count)
        return float(sizes.sum() ** 2 / max(np.square(sizes.astype(np.float64)).sum(), 1))

    def take(self, rows: NDArray[Any]) -> Units:
        """Return the units of some of the rows."""
        import numpy as np

        present, codes = np.unique(self.codes[rows], return_inverse=True)
        things = len(present) if len(present) < self.count else self.things
        besides = None if self.besides is None else self.besides.take(rows)
        return Units(codes.reshape(-1), len(present), self.drawn, self.column, self.block, things, besides)

    @property
    def described(self) -> Resampled:
        """What is drawn, as it is stored and shown."""
        groups = self if self.drawn == "group" else self.besides
        return Resampled(
            group=None if groups is None else groups.column,
            units=self.things,
            block=self.block,
            groups=None if self.besides is None else self.besides.things,
        )


def row_units(rows: int) -> Units:
    """Return rows that are drawn each by itself."""
    import numpy as np

    return Units(_dealt(np.arange(rows), rows), min(rows, MOST), things=rows)


def group_units(groups: NDArray[Any], column: str) -> Units:
    """Return groups that are drawn whole.

    :param groups: equal for rows that belong together.
    """
    import numpy as np

    names, codes = np.unique(groups, return_inverse=True)
    return Units(_dealt(codes.reshape(-1), len(names)), min(len(names), MOST), "group", column, things=len(names))


def block_units(moments: NDArray[Any], least: timedelta, besides: Units | None = None) -> Units:
    """Return blocks of time: a day, or longer.

    :param moments: timestamps in microseconds.
    :param least: length of a block at least: what a label's delay or an embargo couples belongs together.
    :param besides: the groups of the rows.
    """
    import numpy as np

    length = max(DAY, least)
    while True:
        _, codes = np.unique(moments // (length // _MICROSECOND), return_inverse=True)
        if (count := int(codes.max(initial=-1)) + 1) <= MOST:
            return Units(codes.reshape(-1), count, "block", block=length, things=count, besides=besides)
        length *= 2


def _dealt(codes: NDArray[Any], count: int) -> NDArray[Any]:
    """Return the units of things that are dealt to as many units as may be."""
    import numpy as np

    if count <= MOST:
        return codes
    dealt: NDArray[Any] = np.random.default_rng(_DEAL).permutation(count)[codes] % MOST
    return dealt
