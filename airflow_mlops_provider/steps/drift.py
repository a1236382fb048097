"""Holds what was scored against the champion's own reference: features, predictions, and labels once they are there."""

from __future__ import annotations

import gzip
import logging
from functools import cache
from typing import TYPE_CHECKING

from pydantic import ConfigDict

from airflow_mlops_provider.data.tables import table_info, table_schema
from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.evaluation.probe_report import Importances
from airflow_mlops_provider.evaluation.report import EvaluationReport
from airflow_mlops_provider.exceptions import ArtifactError, MLOpsError, SpecError, shorten
from airflow_mlops_provider.job import Outcome
from airflow_mlops_provider.monitoring.drift import Subject, compare, pairs_of, unreadable
from airflow_mlops_provider.monitoring.drift_page import drift_page
from airflow_mlops_provider.monitoring.drift_report import DriftReport, Problem, weighted
from airflow_mlops_provider.monitoring.evidently_page import evidently_page
from airflow_mlops_provider.monitoring.incidents import incidents_of
from airflow_mlops_provider.monitoring.prediction_columns import nearest, prediction_kinds, with_serving
from airflow_mlops_provider.monitoring.ranges import range_of
from airflow_mlops_provider.monitoring.sampling import survey
from airflow_mlops_provider.monitoring.usual import cut
from airflow_mlops_provider.monitoring.window_verdict import judge, usual_by
from airflow_mlops_provider.spec.expectations import Expectation  # noqa: TC001  # pydantic reads it
from airflow_mlops_provider.spec.frozen import Share, Span  # noqa: TC001  # pydantic reads them
from airflow_mlops_provider.spec.operations import Drift
from airflow_mlops_provider.spec.preparation import Missing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_mlops_provider.data.tables import TableInfo
    from airflow_mlops_provider.job import Champion, Job
    from airflow_mlops_provider.monitoring.drift import Pair
    from airflow_mlops_provider.monitoring.drift_report import ColumnDrift, Role
    from airflow_mlops_provider.monitoring.sampling import Kind, Survey
    from airflow_mlops_provider.results import ArtifactRef

log = logging.getLogger(__name__)

#: Raised when a window is compared otherwise than before, so that what was stored is made anew.
FORMAT = 3
LIBRARIES = ("evidently", "numpy", "pandas", "pyarrow", "scipy")

_LOGGED_PROBLEMS = 20
_VERSION = "model_version"


class Section(Drift):
    """How drift is measured.

    :param window: how much time the window holds: as long are the stretches of the reference that say what is usual.
    :param max_missing: largest share of missing values in a feature; a larger one is an incident.
    :param expectations: of each value of the window; one that fails is an incident.
    :param keep_evidently: store Evidently's own page as well, gzipped: 1.5 MB and more, and some seconds.
    """

    window: Span | None = None
    max_missing: Share = Missing().max_share
    expectations: list[Expectation] = []
    keep_evidently: bool = False


def run(section: Section, job: Job) -> Outcome:
    """Compare. What is wrong with a column of the window is a verdict, never an exception.

    :raises MLOpsError: when the champion has no reference.
    :raises ArtifactError: when the reference cannot be read.
    :raises SpecError: when `ignore` names no feature, or all of them.
    """
    champion, reference = _reference(job)
    info = table_info(job.store, reference)
    importances = _importances(job, champion)
    known = _survey_reference(section, job, reference, info)
    subjects, current, problems = _subjects(section, job, known, info)
    enough = current.rows >= section.min_rows
    stretches = None
    if known.moments is not None and section.window:
        stretches = cut(known.moments, job.as_of, section.window)
    pairs = nearest(pairs_of(subjects, section, stretches), subjects, known, info, section, stretches, job.seed)
    usual_of = cache(lambda name: pairs[name].usual(job.seed))
    found, wrong = compare(subjects, pairs, usual_of, section, stretches, measure=enough)
    columns = weighted(found, importances)
    labels = [column.current for column in columns if column.role == "target"]
    report = DriftReport(
        version=champion.version,
        rows=current.rows,
        sampled=current.sampled,
        reference_rows=known.rows,
        labelled=_labelled(current, info.columns.target),
        judged=enough,
        least_share=section.share,
        usual_by=usual_by(stretches, section.window, dated=known.moments is not None),
        stretches=0 if stretches is None else stretches.count,
        weights="importance" if importances is not None and importances.columns else "equal",
        metric=None if importances is None else importances.metric,
        prediction_drift=_any_drifted(columns, "prediction") if enough else None,
        target_drift=_any_drifted(columns, "target") if enough and labels else None,
        incident=_incidents(section, job, columns, wrong, pairs) if enough else [],
        columns=columns,
        problems=[*problems, *wrong],
        **judge(section, columns, usual_of, current.rows, enough=enough),
    )
    for problem in report.worst_problems[:_LOGGED_PROBLEMS]:
        log.warning("%s", problem.words)
    log.info("%s", report.why)
    page = evidently_page(pairs) if section.keep_evidently and enough and pairs else None
    return Outcome(_artifacts(job, report, page), report.facts())


