"""The page of one pipeline: its ledger, its versions side by side, drift, predictions, where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import ArtifactError, RegistryError, StorageError
from airflow_mlops_provider.monitoring.drift_report import ColumnDrift, DriftReport
from airflow_mlops_provider.overview import (
    VersionComparison,
    VersionSheet,
    compare,
    pipeline_overviews,
    timeline,
    version_sheet,
)
from airflow_mlops_provider.registry import former_champion
from airflow_mlops_provider.ui import sources
from airflow_mlops_provider.ui.airflow_state import results_of, schedules
from airflow_mlops_provider.ui.charts import intervals, volume
from airflow_mlops_provider.ui.models import failed_runs
from airflow_mlops_provider.ui.security import KINDS, dag_id, may_run, reads_results

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.api_fastapi.core_api.security import GetUserDep

    from airflow_mlops_provider.monitoring.governor import Decision
    from airflow_mlops_provider.overview import Tenure
    from airflow_mlops_provider.registry import LedgerEntry, Registry
    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.spec import Pipeline
    from airflow_mlops_provider.storage import ArtifactStore

#: Latest windows that are shown, and latest ledger entries.
_WINDOWS, _ENTRIES = 30, 200


@dataclass(frozen=True)
class Heat:
    """How far one column lay from the champion's reference in one window.

    :param state: `calm`, `drifted`, `broken` or `unknown`.
    :param text: the distance over its threshold, of which 1 and more is drift.
    """

    state: str
    text: str
    words: str


@dataclass(frozen=True)
class DriftTable:
    """Columns by windows.

    :param windows: their as_of, oldest first.
    :param stored: as_of of windows whose report is kept.
    :param rows: a column's cells, in the order of `windows`.
    """

    windows: list[datetime]
    stored: set[datetime]
    rows: dict[str, list[Heat]]


def model_page(name: str, user: GetUserDep, first: int | None, second: int | None) -> dict[str, Any]:
    """Return what the page of a pipeline shows.

    :param first: version to be compared with the second; the former champion when left out.
    :param second: the champion when left out.
    :raises HTTPException: 404, there is no such pipeline.
    :raises MLOpsError: MLflow or the store cannot be read.
    """
    pipeline = sources.one_pipeline(name)
    registry, store = sources.registry(pipeline.promotion.conn_id), sources.store()
    [overview] = pipeline_overviews(registry, [pipeline], decisions=_WINDOWS)
    history = [] if overview.champion is None else registry.history(pipeline.model_name)
    sheets, comparison, trouble = _versions(registry, store, pipeline, history, first, second)
    tenures = timeline(history)
    scoring, monitoring = dag_id(name, "scoring"), dag_id(name, "monitoring")
    sees_scores = reads_results(scoring, user)
    scored = results_of(scoring, "score", _WINDOWS) if sees_scores else []
    failed = failed_runs([name], user).get(name, [])
    drift = _drift_table(store, overview.decisions) if reads_results(monitoring, user) else None
    dags = schedules(dag_id(name, kind) for kind in KINDS)
    return {
        "pipeline": pipeline,
        "overview": overview,
        "tenures": tenures[: -_ENTRIES - 1 : -1],
        "earlier": max(0, len(tenures) - _ENTRIES),
        "versions": sorted({entry.version for entry in history}, reverse=True),
        "sheets": sheets,
        "comparison": comparison,
        "metrics": _metrics(sheets, comparison),
        "slices": _slices(sheets, comparison),
        "comparison_trouble": trouble,
        "drift": drift,
        "predictions": _predictions(scored),
        "sees_scores": sees_scores,
        "failed": failed,
        "scoring_failed": next((one for one in failed if one.kind == "scoring"), None),
        "volume": volume(_bars(scored)),
        "by_version": _by_version(scored),
        "schedule": dags.get(dag_id(name)),
        "dags": {kind: dag_id(name, kind) for kind in KINDS if dag_id(name, kind) in dags},
        "may_retrain": dag_id(name) in dags and may_run(dag_id(name), user),
        "may_roll_back": dag_id(name, "rollback") in dags and may_run(dag_id(name, "rollback"), user),
        "targets": _targets(history, tenures),
    }


def _targets(history: Sequence[LedgerEntry], tenures: Sequence[Tenure]) -> list[int]:
    """Return the versions that can serve again, the former champion first."""
    former = former_champion(history)
    head = history[-1].version if history else None
    able = {tenure.version for tenure in tenures if not tenure.in_quarantine} - {head}
    return sorted(able, key=lambda version: (former is None or version != former.version, -version))


def _versions(
    registry: Registry,
    store: ArtifactStore,
    pipeline: Pipeline,
    history: Sequence[LedgerEntry],
    first: int | None,
    second: int | None,
) -> tuple[list[VersionSheet], VersionComparison | None, str | None]:
    """Return one or two versions, how they differ, or why that is not known."""
    if not history:
        return [], None, None
    right = second or history[-1].version
    former = former_champion(history)
    # After a rollback to the first champion: with what was left behind.
    others = [entry.version for entry in (*history, *([] if former is None else [former])) if entry.version != right]
    left = first or (others[-1] if others else None)
    try:
        if left is None or left == right:
            return [version_sheet(registry, store, pipeline, right, history)], None, None
        comparison = compare(registry, store, pipeline, left, right)
    except (RegistryError, StorageError, ArtifactError) as error:
        return [], None, str(error)
    return [comparison.first, comparison.second], comparison, None


def _metrics(sheets: Sequence[VersionSheet], comparison: VersionComparison | None) -> list[dict[str, Any]]:
    """Return a line for each metric: what was measured of each version, and by how much the second is better."""
    gains = {} if comparison is None else {line.metric: line.gain for line in comparison.metrics}
    lines = []
    for name in dict.fromkeys(name for sheet in sheets for name in sheet.metrics):
        measures = [sheet.metrics.get(name) for sheet in sheets]
        lines.append({"metric": name, "measures": measures, "drawing": intervals(measures), "gain": gains.get(name)})
    return lines


def _slices(sheets: Sequence[VersionSheet], comparison: VersionComparison | None) -> list[dict[str, Any]]:
    """Return a line for each slice: the deciding metric and the rows of each version."""
    if comparison is not None:
        return [
            {
                "column": line.column,
                "value": line.value,
                "sides": [(line.first, line.first_rows), (line.second, line.second_rows)],
            }
            for line in comparison.slices
        ]
    reports = [sheet.evaluation for sheet in sheets if sheet.evaluation is not None]
    return [
        {"column": one.column, "value": one.value, "sides": [(one.metrics.get(report.metrics[0]), one.rows)]}
        for report in reports
        for one in report.slices
    ]


def _drift_table(store: ArtifactStore, decisions: Sequence[Decision]) -> DriftTable | None:
    """Return how far each column lay from the reference; of windows without a report, which drifted."""
    reports = {decision.as_of: _drift_report(store, decision) for decision in decisions}
    cells: dict[str, dict[datetime, Heat]] = {}
    for decision in decisions:
        report = reports[decision.as_of]
        if report is None:
            for column in decision.columns:
                cells.setdefault(column, {})[decision.as_of] = Heat("drifted", "", "drifted")
            continue
        for measured in report.columns:
            cells.setdefault(measured.column, {})[decision.as_of] = _heat(measured)
    if not cells:
        return None
    windows = [decision.as_of for decision in decisions]
    nothing = Heat("unknown", "", "not measured")

    def worst(column: str) -> int:
        return sum(heat.state in ("drifted", "broken") for heat in cells[column].values())

    ordered = sorted(cells, key=lambda column: (-worst(column), column))
    return DriftTable(
        windows=windows,
        stored={decision.as_of for decision in decisions if "report" in decision.evidence},
        rows={column: [cells[column].get(window, nothing) for window in windows] for column in ordered},
    )


def _drift_report(store: ArtifactStore, decision: Decision) -> DriftReport | None:
    ref = decision.evidence.get("drift")
    if ref is None:
        return None
    try:
        return store.read_document(ref, DriftReport)
    except (ArtifactError, ValueError):  # tidied away: the decision itself still says what drifted
        return None


def _heat(column: ColumnDrift) -> Heat:
    state = "broken" if column.broken else "drifted" if column.drifted else "calm"
    if column.statistic is None:
        # Not green: a column of which nothing was measured may well have drifted.
        return Heat(state if state != "calm" else "unknown", "–", column.why or "not measured")
    size = column.statistic / column.threshold
    return Heat(state, f"{size:.1f}", f"{column.statistic:.3g}, drift from {column.threshold:.3g} on")


def _predictions(scored: Sequence[StepResult]) -> list[dict[str, Any]]:
    """Return what was predicted, window by window, the latest first."""
    return [
        {
            "as_of": result.as_of,
            "rows": int(str(result.facts.get("rows") or 0)),
            "version": result.facts.get("version"),
            "artifact": result.artifacts.get("predictions"),
        }
        for result in sorted(scored, key=lambda one: one.as_of, reverse=True)
    ]


def _bars(scored: Sequence[StepResult]) -> list[tuple[str, int, str]]:
    found = reversed(_predictions(scored))
    return [
        (f"{one['as_of']:%Y-%m-%d}", one["rows"], f"{one['as_of']:%Y-%m-%d}: {one['rows']:,} rows") for one in found
    ]


def _by_version(scored: Sequence[StepResult]) -> dict[int, dict[str, Any]]:
    """Return what each version predicted: windows, rows, the last window."""
    found: dict[int, dict[str, Any]] = {}
    for one in _predictions(scored):
        if isinstance(one["version"], int):
            tally = found.setdefault(one["version"], {"windows": 0, "rows": 0, "last": one["as_of"]})
            tally["windows"] += 1
            tally["rows"] += one["rows"]
    return found
