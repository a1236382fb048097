"""What is estimated of a window whose labels are not there yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.evaluation.metrics import gain
from airflow_mlops_provider.monitoring.allowance import allowed_fall
from airflow_mlops_provider.spec.frozen import Finite, Frozen, OpenShare, Task
from airflow_mlops_provider.spec.metrics import less_is_better

if TYPE_CHECKING:
    from airflow_mlops_provider.spec.operations import Estimated


class Estimate(Frozen):
    """One metric without labels.

    :param value: null when it is undefined; `why` says why, as it does when there is no interval.
    :param low: lower end of the interval in which the metric by the labels will lie, at `confidence`.
    :param high: its upper end.
    :param chance: standard deviation of the metric over labels drawn from the calibrated probabilities.
    :param error: standard deviation of the estimate's own error, beyond chance, on blocks of the holdout; at least
        that by resampling the calibration.
    :param blocks: how many of them.
    :param holdout: what was measured on the holdout.
    """

    value: Finite | None
    low: Finite | None = None
    high: Finite | None = None
    confidence: OpenShare
    chance: Finite | None = None
    error: Finite | None = None
    blocks: int = 0
    holdout: Finite | None = None
    why: str | None = None

    def holds(self, realised: float | None) -> bool | None:
        """Return whether a realised value lies in the interval; None when one of them is missing."""
        if realised is None or self.low is None or self.high is None:
            return None
        return self.low <= realised <= self.high

    def words(self, name: str) -> str:
        """Return the estimate in words.

        >>> Estimate(value=0.7, low=0.6, high=0.8, confidence=0.95, holdout=0.75).words("roc_auc")
        'roc_auc is estimated at 0.7 [0.6, 0.8], 0.75 on the holdout'
        """
        if self.value is None:
            return f"{name} cannot be estimated: {self.why}"
        span = "" if self.low is None or self.high is None else f" [{self.low:.4g}, {self.high:.4g}]"
        promised = "not recorded" if self.holdout is None else f"{self.holdout:.4g}"
        return f"{name} is estimated at {self.value:.4g}{span}, {promised} on the holdout"


class EstimateReport(Document):
    """The estimated metrics of one window.

    :param metric: the one that decides.
    :param version: the champion.
    :param rows: rows of the window.
    :param sampled: rows that the estimate is made from: an even spread of them when there are very many.
    :param reference_rows: held-out rows of the champion's reference, which calibrate its probabilities.
    :param judged: False when nothing can be estimated; `why` says why.
    :param fallen: the whole interval lies below the holdout's value by more than the margin.
    """

    task: Task
    metric: str
    version: int
    rows: int
    sampled: int = 0
    reference_rows: int = 0
    judged: bool = True
    why: str
    estimates: dict[str, Estimate] = Field(default_factory=dict)
    fallen: bool = False


def has_fallen(name: str, found: Estimate, settings: Estimated, dummy: float | None) -> bool:
    """Return whether an estimate's whole interval lies below the holdout's value by more than it may.

    :param dummy: what a dummy's metric was there; None of an old evaluation.
    Judged by the value alone, 14 to 20 % of the flights' days were bad, of which no more than three quarters were.
    """
    best = found.low if less_is_better(name) else found.high
    if found.value is None or found.holdout is None or best is None:
        return False
    return gain(name, best, found.holdout) < -allowed_fall(settings, name, found.holdout, dummy)
