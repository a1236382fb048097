"""Measures every candidate on the held-out rows, picks the winner, and sets it beside the champion.

Losers are judged by their stored predictions; only the winner and the champion are ever loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from airflow_mlops_provider.evaluation.against_champion import compare, signature_of
from airflow_mlops_provider.evaluation.calibration import measure_calibration
from airflow_mlops_provider.evaluation.error_analysis import measure_confusion, measure_residuals
from airflow_mlops_provider.evaluation.evaluation_page import evaluation_page
from airflow_mlops_provider.evaluation.explanation import explain
from airflow_mlops_provider.evaluation.fairness import measure_fairness
from airflow_mlops_provider.evaluation.folds import fold_intervals, fold_scores
from airflow_mlops_provider.evaluation.holdout import read_holdout, sample_frame, stored_predictions
from airflow_mlops_provider.evaluation.metrics import gain, measure_all
from airflow_mlops_provider.evaluation.optimism import optimism_of
from airflow_mlops_provider.evaluation.probes import measure_importance, prediction_stats
from airflow_mlops_provider.evaluation.reference import write_reference
from airflow_mlops_provider.evaluation.report import CandidateScores, EvaluationReport, Rows, scores_of, training_id
from airflow_mlops_provider.evaluation.slices import measure_slices, worst_slices
from airflow_mlops_provider.exceptions import MLOpsError, shorten
from airflow_mlops_provider.job import Outcome
from airflow_mlops_provider.modeling.model_file import load_model
from airflow_mlops_provider.spec import ChampionGate, Evaluation, Frozen
from airflow_mlops_provider.spec.metrics import Metric, custom_among, label_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.holdout import Holdout
    from airflow_mlops_provider.evaluation.metrics import Predictions
    from airflow_mlops_provider.evaluation.probe_report import Importances
    from airflow_mlops_provider.evaluation.report import Scores, WorstSlice
    from airflow_mlops_provider.job import Job
    from airflow_mlops_provider.results import StepResult

#: Raised when the stored evaluation holds more than before, or is measured otherwise: an older one is made again.
FORMAT = 12
LIBRARIES = ("sklearn", "numpy", "pandas", "scipy", "fairlearn", "shap")

_SHOWN_LOST = 20


class Section(Frozen):
    """What is measured.

    :param metrics: names, and functions of the user's; the first decides.
    :param candidates: every candidate that was requested, so that a lost one is noticed.
    :param gates: those that a replacement of the champion has to pass, to be the winner before its own recipe.
    :param winner: who was chosen before, to be measured again; the best is chosen where it is None.
    """

    evaluation: Evaluation = Evaluation()
    metrics: list[Metric] = Field(min_length=1)
    candidates: list[str]
    gates: list[ChampionGate] = []
    winner: str | None = None

    @property
    def labels(self) -> list[str]:
        """The names of the metrics; the first decides."""
        return [label_of(one) for one in self.metrics]


def names(section: Section) -> list[str]:
    """Return the functions that the settings name."""
    return [one.function for one in custom_among(section.metrics)]


def run(section: Section, job: Job) -> Outcome:
    """Judge the candidates.

    :raises MLOpsError: when there is no candidate, or the results given do not belong together.
    """
    results = _candidates(job)
    holdout = read_holdout(job, section.metrics)
    predictions = {name: stored_predictions(holdout, name, result) for name, result in results.items()}
    scores = {name: _candidate_scores(section, holdout, predictions[name], result) for name, result in results.items()}
    best = section.winner or pick_winner(section.labels[0], scores)
    dummy = holdout.predictions(baseline_scores(holdout))
    comparison = compare(
        section.labels,
        section.evaluation,
        job,
        holdout,
        best=best,
        predictions=predictions,
        scores=scores,
        baseline=dummy,
        gates=section.gates,
        chosen=section.winner is not None,
    )
    winner = comparison.winner
    slices, too_small = measure_slices(section.labels, section.evaluation, holdout, predictions[winner], job.seed)
    model = results[winner].artifacts["model"]
    pipeline = load_model(job.store, model, job.allow_list)
    worst, columns = worst_slices(section.labels, slices), holdout.plan.columns
    report = EvaluationReport(
        task=holdout.plan.task,
        target=columns.target,
        as_of=job.as_of,
        metrics=section.labels,
        classes=list(holdout.plan.classes or ()),
        features=dict.fromkeys(columns.numeric, "numeric") | dict.fromkeys(columns.categorical, "categorical"),
        split=signature_of(holdout.plan, job.seed),
        folds=holdout.plan.folds,
        rows=Rows(total=len(holdout.fold), training=len(holdout.training_target), holdout=len(holdout.rows)),
        candidates=scores,
        lost=sorted(set(section.candidates) - set(results)),
        winner=winner,
        intervals=comparison.intervals,
        resampled=predictions[winner].drawn.described,
        block_errors=comparison.block_errors,
        fold_intervals=fold_intervals(
            section.labels, holdout, predictions[winner], section.evaluation.bootstrap, job.seed
        ),
        baseline=scores_of(measure_all(section.labels, dummy)),
        over_baseline=comparison.over_baseline,
        confusion=measure_confusion(predictions[winner]),
        residuals=measure_residuals(predictions[winner]),
        slices=slices,
        too_small=too_small,
        worst_slices=worst,
        champion=comparison.champion,
        held_back=comparison.held_back,
        importance=_importance(section, job, holdout, predictions[winner], pipeline),
        optimism=None
        if comparison.held_back is not None
        else optimism_of(
            section.labels[0], winner, scores, predictions, section.evaluation.bootstrap.resamples, job.seed
        ),
        fairness=measure_fairness(section.labels, section.evaluation, holdout, predictions[winner], job.seed),
        explanation=explain(
            section.evaluation.explanation,
            holdout,
            predictions[winner],
            pipeline,
            metric=section.labels[0],
            worst=worst.get(section.labels[0]),
            seed=job.seed,
        ),
        predictions=prediction_stats(predictions[winner], holdout.training_target),
        model_bytes=model.size,
        lineage=training_id(results.values()),
    )
    artifacts = {
        "evaluation": job.store.add_document(report),
        "report": job.store.add_bytes(evaluation_page(report, job.request.pipeline).encode(), ".html"),
        "model": model,
        "model_info": results[winner].artifacts["model_info"],
        "reference": write_reference(holdout, predictions[winner]),
    }
    return Outcome(artifacts, _facts(report))


def pick_winner(metric: str, scores: Mapping[str, Scores]) -> str:
    """Return the best candidate; a tie goes to the first by name, and an undefined metric loses to any number."""

    def rank(name: str) -> tuple[bool, float, str]:
        value = scores[name].metrics[metric]
        return (True, 0.0, name) if value is None else (False, -gain(metric, value, 0.0), name)

    return min(scores, key=rank)


def baseline_scores(holdout: Holdout) -> NDArray[Any]:
    """Return what a dummy says that knows only the target of the rows that train.

    Class shares, or the mean, as `DummyClassifier(strategy="prior")` and `DummyRegressor()` have it; under
    cross-validation each fold's dummy knows what trains for that fold.
    """
    import numpy as np

    held_out_in = holdout.fold[holdout.rows]
    size = len(holdout.plan.classes or ())
    scores = np.empty((len(holdout.rows), size) if size else len(holdout.rows))
    for fold in range(1, holdout.plan.folds + 1):
        known = holdout.target[holdout.trained_on(fold)]
        scores[held_out_in == fold] = np.bincount(known, minlength=size) / len(known) if size else known.mean()
    return scores


def _candidates(job: Job) -> dict[str, StepResult]:
    results = {str(result.facts["candidate"]): result for result in job.results("models")}
    if not results:
        raise MLOpsError(
            f"step 'evaluate' of {job.request.pipeline!r} received no trained candidate",
            got="no results in the role 'models'",
            expected="the result of each train task that succeeded",
        )
    return dict(sorted(results.items()))


def _candidate_scores(
    section: Section, holdout: Holdout, predictions: Predictions, result: StepResult
) -> CandidateScores:
    whole = scores_of(measure_all(section.labels, predictions))
    folds = fold_scores(section.labels, holdout, predictions, section.evaluation.bootstrap.confidence)
    return CandidateScores(
        metrics=whole.metrics,
        undefined=whole.undefined,
        recipe=result.facts.get("recipe"),
        calibration=measure_calibration(predictions),
        threshold=result.facts.get("threshold"),
        **dict(folds),
    )


# ---------------------------------------------------------------- the winner


def _importance(
    section: Section, job: Job, holdout: Holdout, predictions: Predictions, pipeline: Any
) -> Importances | None:
    import numpy as np

    if (settings := section.evaluation.importance) is None:
        return None
    size = min(len(holdout.rows), settings.rows)
    chosen = np.sort(np.random.default_rng(job.seed).choice(len(holdout.rows), size=size, replace=False))
    frame = sample_frame(holdout, holdout.rows[chosen])
    found = measure_importance(pipeline, frame, predictions.take(chosen), section.labels[0], settings, job.seed)
    return found.model_copy(update={"in_sample": holdout.cross_validated})


def _facts(report: EvaluationReport) -> dict[str, Any]:
    first = report.metrics[0]
    span, worst = report.intervals[first], report.worst_slices.get(first)
    mean = report.challenger.fold_means.get(first)
    return {
        **({} if mean is None else {"folds": mean.model_dump(exclude={"why"})}),
        "winner": report.winner,
        "metrics": {name: value for name, value in report.challenger.metrics.items() if value is not None},
        "interval": [span.low, span.high],
        "calibration_error": None if (own := report.challenger.calibration) is None else own.error,
        "threshold": report.challenger.threshold,
        "baseline": report.baseline.metrics[first],
        "champion": None if report.champion is None else report.champion.version,
        "lost": report.lost[:_SHOWN_LOST],
        "lost_count": len(report.lost),
        "lineage": report.lineage,
        "worst_slice": None if worst is None else _slice_fact(worst),
        "rows": report.rows.model_dump(),
    }


def _slice_fact(worst: WorstSlice) -> dict[str, Any]:
    return {"column": shorten(worst.column, 60), "value": shorten(worst.value, 60), "metric": worst.metric}
