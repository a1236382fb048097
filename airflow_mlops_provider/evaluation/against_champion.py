"""The winner beside a dummy and the champion: on the same held-out rows where that is fair, else as was recorded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.evaluation.bootstrap import interval, resample
from airflow_mlops_provider.evaluation.calibration import measure_calibration
from airflow_mlops_provider.evaluation.differences import difference_of
from airflow_mlops_provider.evaluation.error_analysis import measure_residuals
from airflow_mlops_provider.evaluation.holdout import predict_holdout
from airflow_mlops_provider.evaluation.metrics import gain, measure_all, too_rare
from airflow_mlops_provider.evaluation.report import (
    ChampionScores,
    EvaluationReport,
    SplitSignature,
    scores_of,
)
from airflow_mlops_provider.evaluation.resampled_metrics import statistics_of
from airflow_mlops_provider.evaluation.slices import measure_slices
from airflow_mlops_provider.exceptions import ArtifactError, DataError, ModelError, shorten
from airflow_mlops_provider.modeling.model_file import load_model
from airflow_mlops_provider.modeling.threshold import threshold_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.bootstrap import Draws
    from airflow_mlops_provider.evaluation.holdout import Holdout
    from airflow_mlops_provider.evaluation.metrics import Predictions
    from airflow_mlops_provider.evaluation.report import Difference, Interval, Scores
    from airflow_mlops_provider.job import Champion, Job
    from airflow_mlops_provider.modeling.splits import SplitPlan
    from airflow_mlops_provider.spec import Evaluation


#: Candidates that are resampled: the others are never the best on a resample.
_MOST = 10
#: No candidate is named by a number.
_DUMMY, _CHAMPION = 0, 1


@dataclass(frozen=True)
class Comparison:
    """The winner's resampled metrics, beside those of a dummy and of the champion.

    :param over_baseline: by how much it is better than the dummy.
    """

    intervals: dict[str, Interval]
    over_baseline: dict[str, Difference]
    champion: ChampionScores | None


def compare(
    metrics: Sequence[str],
    settings: Evaluation,
    job: Job,
    holdout: Holdout,
    *,
    winner: str,
    said: Mapping[str, Predictions],
    scores: Mapping[str, Scores],
    baseline: Predictions,
) -> Comparison:
    """Resample all candidates, the dummy and the champion together.

    :param metrics: names; the first decides.
    :param said: what each candidate said of the held-out rows.
    :param scores: of each candidate.
    :param baseline: what the dummy said of them.
    """
    champion, beside = _champion(metrics, settings, job, holdout)
    judged: dict[str | int, Predictions] = dict(_closest(metrics[0], winner, said, scores)) | {_DUMMY: baseline}
    if beside is not None:
        judged[_CHAMPION] = beside
    statistics = {
        (whose, name): each for whose, one in judged.items() for name, each in statistics_of(metrics, one).items()
    }
    bootstrap = settings.bootstrap
    drawn = resample(statistics, said[winner].drawn, bootstrap.resamples, job.seed)

    def intervals(whose: str | int, known: Scores) -> dict[str, Interval]:
        return {
            name: interval(
                drawn.get((whose, name)),
                bootstrap.confidence,
                known.undefined.get(name) or too_rare(name, said[winner]),
            )
            for name in metrics
        }

    def differences(others: Mapping[str, Draws | float | None], their: str) -> dict[str, Difference]:
        own = {name: {whose: drawn.get((whose, name)) for whose in said} for name in metrics}
        return {
            name: difference_of(name, own[name], winner, others[name], their, too_rare(name, said[winner]))
            for name in metrics
        }

    over = differences({name: drawn.get((_DUMMY, name)) for name in metrics}, "the dummy")
    own = intervals(winner, scores[winner])
    if champion is None or champion.unusable is not None:
        return Comparison(own, over, champion)
    paired = champion.compared == "paired"
    theirs = {name: drawn.get((_CHAMPION, name)) if paired else champion.metrics.get(name) for name in metrics}
    found: dict[str, Any] = {"differences": differences(theirs, "the champion")}
    if paired:
        found["intervals"] = intervals(_CHAMPION, champion)
    return Comparison(own, over, champion.model_copy(update=found))


def _closest(
    metric: str, winner: str, said: Mapping[str, Predictions], scores: Mapping[str, Scores]
) -> dict[str, Predictions]:
    """Return what the winner said, and those that came closest to it."""

    def rank(name: str) -> float:
        value = scores[name].metrics[metric]
        return math.inf if value is None else -gain(metric, value, 0.0)

    return {name: said[name] for name in [winner, *sorted((one for one in said if one != winner), key=rank)][:_MOST]}


def signature_of(plan: SplitPlan, seed: int) -> SplitSignature:
    """Return what decided which rows are held out."""
    keys = plan.columns.keys if plan.group is None else [plan.group]
    return SplitSignature(by=plan.by, seed=seed, holdout=plan.holdout, keys=keys, boundary=plan.boundary)


def _champion(
    metrics: Sequence[str], settings: Evaluation, job: Job, holdout: Holdout
) -> tuple[ChampionScores | None, Predictions | None]:
    """Return the champion's scores, and its predictions where it can be asked fairly."""
    champion = job.request.champion
    if champion is None:
        return None, None
    known: Any = {"seq": champion.seq, "version": champion.version, "order_key": champion.order_key}
    now, then = signature_of(holdout.plan, job.seed), _measured(job, champion)
    if then is not None:
        known |= {"candidate": then.winner, "rows": then.rows, "features": then.features}
        known |= {"importance": then.importance}
    if then is not None and (other := _of_another_kind(then, holdout.plan)) is not None:
        return _unusable(metrics, known, other), None
    if (seen := (now if then is None else then.split).trained_on_holdout_of(now)) is not None:
        recorded = {name: champion.metrics.get(name) for name in metrics}
        missing = {name: "not recorded" for name, value in recorded.items() if value is None}
        known |= {"compared": "recorded", "seen": seen, "metrics": recorded, "undefined": missing}
        return ChampionScores(**known, **_recorded(then, metrics)), None
    try:
        pipeline = _load(job, champion)
        said = holdout.predictions(_ask(holdout, pipeline), threshold_of(pipeline))
    except (DataError, ModelError) as error:
        return _unusable(metrics, known, shorten(str(error))), None
    scores = scores_of(measure_all(metrics, said))
    found = ChampionScores(
        **known,
        compared="paired",
        **scores.model_dump(),
        calibration=measure_calibration(said),
        residuals=measure_residuals(said),
        slices=measure_slices(metrics[:1], settings, holdout, said)[0],
    )
    return found, said


