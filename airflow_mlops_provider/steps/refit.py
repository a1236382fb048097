"""Fits the candidate that the gates let pass on all rows, the held-out ones too: that model serves.

The judged model is evidence: of the newest rows, those that a model needs most, it saw none. What it settled on rows of
its own is copied. The refitted model cannot be judged once more, for there is no row that it has not seen: what is
checked is that it is no broken one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.as_of import as_of_text, in_utc
from airflow_mlops_provider.data.tables import read_table, table_info
from airflow_mlops_provider.evaluation.bootstrap import resample
from airflow_mlops_provider.evaluation.champion_gates import span
from airflow_mlops_provider.evaluation.differences import difference_of
from airflow_mlops_provider.evaluation.holdout import predict_holdout, predict_rows, read_holdout, stored_predictions
from airflow_mlops_provider.evaluation.metrics import measure, too_rare
from airflow_mlops_provider.evaluation.reference import reference_rows, write_reference
from airflow_mlops_provider.evaluation.resampled_metrics import statistics_of
from airflow_mlops_provider.job import Outcome
from airflow_mlops_provider.modeling.estimators import build_pipeline
from airflow_mlops_provider.modeling.fitted import Fitted, store_model
from airflow_mlops_provider.modeling.fitting import libraries_of, named, names_of, one_thread_each, read_rows
from airflow_mlops_provider.modeling.model_file import ModelInfo, load_model
from airflow_mlops_provider.modeling.refit_report import Beside, RefitReport
from airflow_mlops_provider.modeling.refitting import keep_rounds, layers_of, moved, resettled
from airflow_mlops_provider.modeling.splits import StoredSplit, read_split
from airflow_mlops_provider.modeling.threshold import threshold_of
from airflow_mlops_provider.results import Failure
from airflow_mlops_provider.search.report import SearchReport
from airflow_mlops_provider.spec import Bootstrap, Candidate, Frozen, Refit
from airflow_mlops_provider.spec.metrics import Metric, custom_among, label_of
from airflow_mlops_provider.spec.search import with_values

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_mlops_provider.evaluation.metrics import Predictions
    from airflow_mlops_provider.job import Job
    from airflow_mlops_provider.results import ArtifactRef

#: Raised when the same candidate is fitted or checked otherwise than before.
FORMAT = 2
LIBRARIES = ("numpy", "pandas", "pyarrow", "scipy", "sklearn", "skops")

_MEGABYTE = 1e6


class Section(Frozen):
    """The candidate that the gates let pass.

    :param refit: the section `training.refit` of a pipeline file.
    :param metric: the one that decides.
    :param max_mb: what a gate `model_size` allows; None without one.
    """

    name: str
    candidate: Candidate
    metric: Metric
    refit: Refit = "all"
    bootstrap: Bootstrap = Bootstrap()
    max_mb: float | None = None


def names(section: Section) -> list[str]:
    """Return the dotted names of the estimator, of every estimator in its parameters, and of the metric's function."""
    return [*names_of(section.candidate), *(one.function for one in custom_among([section.metric]))]


def libraries(section: Section) -> tuple[str, ...]:
    """Return the libraries whose versions decide the result."""
    return libraries_of(section.candidate, LIBRARIES)


def run(section: Section, job: Job) -> Outcome:
    """Store what serves as the artifacts `model` and `model_info`, and what was done as `refit`.

    :raises SpecError: when the estimator or a parameter of it cannot be used.
    :raises ModelError: when fitting fails, or the fitted model cannot be stored.
    """
    split = read_split(job.store, job.artifact("split", "split"), job.artifact("split", "assignment"))
    if (why := _nothing_to_do(section, split)) is not None:
        return _unchanged(section, job, split, why)
    pipeline, fitted = _fit(section, job, split)
    info, model = store_model(job.store, job.allow_list, fitted)
    beside, wrong = _compare(section, job, pipeline)
    if section.max_mb is not None and model.size > section.max_mb * _MEGABYTE:
        wrong = _Unfit("is too large", f"{model.size / _MEGABYTE:.4g} MB", f"at most {section.max_mb:g} MB")
    seen = _Seen.of(job, split)
    report = RefitReport(
        candidate=section.name,
        refitted=True,
        reason=f"refitted on all {seen.rows:,} rows, {seen.rows - seen.judged_rows:,} more than the judged model",
        model=model,
        model_info=job.store.add_document(info),
        judged=job.artifact("models", "model"),
        **vars(seen),
        beside=beside,
        reference=_reference(section, job, pipeline) if wrong is None else None,
    )
    return _outcome(job, report, info, None if wrong is None else wrong.failure(section))


