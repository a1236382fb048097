"""What the live step writes: the champion, and the former one, on rows whose labels have come since."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.evaluation.report import Interval, Scores
from airflow_mlops_provider.evaluation.resampling_report import Resampled
from airflow_mlops_provider.monitoring.estimate_report import Estimate
from airflow_mlops_provider.monitoring.probation import WindowComparison
from airflow_mlops_provider.spec.frozen import Finite, Task


class LiveScores(Scores):
    """One version on the labelled rows.

    :param unusable: why it cannot predict them, null when it can.
    :param intervals: of each metric, at `monitoring.live.confidence`.
    """

    version: int
    unusable: str | None = None
    intervals: dict[str, Interval] = Field(default_factory=dict)


class LiveReport(Document):
    """The live metrics of one window.

    :param metric: the one that decides.
    :param rows: labelled rows of the window.
    :param measured_rows: rows that were predicted: an even spread of them when there are very many.
    :param unknown_labels: of these, rows whose class the champion does not know; left out of every metric.
    :param judged: False when the rows allow no verdict; `why` says why.
    :param resampled: what the resamples behind the intervals drew; null where there are none, and of an older report.
    :param blocks: so many of the holdout's blocks of time the rows are worth; null when the data knows no time.
    :param days_known: whether the champion's evaluation says how much days differ.
    :param since_holdout: interval of what the champion is better by than on its holdout, the error of both in it.
    :param differences: interval of what the champion is better than the former one by, on the same resamples.
    :param comparison: the same of the deciding metric, as probation adds it up; null where it is not compared.
    :param not_compared: why it is not.
    :param holdout: what evaluate measured before the champion was promoted.
    :param allowed: the largest fall below it that is no decay, in the deciding metric's unit; null of an older report.
    :param estimates: what was estimated of these rows without their labels, where monitoring estimates.
    :param estimate_held: whether the deciding metric lies in its estimated interval.
    :param cannot_predict: the champion cannot predict these rows, and the former one can.
    :param against_holdout: the comparison with the holdout in words.
    :param against_former: the comparison with the former champion in words.
    """

    SCHEMA = 3

    task: Task
    metric: str
    rows: int
    measured_rows: int = 0
    unknown_labels: int = 0
    judged: bool = True
    why: str | None = None
    champion: LiveScores | None = None
    former: LiveScores | None = None
    resampled: Resampled | None = None
    blocks: Finite | None = None
    days_known: bool = True
    since_holdout: dict[str, Interval] = Field(default_factory=dict)
    differences: dict[str, Interval] = Field(default_factory=dict)
    comparison: WindowComparison | None = None
    not_compared: str | None = None
    holdout: dict[str, Finite | None] = Field(default_factory=dict)
    allowed: Finite | None = None
    estimates: dict[str, Estimate] = Field(default_factory=dict)
    estimate_held: bool | None = None
    decayed: bool = False
    cannot_predict: bool = False
    against_holdout: str | None = None
    against_former: str | None = None

    @classmethod
    def upgraded(cls, raw: Any, schema: int) -> Any:
        """Return what the first releases stored: whether one window alone was worse is of no use any more."""
        return {name: value for name, value in raw.items() if name not in ("group", "worse_than_former")}

    @property
    def drawn(self) -> str:
        """What the error of the metrics is made of, in words."""
        if self.resampled is None:
            return ""
        if self.resampled.block is not None or self.blocks is None:
            return f"by {self.resampled.things}"
        if not self.days_known:
            why = "since the champion's evaluation does not record how much days differ"
            return f"by {self.resampled.things} alone, {why}"
        return f"by {self.resampled.things} and the error of days on the holdout"


@dataclass(frozen=True)
class LiveVerdict:
    """A comparison in words, and whether it is bad."""

    bad: bool
    words: str


def against_holdout(report: LiveReport, champion: LiveScores) -> LiveVerdict:
    """Return whether the metric lies below the holdout's value by more than it may, interval and all."""
    if champion.unusable is not None:
        return LiveVerdict(True, f"version {champion.version} cannot predict these rows: {champion.unusable}")
    name, promised = report.metric, report.holdout.get(report.metric)
    live = champion.metrics[name]
    if promised is None or live is None or report.allowed is None:
        return LiveVerdict(False, f"{name} is {_number(live)}; its value on the holdout is not recorded")
    words = (
        f"{name} is {_number(live)}{_span(champion.intervals[name])} on {report.measured_rows} labelled rows, "
        f"{_number(promised)} on the holdout"
    )
    moved = report.since_holdout[name]
    if moved.low is None or moved.high is None:
        return LiveVerdict(False, f"{words}: {moved.why}")
    return LiveVerdict(moved.high < -report.allowed, f"{words}, a gain of{_span(moved)} {report.drawn}")


def against_former(report: LiveReport, champion: LiveScores) -> LiveVerdict:
    """Return how the champion does beside the former one on the same rows, and whether it alone cannot predict them."""
    former, name = report.former, report.metric
    if former is None:
        return LiveVerdict(False, "no former champion to compare with")
    theirs = former.metrics[name]
    if former.unusable is not None or theirs is None:
        why = former.unusable or former.undefined.get(name)
        return LiveVerdict(False, f"version {former.version}, the former champion, cannot be compared: {why}")
    if champion.unusable is not None:
        words = f"version {champion.version} cannot predict these rows, but version {former.version} can"
        return LiveVerdict(True, f"{words}: {champion.unusable}")
    difference = report.differences[name]
    words = (
        f"{name} is {_number(champion.metrics[name])}, against {_number(theirs)} for version {former.version}, "
        f"the former champion, on the same {report.measured_rows} rows"
    )
    if difference.low is None or difference.high is None:
        return LiveVerdict(False, f"{words}: {difference.why}")
    return LiveVerdict(False, f"{words}; it is better by{_span(difference)}")


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"


def _span(span: Interval) -> str:
    return "" if span.low is None or span.high is None else f" [{span.low:.4g}, {span.high:.4g}]"
