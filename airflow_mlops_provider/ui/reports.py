"""The Report tab of a task instance: what its step found, and the pages that it stored."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fastapi import HTTPException

from airflow_mlops_provider.as_of import as_of_text
from airflow_mlops_provider.effects.decisions import decisions
from airflow_mlops_provider.evaluation.report import EvaluationReport
from airflow_mlops_provider.evaluation.verdicts import Verdicts
from airflow_mlops_provider.exceptions import ArtifactError, RegistryError
from airflow_mlops_provider.reports import Cell, with_headline
from airflow_mlops_provider.ui import sources
from airflow_mlops_provider.ui.airflow_state import message_of, result_of, task_state
from airflow_mlops_provider.ui.rendering import sandboxed

if TYPE_CHECKING:
    from fastapi import Response

    from airflow_mlops_provider.monitoring.governor import Decision
    from airflow_mlops_provider.results import ArtifactRef, StepResult
    from airflow_mlops_provider.storage import ArtifactStore
    from airflow_mlops_provider.storage.artifacts import Stored
    from airflow_mlops_provider.ui.rendering import Theme

_PAGES = (".html", ".html.gz")
#: What people call the pages that steps store, by role.
_TITLES = {
    "report": "Report",
    "evidently": "Evidently's report",
    "card": "Model card",
    "comparison": "Challenger against champion",
}
#: Facts that the page shows in a place of their own, or that are for machines alone.
_ELSEWHERE = ("verdicts", "reason", "why", "metrics", "lineage")
#: No longer than Airflow's database takes.
_MAP_INDEX = re.compile(r"-1|[0-9]{1,9}")
#: Why there is no report, by the task's state.
_WITHOUT = {
    "success": "This task stored no report.",
    "failed": "This task failed without a message: it was killed, or Airflow ended it. See its log.",
    "skipped": "Airflow skipped this task: an upstream task did not require it.",
    "upstream_failed": "This task did not run because an upstream task failed.",
}


def task_report(dag_id: str, run_id: str, task_id: str, map_index: str) -> dict[str, Any]:
    """Return what the tab shows of a task instance.

    :param map_index: Airflow leaves the placeholder as it is for a task that is not mapped.
    :raises HTTPException: 404, no task has such a map index.
    """
    index = _index(map_index)
    result = result_of(dag_id, run_id, task_id, index)
    state = str(task_state(dag_id, run_id, task_id, index))
    message = message_of(dag_id, run_id, task_id, index)
    shown: dict[str, Any] = {
        "task_id": task_id,
        "result": result,
        "step": None if result is None else _step(result),
        "state": state,
        "message": message,
        "why": _WITHOUT.get(state, "This task has not returned anything yet."),
        "path": f"{dag_id}/{run_id}/{task_id}/{index}",
        "pages": {},
        "facts": {},
        "verdicts": None,
        "evaluation": None,
        "window": None,
    }
    if result is None:
        return shown
    store = sources.store()
    shown["pages"] = {role: _TITLES.get(role, role) for role, ref in result.artifacts.items() if _is_page(ref)}
    facts = {name: value for name, value in result.facts.items() if name not in _ELSEWHERE}
    shown["facts"] = {name: value for name, value in facts.items() if value not in (None, [], {}, "")}
    if result.step == "watch":
        decision = _decision_of(result.pipeline, window := as_of_text(result.as_of))
        shown["window"] = window if decision is not None and "report" in decision.evidence else None
    judged = _read(store, result, "verdicts", Verdicts)
    shown["verdicts"] = None if judged is None else judged.verdicts
    shown["evaluation"] = _read(store, result, "evaluation", EvaluationReport)
    return shown


def stored_page(
    dag_id: str, run_id: str, task_id: str, map_index: str, role: str, theme: Theme | None = None
) -> Response:
    """Return a page that a step stored, in a sandbox.

    :param role: of the artifact, in what the task returned: nobody names an address.
    :raises HTTPException: 404, the task stored no such page.
    """
    result = result_of(dag_id, run_id, task_id, _index(map_index))
    ref = None if result is None else result.artifacts.get(role)
    if ref is None or not _is_page(ref):
        raise HTTPException(404, "The task stored no such page.")
    return _stored(ref, scripts=role == "evidently", theme=theme)


def window_report(pipeline: str, window: str, theme: Theme | None = None) -> Response:
    """Return the drift report on which a window was decided, in a sandbox.

    :raises HTTPException: 404, there is none.
    """
    decision = _decision_of(pipeline, window)
    ref = None if decision is None else decision.evidence.get("report")
    if decision is None or ref is None:
        raise HTTPException(404, "No report is stored for this window.")
    # The report was made before the decision, of which it is only one part of the evidence.
    kind = "bad" if decision.bad else "good" if decision.action == "keep" else "warn"
    return _stored(ref, scripts=False, theme=theme, headline=Cell(f"Decision: {decision.sentence()}", kind))


def version_page(pipeline: str, version: int, name: str, theme: Theme | None = None) -> Response:
    """Return a page about a version that its publishing stored, in a sandbox.

    :param name: `card` or `comparison`: nobody names an address.
    :raises HTTPException: 404, there is no such version, or none is kept.
    """
    spec = sources.one_pipeline(pipeline)
    try:
        ref = sources.registry(spec.promotion.conn_id).version_run(spec.model_name, version).pages.get(name)
    except RegistryError as error:
        raise HTTPException(404, "Version not found.") from error
    if ref is None or not _is_page(ref):
        raise HTTPException(404, "This page is not stored for this version.")
    return _stored(ref, scripts=False, theme=theme)


def _decision_of(pipeline: str, window: str) -> Decision | None:
    """Return what a window was decided to; None when it was not, or there is no such pipeline any more."""
    spec = sources.pipeline_named(pipeline)
    if spec is None:
        return None
    every = decisions(sources.registry(spec.promotion.conn_id), spec.model_name)
    return next((one for one in every if as_of_text(one.as_of) == window), None)


def _stored(ref: ArtifactRef, *, scripts: bool, theme: Theme | None, headline: Cell | None = None) -> Response:
    body = sources.store().fetch(ref).read_bytes()
    if headline is not None:
        body = with_headline(body, headline)
    return sandboxed(body, scripts=scripts, gzipped=ref.uri.endswith(".gz"), theme=theme)


def _is_page(ref: ArtifactRef) -> bool:
    return ref.uri.endswith(_PAGES)


def _index(map_index: str) -> int:
    if not map_index.lstrip("-").isdecimal():
        return -1
    if not _MAP_INDEX.fullmatch(map_index):
        raise HTTPException(404, "Task instance not found.")
    return int(map_index)


def _read(store: ArtifactStore, result: StepResult, role: str, kind: type[Stored]) -> Stored | None:
    """Return an artifact as it was written; None when it is not this step's, or gone."""
    ref = result.artifacts.get(role)
    if ref is None or _step(result) != _MADE_BY[role]:
        return None
    try:
        return store.read_document(ref, kind)
    except (ArtifactError, ValueError):
        return None


def _step(result: StepResult) -> str:
    """Return what a task did: publishing hands on the evaluation, with a card of what was published."""
    return "publish" if "card" in result.artifacts else result.step


#: The step that makes an artifact, where others only pass it on.
_MADE_BY = {"verdicts": "gate", "evaluation": "evaluate"}
