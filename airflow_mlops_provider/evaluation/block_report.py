"""How much whole blocks of time vary, measured where there are many: what a window of few days cannot say of itself.

Rows of one day share its weather, so a window of one day says less than its rows promise, and nothing in it says how
much less. The holdout does: the variance of what one block contributes, less what its rows explain by themselves.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from airflow_mlops_provider.spec.frozen import Finite, Frozen


class BlockError(Frozen):
    """How much a statistic varies from one block of time to the next. Variances are of a statistic of one block.

    :param variance: of all that a block contributes.
    :param within: of it, what rows explain, or groups where rows belong to groups.
    :param factor: the long-run variance of blocks that follow each other over that of one.
    :param blocks: how many it was measured on.
    :param freedom: degrees of freedom of its estimate.
    """

    variance: Finite
    within: Finite
    factor: Finite
    blocks: int
    freedom: Finite

    def beyond_rows(self, blocks: float) -> float:
        """Return the variance that blocks add to that of the rows, in a statistic of so many blocks in a row.

        Blocks that follow each other say as much as one of them at least: the factor is their number at most.

        >>> error = BlockError(variance=3.0, within=1.0, factor=2.0, blocks=60, freedom=29.0)
        >>> error.beyond_rows(1), error.beyond_rows(10)
        (2.0, 0.5)
        """
        return max(min(self.factor, max(blocks, 1.0)) * self.variance - self.within, 0.0) / blocks

    @property
    def of_all(self) -> float:
        """The variance of the statistic of all the blocks together."""
        return self.factor * self.variance / self.blocks


class BlockErrors(Frozen):
    """Of an evaluation, by metric; what cannot be measured is not there.

    :param block: length of a block.
    :param metrics: of the winner.
    :param differences: of what the winner is better by than `beside` on the same rows.
    :param beside: the champion; the dummy where there is none to compare with, which varies more.
    """

    block: timedelta
    metrics: dict[str, BlockError]
    differences: dict[str, BlockError]
    beside: Literal["champion", "dummy"]