def _incidents(
    section: Section, job: Job, columns: Sequence[ColumnDrift], wrong: Sequence[Problem], pairs: Mapping[str, Pair]
) -> list[str]:
    """Return what is broken of the window, a line each."""
    found = incidents_of(columns, wrong, pairs, section.max_missing)
    if not section.expectations:
        return found
    from airflow_mlops_provider.validation.expectations import failed_of

    snapshot = job.artifact("dataset", "dataset")
    present = table_schema(job.store, snapshot).names
    used = [one.column for one in columns if one.role == "feature" and one.weight and one.column in present]
    return [*found, *failed_of(job.store, snapshot, section.expectations, used)]


# ---------------------------------------------------------------- what is compared


def _reference(job: Job) -> tuple[Champion, ArtifactRef]:
    champion = job.request.champion
    if champion is None:
        raise MLOpsError(
            f"drift of {job.request.pipeline!r} is measured against a champion's reference, but there is no champion",
            hint="Train and promote one first.",
        )
    if champion.reference is None:
        raise MLOpsError(
            f"version {champion.version} of {job.request.pipeline!r} has no reference: {champion.without('reference')}",
            hint="Train it again with `recompute`, and promote the new version.",
        )
    return champion, champion.reference


class _Measured(Document):
    """Of a stored evaluation, what counts here."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    SCHEMA = EvaluationReport.SCHEMA

    importance: Importances | None = None


def _importances(job: Job, champion: Champion) -> Importances | None:
    if champion.evaluation is None:
        return None
    return job.store.read_document(champion.evaluation, _Measured).importance


def _survey_reference(section: Section, job: Job, reference: ArtifactRef, info: TableInfo) -> Survey:
    """Read the reference: the features that the champion was trained on, its target, its predictions."""
    schema = table_schema(job.store, reference)
    kinds = _kinds(info)
    kinds |= with_serving(prediction_kinds(info, schema.names), info, schema.names)
    for name, kind in kinds.items():
        if (problem := unreadable(name, kind, schema)) is not None:
            raise ArtifactError(f"the reference {reference.uri} is damaged: {problem.words}")
    timestamp = info.columns.timestamp if info.columns.timestamp in table_schema(job.store, reference).names else None
    found = survey(job.store, reference, kinds, section.sample_rows, job.seed, timestamp=timestamp)
    if not found.rows:
        raise ArtifactError(f"the reference {reference.uri} contains no rows", hint="Train and promote a new champion.")
    return found


def _kinds(info: TableInfo) -> dict[str, Kind]:
    columns = info.columns
    kinds: dict[str, Kind] = dict.fromkeys(columns.numeric, "numeric")
    kinds |= dict.fromkeys(columns.categorical, "categorical")
    kinds[columns.target] = "numeric" if info.task == "regression" else "categorical"
    return kinds


def _subjects(
    section: Section, job: Job, known: Survey, info: TableInfo
) -> tuple[list[Subject], Survey, list[Problem]]:
    """Read the window and its predictions, and set their columns beside those of the reference."""
    features = _kinds(info)
    target = info.columns.target
    snapshot, scored = job.artifact("dataset", "dataset"), job.artifact("predictions", "predictions")
    _check_ignored(section, info, table_info(job.store, snapshot))
    if target not in table_schema(job.store, snapshot).names:
        features.pop(target)
    predictions = {
        name: kind for name, kind in prediction_kinds(info, [*known.columns]).items() if name in known.columns
    }
    current, unread = _survey_window(section, job, snapshot, features, known)
    predicted, unmeasured = _survey_window(section, job, scored, predictions, known)
    problems = _other_scoring(job, predicted, current.rows)
    subjects = []
    for name, kind in features.items():
        if name in section.ignore:
            continue
        role: Role = "target" if name == target else "feature"
        if role == "target" and _labelled(current, target) < section.min_rows:
            continue
        subjects.append(Subject(name, role, kind, known.columns[name], current.columns.get(name), unread.get(name)))
    # What another version says of the window is no drift of this one. A model that says one thing of every row, as a
    # dummy does, says another once it is fitted on all rows.
    if not any(problem.kind == "other_version" for problem in problems):
        subjects += [
            Subject(name, "prediction", kind, known.columns[name], predicted.columns.get(name), unmeasured.get(name))
            for name, kind in predictions.items()
            if not known.columns[name].constant
        ]
    return subjects, current, problems


def _check_ignored(section: Section, known: TableInfo, window: TableInfo) -> None:
    """Refuse a name that is no feature, and a comparison of nothing. The champion may do without a feature."""
    features = {*known.columns.features, *window.columns.features}
    if unknown := [name for name in section.ignore if name not in features]:
        raise SpecError(
            "monitoring.drift.ignore names a column that is not a feature", got=unknown[0], expected=sorted(features)
        )
    if not {*known.columns.features} - {*section.ignore}:
        raise SpecError("monitoring.drift.ignore leaves no feature to compare", got=section.ignore)


def _survey_window(
    section: Section, job: Job, ref: ArtifactRef, kinds: Mapping[str, Kind], known: Survey
) -> tuple[Survey, dict[str, Problem]]:
    """Read the columns that can be read, and say why the others cannot."""
    schema = table_schema(job.store, ref)
    problems = {
        name: problem for name, kind in kinds.items() if (problem := unreadable(name, kind, schema)) is not None
    }
    wanted = {name: kind for name, kind in kinds.items() if name not in problems}
    if _VERSION in schema.names and unreadable(_VERSION, "categorical", schema) is None and _VERSION not in kinds:
        wanted[_VERSION] = "categorical"
    found = {name: range_of(observed) for name, observed in known.columns.items()}
    ranges = {name: (bounds.low, bounds.high) for name, bounds in found.items() if bounds is not None}
    return survey(job.store, ref, wanted, section.sample_rows, job.seed, ranges), problems


def _other_scoring(job: Job, predicted: Survey, rows: int) -> list[Problem]:
    """Return what shows that the predictions are not this champion's of this snapshot."""
    problems = []
    if predicted.rows != rows:
        problems.append(
            Problem(kind="other_rows", got=f"{predicted.rows} predictions", expected=f"one for each of {rows} rows")
        )
    champion = job.request.champion
    versions = set(predicted.columns[_VERSION].counts) if _VERSION in predicted.columns else set()
    if champion is not None and versions - {str(champion.version)}:
        got = shorten(", ".join(sorted(versions)), 80)
        problems.append(
            Problem(kind="other_version", got=f"predictions of {got}", expected=f"those of version {champion.version}")
        )
    return problems


def _labelled(current: Survey, target: str) -> int:
    observed = current.columns.get(target)
    return 0 if observed is None else observed.rows - observed.missing - observed.infinite


def _any_drifted(columns: Sequence[ColumnDrift], role: Role) -> bool | None:
    of_role = [column for column in columns if column.role == role]
    return any(column.drifted for column in of_role) if of_role else None


# ---------------------------------------------------------------- what is kept


def _artifacts(job: Job, report: DriftReport, page: bytes | None) -> dict[str, ArtifactRef]:
    store = job.store
    artifacts = {
        "drift": store.add_document(report),
        "report": store.add_bytes(drift_page(report, job.request.pipeline).encode(), ".html"),
    }
    if page is not None:
        artifacts["evidently"] = store.add_bytes(gzip.compress(page, mtime=0), ".html.gz")
    return artifacts
