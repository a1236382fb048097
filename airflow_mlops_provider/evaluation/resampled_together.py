"""The candidates, the dummy and the champion on the same resamples: every comparison of two of them is paired."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_mlops_provider.evaluation.block_errors import block_errors
from airflow_mlops_provider.evaluation.bootstrap import interval, resample
from airflow_mlops_provider.evaluation.differences import difference_of
from airflow_mlops_provider.evaluation.metrics import gain, too_rare
from airflow_mlops_provider.evaluation.resampled_metrics import statistics_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow_mlops_provider.evaluation.block_report import BlockErrors
    from airflow_mlops_provider.evaluation.draws import Draws
    from airflow_mlops_provider.evaluation.metrics import Predictions
    from airflow_mlops_provider.evaluation.report import (
        CandidateScores,
        ChampionScores,
        Difference,
        HeldBack,
        Interval,
        Scores,
    )
    from airflow_mlops_provider.evaluation.resampling import Units
    from airflow_mlops_provider.evaluation.statistic import Statistic
    from airflow_mlops_provider.spec.evaluation import Bootstrap

#: Candidates that are resampled: the others are never the best on a resample.
_MOST = 10
#: No candidate is named by a number.
DUMMY, CHAMPION = 0, 1


@dataclass(frozen=True)
class ResampledComparison:
    """The winner's resampled metrics, beside those of a dummy and of the champion.

    :param over_baseline: by how much it is better than the dummy.
    :param held_back: the best candidate, where another one is the winner.
    :param block_errors: how much blocks of time vary; None where none are drawn, or too few.
    """

    winner: str
    intervals: dict[str, Interval]
    over_baseline: dict[str, Difference]
    champion: ChampionScores | None
    held_back: HeldBack | None = None
    block_errors: BlockErrors | None = None


@dataclass(frozen=True)
class Together:
    """What was resampled together.

    :param scores: of each candidate.
    :param statistics: by whose they are and by metric.
    :param drawn: the same, resampled.
    :param units: that were drawn.
    :param rare: why nobody can say how sure a metric is, by metric.
    """

    metrics: Sequence[str]
    scores: Mapping[str, CandidateScores]
    statistics: Mapping[tuple[str | int, str], Statistic]
    drawn: Mapping[tuple[str | int, str], Draws]
    units: Units
    rare: Mapping[str, str | None]
    confidence: float

    def of(
        self, winner: str, champion: ChampionScores | None, held_back: HeldBack | None = None
    ) -> ResampledComparison:
        """Return a winner's intervals, and by how much it is better than the dummy."""
        dummy = {name: self.drawn.get((DUMMY, name)) for name in self.metrics}
        over = self._differences(winner, self.scores, dummy, "the dummy", skill=True)
        known = next((CHAMPION for whose, _ in self.drawn if whose == CHAMPION), None)
        errors = block_errors(self.statistics, self.drawn, self.units, winner, dummy=DUMMY, champion=known)
        return ResampledComparison(
            winner, self._intervals(winner, self.scores[winner]), over, champion, held_back, errors
        )

    def measured(self, champion: ChampionScores) -> ChampionScores:
        """Return a champion with the intervals of its metrics, where it was measured on the same rows."""
        if champion.compared != "paired":
            return champion
        return champion.model_copy(update={"intervals": self._intervals(CHAMPION, champion)})

    def against(self, champion: ChampionScores, name: str, *, alone: bool = False) -> ChampionScores:
        """Return a champion with by how much a candidate is better than it.

        :param alone: the candidate is a refresh, which was not chosen as the best of several on these rows.
        """
        if champion.compared == "paired":
            theirs = {one: self.drawn.get((CHAMPION, one)) for one in self.metrics}
        else:
            theirs = {one: self._recorded(champion, one, self.drawn.get((name, one))) for one in self.metrics}
        found = self._differences(name, [name] if alone else self.scores, theirs, "the champion")
        return champion.model_copy(update={"differences": found})

    def _recorded(self, champion: ChampionScores, metric: str, like: Draws | None) -> Draws | None:
        """Return a champion's recorded metric with its own error, which is independent of what is drawn here.

        :param like: the same metric of the challenger: of an older champion nobody knows the error, so it has this one.
        """
        value, known = champion.metrics.get(metric), champion.intervals.get(metric)
        if value is None or like is None:
            return None
        return like.recorded(value, None if known is None else known.error)

    def _intervals(self, whose: str | int, known: Scores) -> dict[str, Interval]:
        return {
            name: interval(self.drawn.get((whose, name)), self.confidence, known.undefined.get(name) or self.rare[name])
            for name in self.metrics
        }

    def _differences(
        self,
        whose: str,
        among: Iterable[str],
        others: Mapping[str, Draws | float | None],
        their: str,
        *,
        skill: bool = False,
    ) -> dict[str, Difference]:
        return {
            name: difference_of(
                name,
                {one: self.drawn.get((one, name)) for one in among},
                whose,
                others[name],
                their,
                self.rare[name],
                skill=skill,
            )
            for name in self.metrics
        }


def resampled_together(
    metrics: Sequence[str],
    predictions: Mapping[str, Predictions],
    scores: Mapping[str, CandidateScores],
    bootstrap: Bootstrap,
    seed: int,
    *,
    closest_to: str,
    besides: Mapping[str | int, Predictions],
    champion: Predictions | None,
) -> Together:
    """Return the metrics of several models on the same resamples.

    :param predictions: each candidate's predictions for the held-out rows.
    :param closest_to: the best candidate; those far behind it are left out.
    :param besides: predictions that are included, however bad they are.
    """
    judged: dict[str | int, Predictions] = {**besides}
    judged.update(_closest(metrics[0], closest_to, predictions, scores))
    if champion is not None:
        judged[CHAMPION] = champion
    statistics = {
        (whose, name): each for whose, one in judged.items() for name, each in statistics_of(metrics, one).items()
    }
    units = predictions[closest_to].drawn
    drawn = resample(statistics, units, bootstrap.resamples, seed)
    rare = {name: too_rare(name, predictions[closest_to]) for name in metrics}
    return Together(metrics, scores, statistics, drawn, units, rare, bootstrap.confidence)


def _closest(
    metric: str, winner: str, predictions: Mapping[str, Predictions], scores: Mapping[str, Scores]
) -> dict[str, Predictions]:
    """Return the predictions of the winner, and of the candidates that came closest to it."""

    def rank(name: str) -> float:
        value = scores[name].metrics[metric]
        return math.inf if value is None else -gain(metric, value, 0.0)

    return {
        name: predictions[name]
        for name in [winner, *sorted((one for one in predictions if one != winner), key=rank)][:_MOST]
    }
