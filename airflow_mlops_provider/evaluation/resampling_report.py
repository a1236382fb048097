"""What the resamples behind the intervals were drawn from."""

from __future__ import annotations

from airflow_mlops_provider.exceptions import shorten
from airflow_mlops_provider.spec.frozen import Frozen

#: With fewer groups the cluster bootstrap's intervals are too narrow: "five to thirty" clusters are few (Cameron,
#: Gelbach & Miller 2008).
FEW_GROUPS = 30
_NAME = 60


class Resampled(Frozen):
    """What a resample behind the intervals draws: each held-out row by itself, or whole groups of them.

    :param group: the column whose rows are drawn together; null when each row is drawn by itself.
    :param units: how many of them there are to draw from.
    """

    group: str | None = None
    units: int

    @property
    def few(self) -> bool:
        """Whether there are so few groups that intervals are still too narrow."""
        return self.group is not None and self.units < FEW_GROUPS

    @property
    def words(self) -> str:
        """What was drawn, in words."""
        if self.group is None:
            return "each row drawn by itself, as if independent of all others (Efron & Tibshirani 1993)"
        few = "; of so few they are still too narrow (Cameron, Gelbach & Miller 2008)" if self.few else ""
        group = shorten(self.group, _NAME)
        return f"whole groups drawn, by {group}, of which there are {self.units:,} (Field & Welsh 2007){few}"