def _nothing_to_do(section: Section, split: StoredSplit) -> str | None:
    if section.refit == "none":
        return "the judged model serves: training.refit is none"
    if split.plan.by == "cross_validation":
        return "the judged model serves: after a cross-validation it is fitted on all rows already"
    return None


def _fit(section: Section, job: Job, split: StoredSplit) -> tuple[Any, Fitted]:
    """Return the Pipeline that serves, unstored."""
    frame, target = read_rows(job.store, job.artifact("dataset", "dataset"), split.plan)
    candidate, plan = _chosen(section.candidate, job), split.plan
    with one_thread_each(names(section), job.allow_list):
        judged = layers_of(load_model(job.store, job.artifact("models", "model"), job.allow_list), section.candidate)
        pipeline = build_pipeline(
            candidate,
            plan.columns,
            task=plan.task,
            seed=job.seed,
            allow_list=job.allow_list,
            classes=plan.classes or (),
        )
        keep_rounds(pipeline.named_steps["model"], judged.base)
        with named(section.name, candidate.estimator, "be fitted on all rows"):
            pipeline = resettled(pipeline.fit(frame, target), judged, plan.classes or [])
    return pipeline, Fitted(section.name, section.candidate, plan, frame, pipeline)


def _chosen(candidate: Candidate, job: Job) -> Candidate:
    """Return the candidate with the parameters that the search of the judged model has found."""
    if candidate.search is None:
        return candidate
    found = job.store.read_document(job.artifact("models", "search"), SearchReport)
    return candidate.model_copy(update={"params": with_values(candidate.params, found.params)})


# ---------------------------------------------------------------- what it saw


@dataclass(frozen=True)
class _Seen:
    """What the refitted and the judged model saw, as `RefitReport` has it."""

    rows: int
    judged_rows: int
    trained_to: datetime | None
    judged_to: datetime | None

    @classmethod
    def of(cls, job: Job, split: StoredSplit) -> _Seen:
        trained = split.scopes["final"]
        every = trained | True
        dataset = job.artifact("dataset", "dataset")
        counts = int(every.sum()), int(trained.sum())
        name = table_info(job.store, dataset).columns.timestamp
        if name is None:
            return cls(*counts, None, None)
        moments = read_table(job.store, dataset, [name])[name]
        return cls(*counts, *(in_utc(moments[rows].max().to_pydatetime()) for rows in (every, trained)))


def _unchanged(section: Section, job: Job, split: StoredSplit, why: str) -> Outcome:
    seen, judged, info = _Seen.of(job, split), job.artifact("models", "model"), job.artifact("models", "model_info")
    report = RefitReport(
        candidate=section.name,
        refitted=False,
        reason=why,
        model=judged,
        model_info=info,
        judged=judged,
        rows=seen.judged_rows,
        judged_rows=seen.judged_rows,
        trained_to=seen.judged_to,
        judged_to=seen.judged_to,
    )
    return _outcome(job, report, job.store.read_document(info, ModelInfo))


# ---------------------------------------------------------------- whether it is broken


@dataclass(frozen=True)
class _Unfit:
    """What is wrong with a refitted model."""

    what: str
    got: str
    expected: str

    def failure(self, section: Section) -> Failure:
        """Return the bad verdict."""
        return Failure(
            what=f"candidate {section.name!r}, fitted on all rows, {self.what}",
            got=self.got,
            expected=self.expected,
            hint="The champion stays. Check the newest rows, or set training.refit to none to serve the judged model.",
        )


