"""The live metric of a window: the champion, and the former champion, on the same rows once their labels are there.

What is drawn again and again is the same for both models (a paired bootstrap), so that a verdict is an interval and not
one number's luck: blocks of time and groups, as on the champion's holdout; of a window of few days rows, with the error
of days that the holdout has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.data.tables import table_info, table_rows
from airflow_mlops_provider.evaluation.custom_metrics import own_metrics
from airflow_mlops_provider.evaluation.metrics import broken, measure_all
from airflow_mlops_provider.evaluation.report import EvaluationReport, scores_of
from airflow_mlops_provider.exceptions import MLOpsError
from airflow_mlops_provider.job import Champion, Outcome
from airflow_mlops_provider.monitoring.allowance import allowed_fall
from airflow_mlops_provider.monitoring.estimated_performance import Unlabelled, estimate, evenly
from airflow_mlops_provider.monitoring.held_out_reference import read_reference
from airflow_mlops_provider.monitoring.live_answers import (
    comparable,
    plan_of,
    predict_with,
    predictions_from,
    spread,
    truth_of,
)
from airflow_mlops_provider.monitoring.live_metrics import measure_window
from airflow_mlops_provider.monitoring.live_report import LiveReport, LiveScores, against_former, against_holdout
from airflow_mlops_provider.results import text_within
from airflow_mlops_provider.spec import Estimated, Frozen, Live
from airflow_mlops_provider.spec.metrics import Metric, custom_among, label_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.metrics import Predictions
    from airflow_mlops_provider.job import Job
    from airflow_mlops_provider.monitoring.live_answers import LivePredictions

#: Raised when a window is measured otherwise than before, so that what was stored of it is measured again.
FORMAT = 6
LIBRARIES = ("sklearn", "numpy", "pandas", "scipy")

#: Of one sentence in the facts, in bytes.
_MAX_WORDS = 700


class Section(Frozen):
    """What is measured.

    :param metrics: names, and functions of the user's; the first decides unless `live.metric` names another.
    :param former: the version that was champion before; None when there is none to compare with.
    :param estimated: how metrics are estimated without labels; compared with what the labels say.
    """

    live: Live = Live()
    metrics: list[Metric]
    former: Champion | None = None
    estimated: Estimated | None = None

    @property
    def metric(self) -> str:
        """The metric that decides."""
        return self.live.metric or label_of(self.metrics[0])


def names(section: Section) -> list[str]:
    """Return the functions that the settings name."""
    return [one.function for one in custom_among(section.metrics)]


def run(section: Section, job: Job) -> Outcome:
    """Measure.

    :raises MLOpsError: when no champion is given.
    :raises ArtifactError: when a model or the window is missing from the store, or damaged.
    """
    if job.request.champion is None:
        raise MLOpsError(f"step 'live' of {job.request.pipeline!r} needs a champion", got="none", expected="a version")
    dataset = job.artifact("dataset", "dataset")
    task, rows = table_info(job.store, dataset).task, table_rows(job.store, dataset)
    empty = LiveReport(task=task, metric=section.metric, rows=rows)
    if rows < section.live.min_rows:
        why = f"{rows} labelled rows, {section.live.min_rows} are needed"
        report = empty.model_copy(update={"judged": False, "why": why})
    else:
        report = _measure(section, job, job.request.champion, empty)
    return Outcome({"live": job.store.add_document(report)}, _facts(report))


def _measure(section: Section, job: Job, champion: Champion, report: LiveReport) -> LiveReport:
    chosen = spread(report.rows)
    answers = [predict_with(job, champion, chosen, report.task)]
    if section.former is not None:
        answers.append(comparable(answers[0], predict_with(job, section.former, chosen, report.task)))
    usable = next((one for one in answers if one.scores is not None), None)
    truth, known = truth_of(job, report.task, chosen, usable)
    measured = _measured(job, champion)
    drawn = plan_of(job, measured, chosen[known])
    own = own_metrics(job, job.artifact("dataset", "dataset"), section.metrics, chosen[known])
    predictions = [predictions_from(report.task, one, truth, known, drawn.units, own) for one in answers]
    metrics = list(dict.fromkeys([section.metric, *map(label_of, section.metrics)]))
    scores = [_point_values(metrics, answer, one) for answer, one in zip(answers, predictions, strict=True)]
    holdout = _holdout(champion, measured, metrics)
    errors = None if measured is None else measured.block_errors
    found = measure_window(
        metrics,
        [one if each.unusable is None else None for one, each in zip(predictions, scores, strict=True)],
        drawn,
        decides=section.metric,
        errors=errors,
        holdout=holdout,
        confidence=section.live.confidence,
        seed=job.seed,
    )
    scores = [one.model_copy(update={"intervals": spans}) for one, spans in zip(scores, found.intervals, strict=True)]
    report = report.model_copy(
        update={
            "measured_rows": len(chosen),
            "unknown_labels": int((~known).sum()),
            "champion": scores[0],
            "former": scores[1] if len(scores) > 1 else None,
            "resampled": drawn.units.described,
            "blocks": drawn.blocks,
            "days_known": errors is not None and section.metric in errors.metrics,
            "since_holdout": found.since_holdout,
            "differences": found.differences,
            "comparison": found.comparison,
            "not_compared": found.why,
            "holdout": holdout,
            "allowed": _allowed(section, holdout.get(section.metric), measured),
        }
    )
    return _judged(section, _with_estimates(section, job, champion, answers[0], known, report))


# ---------------------------------------------------------------- metrics


def _measured(job: Job, champion: Champion) -> EvaluationReport | None:
    """Return the champion's evaluation; None of an older ledger entry."""
    if champion.evaluation is None:
        return None
    return job.store.read_document(champion.evaluation, EvaluationReport)


