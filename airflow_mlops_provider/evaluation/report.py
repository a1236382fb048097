"""What evaluate writes and gate, publishing and the UI read: one JSON file, every number finite or null."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

from pydantic import Field, JsonValue

from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.evaluation.block_report import BlockErrors
from airflow_mlops_provider.evaluation.error_report import Confusion, Residuals
from airflow_mlops_provider.evaluation.explanation_report import ExplanationReport
from airflow_mlops_provider.evaluation.group_report import FairnessReport
from airflow_mlops_provider.evaluation.probe_report import Importances, Latency, PredictionStats
from airflow_mlops_provider.evaluation.resampling_report import Resampled
from airflow_mlops_provider.evaluation.verdicts import Verdict
from airflow_mlops_provider.spec.frozen import Finite, Frozen, OpenShare, Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_mlops_provider.evaluation.metrics import Measured
    from airflow_mlops_provider.results import StepResult

Features = dict[str, Literal["numeric", "categorical"]]


class Scores(Frozen):
    """Metrics by name; an undefined one is null, and `undefined` says why."""

    metrics: dict[str, Finite | None]
    undefined: dict[str, str] = Field(default_factory=dict)


class FoldMean(Frozen):
    """The mean of a metric over folds, with its interval. Null bounds: `why` says why.

    :param sd: of the folds' values.
    :param folds: on which the metric is defined.
    """

    mean: Finite | None = None
    sd: Finite | None = None
    low: Finite | None = None
    high: Finite | None = None
    confidence: OpenShare
    folds: int
    why: str | None = None


class FoldScores(Frozen):
    """Metrics fold by fold, and their means; empty of a single holdout."""

    folds: dict[str, list[Finite | None]] = Field(default_factory=dict)
    fold_means: dict[str, FoldMean] = Field(default_factory=dict)


class CalibrationBin(Frozen):
    """Some of the held-out rows, next to each other by predicted probability.

    :param predicted: mean predicted probability.
    :param observed: share of the rows where it happened.
    """

    predicted: Finite
    observed: Finite
    rows: int


class Calibration(Frozen):
    """The calibration curve, from the lowest probabilities to the highest.

    :param error: expected calibration error: the mean distance of `predicted` from `observed`, by rows.
    """

    error: Finite
    bins: list[CalibrationBin]


class CandidateScores(Scores, FoldScores):
    """A candidate on the held-out rows; under cross-validation each fold as well.

    :param recipe: digest of what the pipeline file asks for, with the features; null of an older training.
    :param calibration: null for a regression.
    :param threshold: the decision threshold in the stored model; null when the most probable class is predicted.
    """

    recipe: str | None = None
    calibration: Calibration | None = None
    threshold: Finite | None = None


class Interval(Frozen):
    """Two-sided bootstrap interval. Null bounds: `why` says why."""

    low: Finite | None
    high: Finite | None
    confidence: OpenShare
    resamples: int = Field(description="Resamples on which the metric was defined.")
    why: str | None = None

    @property
    def error(self) -> float | None:
        """The standard error of a normal statistic with this interval; None without bounds."""
        if self.low is None or self.high is None:
            return None
        return (self.high - self.low) / 2 / NormalDist().inv_cdf((1 + self.confidence) / 2)


class Difference(Frozen):
    """By how much the challenger is better than something else: positive is better, also for a loss.

    :param quantiles: resampled differences in ascending order; at most 1,001 evenly spaced quantiles of them, so
        that a gate can state the interval of its own confidence. Those below the middle hold for the best of
        several candidates.
    :param candidates: how many there were to choose from.
    :param error: standard error of `value`, as wide as few units, and units that follow each other, ask for.
    :param tail: lower ends that hold for the best of several but for one of `tails.RATES` each, smaller than resamples
        can tell.
    """

    value: Finite | None
    candidates: int = 1
    quantiles: list[Finite] = Field(default_factory=list)
    error: Finite | None = None
    tail: list[Finite] = Field(default_factory=list)
    why: str | None = None


class SplitSignature(Frozen):
    """What decides on which side of a split a row falls: rows held out by one signature may train under another.

    :param holdout: share that was held out; None for cross-validation.
    :param keys: columns by which a random split tells rows apart.
    :param boundary: first timestamp of the holdout (ISO 8601), for a split by time.
    """

    by: Literal["time", "random", "cross_validation"]
    seed: int = 0
    holdout: float | None = None
    keys: list[str] = Field(default_factory=list)
    boundary: str | None = None

    def trained_on_holdout_of(self, other: SplitSignature) -> str | None:
        """Return why a model of this split may have been trained on what another holds out, None when it was not."""
        if "cross_validation" in (self.by, other.by):
            return "cross-validation: the champion has seen these rows"
        if self.by == other.by == "time" and self.boundary is not None and other.boundary is not None:
            if datetime.fromisoformat(self.boundary) <= datetime.fromisoformat(other.boundary):
                return None
            return f"the champion was trained on rows up to {self.boundary}, some of which are held out now"
        if (self.by, self.seed, self.holdout, self.keys) != (other.by, other.seed, other.holdout, other.keys):
            return "the champion used a different split, and may have been trained on rows that are held out now"
        return None


class Rows(Frozen):
    """Row counts. Under cross-validation every row is trained on and held out."""

    total: int
    training: int
    holdout: int


class Slice(Scores):
    """The winner on the held-out rows with one value of one column.

    :param intervals: of the first metric; they hold for all slices at once.
    """

    column: str
    value: str
    rows: int
    intervals: dict[str, Interval] = Field(default_factory=dict)


class WorstSlice(Frozen):
    """The slice with the worst value of a metric."""

    column: str
    value: str
    rows: int
    metric: Finite


class ChampionScores(Scores):
    """The champion beside the challenger.

    :param compared: `paired` on the same held-out rows by the same resamples; `recorded` with the metrics that the
        champion had when it was registered, since it has seen rows that are held out now.
    :param seen: why it has seen them; null when it has not.
    :param common: how many rows of both were held out from the fold's model that predicted them; null where the
        champion itself predicted all held-out rows.
    :param unusable: why the champion cannot predict this data, or predicts another target; null when it can.
    :param refitted: what serves was fitted anew on more rows: the judged model is the one that is compared.
    :param intervals: like `calibration`, `residuals` and `slices` (by the metric that decides) of the same rows as
        its metrics; what was not measured then is not there.
    :param candidate: like `recipe`, `rows`, `features` and `importance` what its own evaluation says; nothing of an old
        one.
    :param unseen: how much data came, in the data's time, since a look at a replacement of it; null before the first.
    """

    seq: int
    version: int
    order_key: datetime
    compared: Literal["paired", "recorded"]
    seen: str | None = None
    common: int | None = None
    unusable: str | None = None
    refitted: bool = False
    differences: dict[str, Difference] = Field(default_factory=dict)
    intervals: dict[str, Interval] = Field(default_factory=dict)
    calibration: Calibration | None = None
    residuals: Residuals | None = None
    slices: list[Slice] = Field(default_factory=list)
    candidate: str | None = None
    recipe: str | None = None
    unseen: timedelta | None = None
    rows: Rows | None = None
    features: Features = Field(default_factory=dict)
    importance: Importances | None = None


class Optimism(Frozen):
    """By how much the winner looks too good in a metric, since the same rows chose it; 0 or more, also for a loss.

    :param candidates: of how many it is the best.
    """

    metric: str
    value: Finite
    method: Literal["bootstrap", "folds"]
    candidates: int


class HeldBack(Frozen):
    """The best candidate, which is not the challenger: another recipe than the champion's, and not proven better.

    :param verdicts: of the champion's gates.
    """

    candidate: str
    verdicts: list[Verdict]


class EvaluationReport(Document):
    """Everything that evaluate found out. The first metric decides.

    :param target: the column that is predicted; null of an older evaluation.
    :param features: what the winner is fitted on, in its order.
    :param confusion: of the winner; null for a regression, `residuals` for a classifier.
    """

    SCHEMA = 6

    task: Task
    target: str | None = None
    as_of: datetime
    metrics: list[str]
    classes: list[JsonValue] = Field(default_factory=list)
    features: Features = Field(default_factory=dict)
    split: SplitSignature
    folds: int
    rows: Rows
    candidates: dict[str, CandidateScores]
    lost: list[str] = Field(default_factory=list)
    winner: str
    intervals: dict[str, Interval]
    resampled: Resampled | None = Field(None, description="Behind every interval; null in an older evaluation.")
    block_errors: BlockErrors | None = Field(
        None, description="How much blocks of time vary; null where none or too few are drawn, and in an older one."
    )
    fold_intervals: dict[str, list[Interval]] = Field(
        default_factory=dict, description="Of the winner, by metric, on each fold's rows alone."
    )
    baseline: Scores
    over_baseline: dict[str, Difference] = Field(
        default_factory=dict,
        description="By how much the winner is better than the dummy; empty in an older evaluation.",
    )
    confusion: Confusion | None = None
    residuals: Residuals | None = None
    slices: list[Slice] = Field(default_factory=list)
    too_small: dict[str, int] = Field(default_factory=dict, description="By column: values with too few rows.")
    worst_slices: dict[str, WorstSlice] = Field(default_factory=dict)
    champion: ChampionScores | None = None
    held_back: HeldBack | None = Field(None, description="The candidate that lost to the champion's own recipe.")
    importance: Importances | None = None
    optimism: Optimism | None = None
    fairness: FairnessReport | None = None
    explanation: ExplanationReport | None = None
    latency: Latency | None = Field(None, description="Only in an older evaluation; it is now measured for the gates.")
    predictions: PredictionStats
    model_bytes: int
    lineage: str

    @property
    def challenger(self) -> CandidateScores:
        """The winner's metrics."""
        return self.candidates[self.winner]

    @property
    def intervals_by(self) -> str:
        """How intervals were made, as a sentence."""
        drawn = self.resampled or Resampled(units=self.rows.holdout)
        return f"Intervals are bootstrapped from the held-out rows, {drawn.words}."

    @property
    def shown(self) -> dict[str, float]:
        """What a run in MLflow shows besides the winner's metrics; bounded."""
        parts = (self.fairness, self.explanation)
        shown = {name: value for part in parts if part is not None for name, value in part.shown.items()}
        return shown if self.optimism is None else shown | {f"optimism.{self.optimism.metric}": self.optimism.value}


def training_id(models: Iterable[StepResult]) -> str:
    """Return what identifies a set of trained candidates: equal settings, data and code give an equal lineage."""
    return hashlib.sha256(json.dumps(sorted(model.key for model in models)).encode()).hexdigest()


def scores_of(measured: Mapping[str, Measured]) -> Scores:
    """Return measured metrics as they are stored."""
    return Scores(
        metrics={name: value for name, (value, _) in measured.items()},
        undefined={name: why for name, (_, why) in measured.items() if why is not None},
    )
