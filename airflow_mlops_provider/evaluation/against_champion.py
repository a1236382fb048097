"""The winner beside a dummy and the champion: on the same held-out rows where that is fair, else as was recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.evaluation.calibration import measure_calibration
from airflow_mlops_provider.evaluation.champion_gates import held_against, is_refresh
from airflow_mlops_provider.evaluation.error_analysis import measure_residuals
from airflow_mlops_provider.evaluation.holdout import predict_holdout
from airflow_mlops_provider.evaluation.metrics import measure_all
from airflow_mlops_provider.evaluation.out_of_fold import out_of_fold
from airflow_mlops_provider.evaluation.report import (
    ChampionScores,
    EvaluationReport,
    HeldBack,
    SplitSignature,
    scores_of,
)
from airflow_mlops_provider.evaluation.resampled_together import DUMMY, resampled_together
from airflow_mlops_provider.evaluation.slices import measure_slices
from airflow_mlops_provider.exceptions import ArtifactError, DataError, ModelError, shorten
from airflow_mlops_provider.modeling.model_file import load_model
from airflow_mlops_provider.modeling.threshold import threshold_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.holdout import Holdout
    from airflow_mlops_provider.evaluation.metrics import Predictions
    from airflow_mlops_provider.evaluation.report import CandidateScores
    from airflow_mlops_provider.evaluation.resampled_together import ResampledComparison, Together
    from airflow_mlops_provider.job import Champion, Job
    from airflow_mlops_provider.modeling.splits import SplitPlan
    from airflow_mlops_provider.spec import ChampionGate, Evaluation


def compare(
    metrics: Sequence[str],
    settings: Evaluation,
    job: Job,
    holdout: Holdout,
    *,
    best: str,
    predictions: Mapping[str, Predictions],
    scores: Mapping[str, CandidateScores],
    baseline: Predictions,
    gates: Sequence[ChampionGate] = (),
    chosen: bool = False,
) -> ResampledComparison:
    """Resample all candidates, the dummy and the champion together, and choose the winner.

    The winner is the best candidate, unless it has another recipe than the champion's, is not proven better, and the
    champion's own recipe is among the candidates: then the champion's recipe goes on, on newer data.

    :param metrics: names; the first decides.
    :param predictions: each candidate's predictions for the held-out rows.
    :param scores: of each candidate.
    :param baseline: the dummy's predictions for them.
    :param gates: that a replacement has to pass; the best candidate is the winner where there are none, or one of them
        knows no refresh.
    :param chosen: `best` was chosen before, and is the winner.
    """
    champion, beside, common = _champion(metrics, settings, job, holdout)
    own = next((name for name, one in scores.items() if is_refresh(one, champion)), None)
    settings_of_all: Any = {"metrics": metrics, "scores": scores, "bootstrap": settings.bootstrap, "seed": job.seed}
    besides = {name: predictions[name] for name in (own,) if name is not None}
    together = resampled_together(
        **settings_of_all,
        predictions=predictions,
        closest_to=best,
        besides=besides | {DUMMY: baseline},
        champion=beside if common is None else None,
    )
    paired = together
    if common is not None:
        paired = resampled_together(
            **settings_of_all,
            predictions={name: one.take(common) for name, one in predictions.items()},
            closest_to=best,
            besides={name: one.take(common) for name, one in besides.items()},
            champion=beside,
        )
    return choose(together, champion, best, own, gates, chosen=chosen, paired=paired)


def choose(
    together: Together,
    champion: ChampionScores | None,
    best: str,
    own: str | None,
    gates: Sequence[ChampionGate],
    *,
    chosen: bool = False,
    paired: Together | None = None,
) -> ResampledComparison:
    """Return the winner beside the champion; parameters as `compare`.

    :param own: the candidate of the champion's recipe, where there is one.
    :param paired: on the rows that the champion is known on, where those are not all.
    """
    if champion is None or champion.unusable is not None:
        return together.of(best, champion)
    paired = paired or together
    champion = paired.measured(champion)
    refreshed = bool(gates) and all(gate.refresh for gate in gates)
    if own is None or own == best or chosen or not refreshed:
        return together.of(best, paired.against(champion, best, alone=refreshed and own == best))
    against = paired.against(champion, best)
    verdicts = [held_against(gate, together.metrics[0], together.scores[best], against) for gate in gates]
    if all(verdict.passed for verdict in verdicts):
        return together.of(best, against)
    held_back = HeldBack(candidate=best, verdicts=verdicts)
    return together.of(own, paired.against(champion, own, alone=True), held_back)


def signature_of(plan: SplitPlan, seed: int) -> SplitSignature:
    """Return what decided which rows are held out."""
    keys = plan.columns.keys if plan.group is None else [plan.group]
    return SplitSignature(by=plan.by, seed=seed, holdout=plan.holdout, keys=keys, boundary=plan.boundary)


def _champion(
    metrics: Sequence[str], settings: Evaluation, job: Job, holdout: Holdout
) -> tuple[ChampionScores | None, Predictions | None, NDArray[Any] | None]:
    """Return the champion's scores, its predictions where these are fair, and for which rows if not for all."""
    champion = job.request.champion
    if champion is None:
        return None, None, None
    known: Any = {"seq": champion.seq, "version": champion.version, "order_key": champion.order_key}
    known |= {"unseen": champion.unseen}
    known |= {"refitted": champion.judged is not None}
    now, then = signature_of(holdout.plan, job.seed), _measured(job, champion)
    if then is not None:
        known |= {"candidate": then.winner, "recipe": then.challenger.recipe, "rows": then.rows}
        known |= {"features": then.features, "importance": then.importance}
    if then is not None and (other := _of_another_kind(then, holdout.plan)) is not None:
        return _unusable(metrics, known, other), None, None
    if (seen := (now if then is None else then.split).trained_on_holdout_of(now)) is not None:
        if then is not None and (folds := out_of_fold(champion, then, holdout)) is not None:
            there = holdout.predictions_of(folds.rows, folds.scores, folds.threshold)
            known |= {"common": int(folds.rows.sum()), **_measures(metrics, there)}
            return ChampionScores(**known, compared="paired"), there, folds.rows
        recorded = {name: champion.metrics.get(name) for name in metrics}
        missing = {name: "not recorded" for name, value in recorded.items() if value is None}
        known |= {"compared": "recorded", "seen": seen, "metrics": recorded, "undefined": missing}
        return ChampionScores(**known, **_recorded(then, metrics)), None, None
    try:
        pipeline = _load(job, champion)
        predictions = holdout.predictions(_ask(holdout, pipeline), threshold_of(pipeline))
    except (DataError, ModelError) as error:
        return _unusable(metrics, known, shorten(str(error))), None, None
    slices = measure_slices(metrics[:1], settings, holdout, predictions)[0]
    return (
        ChampionScores(**known, compared="paired", **_measures(metrics, predictions), slices=slices),
        predictions,
        None,
    )


def _measures(metrics: Sequence[str], predictions: Predictions) -> dict[str, Any]:
    """Return what is measured of a champion's predictions."""
    found = scores_of(measure_all(metrics, predictions)).model_dump()
    return {**found, "calibration": measure_calibration(predictions), "residuals": measure_residuals(predictions)}


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
    """Return the champion as it was judged: what serves may be fitted on the rows that are held out now.

    :raises ModelError: its file is lost, or cannot be loaded.
    :raises ArtifactError: its file was lost since it was looked up.
    """
    judged = champion.judged or champion.model
    if ("model" if champion.judged is None else "judged model") in champion.lost:
        raise ModelError("its model is gone from the artifact store and from MLflow")
    try:
        return load_model(job.store, judged, job.allow_list)
    except ArtifactError as error:
        raise ArtifactError(
            f"the model of the champion, version {champion.version}, is lost: {error.what}",
            hint="Clear this run from its task `champion` on, which restores what it can.",
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
        raise ModelError("the model has different classes than the data", got=known, expected=classes)
    return predict_holdout(holdout, pipeline)
