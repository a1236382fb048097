"""The winner beside the champion: on the same held-out rows where that is fair, else beside what was recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.evaluation.bootstrap import interval, quantiles, resample
from airflow_mlops_provider.evaluation.calibration import measure_calibration
from airflow_mlops_provider.evaluation.error_analysis import measure_residuals
from airflow_mlops_provider.evaluation.holdout import predict_holdout
from airflow_mlops_provider.evaluation.metrics import gain, measure_all
from airflow_mlops_provider.evaluation.report import (
    ChampionScores,
    Difference,
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
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.holdout import Holdout
    from airflow_mlops_provider.evaluation.metrics import Predictions
    from airflow_mlops_provider.evaluation.report import Interval, Scores
    from airflow_mlops_provider.job import Champion, Job
    from airflow_mlops_provider.modeling.splits import SplitPlan
    from airflow_mlops_provider.spec import Evaluation


@dataclass(frozen=True)
class Comparison:
    """The winner's resampled metrics, and the champion beside it."""

    intervals: dict[str, Interval]
    champion: ChampionScores | None


def compare_with_champion(
    metrics: Sequence[str],
    settings: Evaluation,
    job: Job,
    holdout: Holdout,
    challenger: Predictions,
    scores: Scores,
) -> Comparison:
    """Resample challenger and champion together.

    :param metrics: names; the first decides.
    :param scores: of the challenger.
    """
    champion, beside = _champion(metrics, settings, job, holdout)
    statistics = {("challenger", name): each for name, each in statistics_of(metrics, challenger).items()}
    if beside is not None:
        statistics |= {("champion", name): each for name, each in statistics_of(metrics, beside).items()}
    bootstrap = settings.bootstrap
    resampled = resample(statistics, challenger.rows, bootstrap.resamples, job.seed, challenger.groups)

    def intervals(whose: str, known: Scores) -> dict[str, Interval]:
        return {
            name: interval(resampled.get((whose, name)), bootstrap.confidence, known.undefined.get(name))
            for name in metrics
        }

    own = intervals("challenger", scores)
    if champion is None or champion.unusable is not None:
        return Comparison(own, champion)
    differences = {}
    for name in metrics:
        recorded = champion.metrics.get(name)
        theirs = resampled.get(("champion", name)) if champion.compared == "paired" else recorded
        differences[name] = _difference(
            name, scores.metrics[name], recorded, resampled.get(("challenger", name)), theirs
        )
    found: dict[str, Any] = {"differences": differences}
    if champion.compared == "paired":
        found["intervals"] = intervals("champion", champion)
    return Comparison(own, champion.model_copy(update=found))


def signature_of(plan: SplitPlan, seed: int) -> SplitSignature:
    """Return what decided which rows are held out."""
    keys = plan.columns.keys if plan.group is None else [plan.group]
    return SplitSignature(by=plan.by, seed=seed, holdout=plan.holdout, keys=keys, boundary=plan.boundary)


def _difference(name: str, own: float | None, theirs: float | None, mine: Any, others: Any) -> Difference:
    """Return the difference of one metric; `mine` and `others` are resampled values (or one recorded number)."""
    import numpy as np

    if own is None or theirs is None or mine is None or others is None:
        whose = "the challenger" if own is None else "the champion"
        return Difference(value=None, why=f"{name} of {whose} is undefined or was not recorded")
    found, why = quantiles(np.asarray(gain(name, mine, others)))
    return Difference(value=gain(name, own, theirs), quantiles=found, why=why)


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