def _compare(section: Section, job: Job, pipeline: Any) -> tuple[Beside | None, _Unfit | None]:
    """Return the refitted model beside the judged one, on rows that it was fitted on: no estimate, a sanity check."""
    import numpy as np

    holdout = read_holdout(job, [section.metric])
    [trained] = job.results("models")
    judged = stored_predictions(holdout, section.name, trained)
    values = predict_holdout(holdout, pipeline)
    if missing := int((~np.isfinite(values).reshape(len(values), -1).all(axis=1)).sum()):
        return None, _Unfit("makes no prediction for some rows", f"{missing} of {len(values)} held-out rows", "none")
    refitted = holdout.predictions(values, threshold_of(pipeline))
    beside = _beside(section, judged, refitted, job.seed)
    # A model that was constant when it was judged is so by choice.
    if not np.ptp(values, axis=0).any() and np.ptp(judged.scores, axis=0).any():
        return beside, _Unfit(
            "predicts the same for every row", f"{values[0].tolist()}", "different predictions, as when it was judged"
        )
    if beside.high is not None and beside.high < 0:
        got = f"{beside.metric} {beside.refitted:.4g}, a gain of [{beside.low:.4g}, {beside.high:.4g}]"
        return beside, _Unfit(
            "is worse on rows that it was fitted on than the judged model, which never saw them",
            got,
            f"at least about {beside.judged:.4g}",
        )
    return beside, None


def _beside(section: Section, judged: Predictions, refitted: Predictions, seed: int) -> Beside:
    import numpy as np

    metric, bootstrap = label_of(section.metric), section.bootstrap
    both = {"judged": judged, "refitted": refitted}
    statistics = {whose: found for whose, one in both.items() if (found := statistics_of([metric], one).get(metric))}
    drawn = resample(statistics, judged.drawn, bootstrap.resamples, seed)
    own, unsure = {"refitted": drawn.get("refitted")}, too_rare(metric, judged)
    gained = difference_of(metric, own, "refitted", drawn.get("judged"), "the judged model", unsure)
    low, high = span(gained.quantiles, bootstrap.confidence)
    apart = moved(judged.scores, refitted.scores)
    return Beside(
        metric=metric,
        judged=measure(metric, judged).value,
        refitted=measure(metric, refitted).value,
        gain=gained.value,
        low=low,
        high=high,
        why=gained.why,
        moved=float(apart.mean()),
        moved_p95=float(np.quantile(apart, 0.95)),
        changed=_changed(judged, refitted),
    )


def _changed(judged: Predictions, refitted: Predictions) -> float | None:
    return None if judged.task == "regression" else float((judged.labels != refitted.labels).mean())


def _reference(section: Section, job: Job, pipeline: Any) -> ArtifactRef:
    """Return the reference with what the serving model says of it: new predictions are this model's."""
    holdout = read_holdout(job, [section.metric])
    [trained] = job.results("models")
    rows = reference_rows(holdout)
    values = predict_rows(job.store, holdout.dataset, rows, pipeline, holdout.plan.task)
    return write_reference(
        holdout, stored_predictions(holdout, section.name, trained), (values, threshold_of(pipeline))
    )


def _outcome(job: Job, report: RefitReport, info: ModelInfo, failure: Failure | None = None) -> Outcome:
    beside = report.beside
    artifacts: dict[str, ArtifactRef] = {
        "model": report.model,
        "model_info": report.model_info,
        "refit": job.store.add_document(report),
        **({} if report.reference is None else {"reference": report.reference}),
    }
    facts: dict[str, Any] = {
        "candidate": report.candidate,
        "refitted": report.refitted,
        "reason": report.reason,
        "rows": report.rows,
        "trained_to": None if report.trained_to is None else as_of_text(report.trained_to),
        "judged": report.judged.sha256,
        "digest": info.digest,
        "model_bytes": info.size,
        **({} if beside is None else {"beside": beside.model_dump(exclude_none=True)}),
    }
    return Outcome(artifacts, facts, failure)