def _holdout(champion: Champion, measured: EvaluationReport | None, names: list[str]) -> dict[str, float | None]:
    """Return what evaluate measured on the holdout; of an older ledger entry, what was recorded there."""
    recorded: dict[str, float | None] = dict(champion.metrics)
    if measured is not None:
        recorded |= measured.challenger.metrics
    return {name: recorded.get(name) for name in names}


def _allowed(section: Section, holdout: float | None, measured: EvaluationReport | None) -> float | None:
    """Return how far the deciding metric may fall."""
    if holdout is None:
        return None
    dummy = None if measured is None else measured.baseline.metrics.get(section.metric)
    return allowed_fall(section.live, section.metric, holdout, dummy)


def _point_values(names: list[str], answer: LivePredictions, predictions: Predictions | None) -> LiveScores:
    if predictions is None:
        nothing: dict[str, float | None] = dict.fromkeys(names)
        return LiveScores(version=answer.version, metrics=nothing, unusable=answer.unusable)
    scores = scores_of(measure_all(names, predictions))
    unusable = broken(predictions) if predictions.rows else None
    return LiveScores(version=answer.version, unusable=unusable, **scores.model_dump())


def _with_estimates(
    section: Section, job: Job, champion: Champion, answer: LivePredictions, known: NDArray[Any], report: LiveReport
) -> LiveReport:
    """Set beside the metrics what would have been estimated of the same rows without their labels."""
    if section.estimated is None or answer.scores is None or report.task == "regression" or not known.any():
        return report
    reference, _ = read_reference(job.store, champion)
    own = {one.label for one in custom_among(section.metrics)}
    if reference is None or reference.unlabelled.classes != tuple(answer.classes) or report.champion is None:
        return report
    if section.metric in own:
        return report
    found = estimate(
        [name for name in report.holdout if name not in own],
        evenly(Unlabelled(report.task, reference.unlabelled.classes, answer.scores[known], answer.threshold)),
        reference,
        confidence=section.estimated.confidence,
        rows=int(known.sum()),
        holdout=report.holdout,
        seed=job.seed,
    )
    held = found[section.metric].holds(report.champion.metrics[section.metric])
    return report.model_copy(update={"estimates": found, "estimate_held": held})


# ---------------------------------------------------------------- verdicts


def _judged(section: Section, report: LiveReport) -> LiveReport:
    champion = report.champion
    if champion is None or (champion.unusable is None and champion.metrics[section.metric] is None):
        undefined = "" if champion is None else champion.undefined.get(section.metric, "")
        return report.model_copy(update={"judged": False, "why": f"{section.metric} is undefined: {undefined}"})
    decay = against_holdout(report, champion)
    beside = against_former(report, champion)
    return report.model_copy(
        update={
            "decayed": decay.bad,
            "against_holdout": decay.words,
            "cannot_predict": beside.bad,
            "against_former": beside.words,
        }
    )


def _facts(report: LiveReport) -> dict[str, Any]:
    name, champion, former = report.metric, report.champion, report.former
    span = None if champion is None else champion.intervals.get(name)
    difference = report.differences.get(name)
    return {
        "judged": report.judged,
        "why": _within(report.why),
        "metric": name,
        "rows": report.rows,
        "champion": None if champion is None else champion.metrics[name],
        "interval": None if span is None else [span.low, span.high],
        "former": None if former is None else former.metrics[name],
        "former_version": None if former is None else former.version,
        "difference": None if difference is None or difference.low is None else [difference.low, difference.high],
        "holdout": report.holdout.get(name),
        "allowed": report.allowed,
        "decayed": report.decayed,
        "cannot_predict": report.cannot_predict,
        "comparison": None if report.comparison is None else report.comparison.model_dump(mode="json"),
        "not_compared": _within(report.not_compared),
        **_estimate_facts(report),
        "against_holdout": _within(report.against_holdout),
        "against_former": _within(report.against_former),
    }


def _estimate_facts(report: LiveReport) -> dict[str, Any]:
    if report.estimate_held is None or (found := report.estimates.get(report.metric)) is None:
        return {}
    return {
        "estimate": found.value,
        "estimate_interval": [found.low, found.high],
        "estimate_held": report.estimate_held,
    }


def _within(words: str | None) -> str | None:
    return None if words is None else text_within(words, _MAX_WORDS)