def _unusable(metrics: Sequence[str], known: dict[str, Any], why: str) -> ChampionScores:
    return ChampionScores(**known, compared="paired", metrics=dict.fromkeys(metrics), unusable=why)


def _of_another_kind(then: EvaluationReport, plan: SplitPlan) -> str | None:
    """Return why a champion's figures mean something else than those of this split; None when they do not."""
    if then.task != plan.task:
        return f"it is a {then.task} model, and the pipeline's task is {plan.task}"
    if then.target is not None and then.target != plan.columns.target:
        return f"it predicts {then.target!r}, and the pipeline's target is {plan.columns.target!r}"
    return None


def _load(job: Job, champion: Champion) -> Any:
    """Return the champion.

    :raises ModelError: its file is lost, or cannot be loaded.
    :raises ArtifactError: its file was lost since it was looked up.
    """
    if "model" in champion.lost:
        raise ModelError("its model is gone from the artifact store and from MLflow")
    try:
        return load_model(job.store, champion.model, job.allow_list)
    except ArtifactError as error:
        raise ArtifactError(
            f"the model of the champion, version {champion.version}, is lost: {error.what}",
            hint="Clear this run from its task `champion` on, which puts back what can be put back.",
        ) from error


def _measured(job: Job, champion: Champion) -> EvaluationReport | None:
    """Return what was measured of the champion on its own holdout; None of an old ledger entry."""
    if champion.evaluation is None:
        return None
    return job.store.read_document(champion.evaluation, EvaluationReport)


def _recorded(then: EvaluationReport | None, metrics: Sequence[str]) -> dict[str, Any]:
    """Return what was measured of the champion on its own holdout, besides its metrics."""
    if then is None:
        return {}
    decides = metrics[0]
    return {
        "intervals": {name: span for name, span in then.intervals.items() if name in metrics},
        "calibration": then.challenger.calibration,
        "residuals": then.residuals,
        "slices": [
            one.model_copy(update={"metrics": {decides: one.metrics[decides]}, "undefined": {}})
            for one in then.slices
            if decides in one.metrics
        ],
    }


def _ask(holdout: Holdout, pipeline: Any) -> NDArray[Any]:
    """Return the champion's predictions.

    :raises ModelError: when it was made for another task or other classes.
    """
    classes = list(holdout.plan.classes or ())
    known = list(getattr(pipeline, "classes_", ()))
    if known != classes:
        raise ModelError("the model knows other classes than the data has", got=known, expected=classes)
    return predict_holdout(holdout, pipeline)
