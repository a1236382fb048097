"""What the resamples behind the intervals were drawn from."""

from __future__ import annotations

from datetime import timedelta

from airflow_mlops_provider.exceptions import shorten
from airflow_mlops_provider.spec.frozen import Frozen

#: With fewer groups or blocks intervals lean on what is assumed of them: "five to thirty" clusters are few (Cameron,
#: Gelbach & Miller 2008).
FEW = 30
_NAME = 60


class Resampled(Frozen):
    """What a resample behind the intervals draws: each row by itself, whole groups of rows, or blocks of time.

    :param group: the column whose rows are drawn together; null when there is none.
    :param units: how many rows, groups or blocks there are to draw from.
    :param block: length of a block of time; null when no blocks are drawn.
    :param groups: how many groups there are, where blocks of time are drawn and rows belong to groups, too.
    """

    group: str | None = None
    units: int
    block: timedelta | None = None
    groups: int | None = None

    @property
    def few(self) -> bool:
        """Whether there are so few groups or blocks that their number has to be mentioned."""
        return (self.group is not None or self.block is not None) and self.units < FEW

    @property
    def things(self) -> str:
        """What is drawn, and how many there are."""
        if self.block is not None:
            return f"{self.units:,} block{'s' * (self.units != 1)} of {_length(self.block)}"
        if self.group is None:
            return f"{self.units:,} row{'s' * (self.units != 1)}"
        return f"{self.units:,} group{'s' * (self.units != 1)} by {shorten(self.group, _NAME)}"

    @property
    def words(self) -> str:
        """What was drawn, in words."""
        few = "; they are few, so the intervals are wider (Cameron, Gelbach & Miller 2008)" if self.few else ""
        if self.block is not None:
            besides = "" if self.groups is None else f"; where its {self.groups:,} groups vary more, they are used"
            return (
                f"in whole blocks of time ({self.things}), widened for the dependence of adjacent blocks "
                f"(Künsch 1989){besides}{few}"
            )
        if self.group is None:
            return "row by row, as if each were independent of all others (Efron & Tibshirani 1993)"
        group = shorten(self.group, _NAME)
        return f"in whole groups by {group}, {self.units:,} in all (Field & Welsh 2007){few}"


def _length(block: timedelta) -> str:
    days = block / timedelta(days=1)
    return "a day" if days == 1 else f"{days:g} days"
