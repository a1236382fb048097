"""The metrics of a scored window before its labels are there, estimated from the champion's probabilities (CBPE)."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.data.tables import read_table, table_info, table_rows, table_schema
from airflow_mlops_provider.exceptions import MLOpsError, SpecError
from airflow_mlops_provider.job import Outcome
from airflow_mlops_provider.modeling.predictions import probability_columns
from airflow_mlops_provider.monitoring.estimate_page import estimate_page
from airflow_mlops_provider.monitoring.estimate_report import EstimateReport, has_fallen
from airflow_mlops_provider.monitoring.estimated_performance import Unlabelled, estimate, evenly
from airflow_mlops_provider.monitoring.held_out_reference import read_reference
from airflow_mlops_provider.results import text_within
from airflow_mlops_provider.spec import Estimated
from airflow_mlops_provider.spec.metrics import Metric, label_of

if TYPE_CHECKING:
    from airflow_mlops_provider.job import Champion, Job
    from airflow_mlops_provider.monitoring.estimated_performance import Reference

log = logging.getLogger(__name__)

#: Raised when a metric is estimated otherwise than before, so that what was stored is made anew.
FORMAT = 3
LIBRARIES = ("numpy", "pandas", "pyarrow", "scipy", "sklearn")

_WHY_BYTES = 400
_VERSION = "model_version"


class Section(Estimated):
    """What is estimated.

    :param metrics: names; the first decides unless `metric` names another. Functions of the user's are left out:
        without labels nobody can estimate them.
    """

    metrics: list[Metric]

    @property
    def decisive(self) -> str:
        """The metric that decides."""
        return self.metric or label_of(self.metrics[0])

    @property
    def estimated(self) -> list[str]:
        """The metrics that are estimated."""
        return list(dict.fromkeys([self.decisive, *(one for one in self.metrics if isinstance(one, str))]))


def run(section: Section, job: Job) -> Outcome:
    """Estimate.

    :raises MLOpsError: when no champion is given.
    :raises SpecError: for a regression.
    :raises ArtifactError: when the reference or the predictions are missing from the store, or damaged.
    """
    champion = job.request.champion
    if champion is None:
        raise MLOpsError(f"step 'estimate' of {job.request.pipeline!r} needs a champion", got="none")
    predictions = job.artifact("predictions", "predictions")
    task, rows = table_info(job.store, predictions).task, table_rows(job.store, predictions)
    if task == "regression":
        raise SpecError("a metric is estimated from probabilities, which a regression does not have")
    report = EstimateReport(task=task, metric=section.decisive, version=champion.version, rows=rows, why="")
    if rows < section.min_rows:
        report = _silent(report, f"{rows} rows, {section.min_rows} are needed")
    else:
        report = _estimated(section, job, champion, report)
    log.info("%s", report.why)
    artifacts = {
        "estimate": job.store.add_document(report),
        "report": job.store.add_bytes(estimate_page(report, job.request.pipeline).encode(), ".html"),
    }
    return Outcome(artifacts, _facts(report))


def _estimated(section: Section, job: Job, champion: Champion, report: EstimateReport) -> EstimateReport:
    reference, evaluation = read_reference(job.store, champion)
    if reference is None or isinstance(evaluation, str):
        return _silent(report, str(evaluation))
    window = _window(job, reference, champion)
    if isinstance(window, str):
        return _silent(report, window)
    found = estimate(
        section.estimated,
        window,
        reference,
        confidence=section.confidence,
        rows=report.rows,
        holdout=evaluation.challenger.metrics,
        seed=job.seed,
    )
    decisive = found[section.decisive]
    return report.model_copy(
        update={
            "sampled": window.rows,
            "reference_rows": reference.unlabelled.rows,
            "judged": decisive.value is not None,
            "estimates": found,
            "fallen": has_fallen(
                section.decisive, decisive, section, evaluation.baseline.metrics.get(section.decisive)
            ),
            "why": decisive.words(section.decisive),
        }
    )


def _silent(report: EstimateReport, why: str) -> EstimateReport:
    return report.model_copy(update={"judged": False, "why": why})


def _window(job: Job, reference: Reference, champion: Champion) -> Unlabelled | str:
    """Return the champion's predictions for the window, or why they are not known."""
    import numpy as np

    ref = job.artifact("predictions", "predictions")
    schema = table_schema(job.store, ref)
    classes = json.loads((schema.metadata or {}).get(b"classes", b"[]"))
    if classes != list(reference.unlabelled.classes):
        return f"the predictions have classes {classes}, the reference has {list(reference.unlabelled.classes)}"
    frame = read_table(job.store, ref, [*probability_columns(len(classes)), _VERSION])
    if versions := sorted(set(frame[_VERSION].unique().tolist()) - {champion.version}):
        return f"the predictions come from version {versions[0]}, but the champion is version {champion.version}"
    scores = frame[probability_columns(len(classes))].to_numpy(dtype=np.float64)
    return evenly(
        Unlabelled(reference.unlabelled.task, reference.unlabelled.classes, scores, reference.unlabelled.threshold)
    )


def _facts(report: EstimateReport) -> dict[str, Any]:
    found = report.estimates.get(report.metric)
    return {
        "judged": report.judged,
        "fallen": report.fallen,
        "why": text_within(report.why, _WHY_BYTES),
        "rows": report.rows,
        "version": report.version,
        "metric": report.metric,
        "estimate": None if found is None else found.value,
        "interval": None if found is None else [found.low, found.high],
        "holdout": None if found is None else found.holdout,
        "metrics": {name: one.value for name, one in report.estimates.items()},
    }
