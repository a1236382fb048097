"""Asking a person whether a challenger whose gates passed may become champion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from airflow_mlops_provider.as_of import as_of_text
from airflow_mlops_provider.effects.events import KEY_LENGTH, MAX_REASON, Event, metrics_text, run_page_path, shown
from airflow_mlops_provider.effects.evidence import check_evidence
from airflow_mlops_provider.effects.promotion import effect_id, promotion_request
from airflow_mlops_provider.effects.refitting import serving_of
from airflow_mlops_provider.evaluation.report import EvaluationReport
from airflow_mlops_provider.evaluation.scorecard import scorecard
from airflow_mlops_provider.evaluation.verdicts import Verdicts
from airflow_mlops_provider.exceptions import shorten
from airflow_mlops_provider.registry.approvals import MAX_RATIONALE, Answer, Approval
from airflow_mlops_provider.results import StepResult, text_within

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from airflow_mlops_provider.allow_list import AllowList
    from airflow_mlops_provider.registry import Registry
    from airflow_mlops_provider.storage import ArtifactStore

#: Of what people wrote that goes into XCom, in bytes of JSON; the ledger holds it whole.
_RATIONALE_BYTES = 600


class Question(NamedTuple):
    """What a person has to decide.

    :param subject: one line.
    :param body: the scorecard, in Markdown.
    """

    subject: str
    body: str


class NoQuestion(NamedTuple):
    """Why nobody has to decide.

    :param reason: in words.
    """

    reason: str


def question(
    registry: Registry,
    store: ArtifactStore,
    evaluation: StepResult,
    gate: StepResult,
    *,
    model: str,
    caller: tuple[str, ...],
    allow_older: bool = False,
    lift_quarantine: bool = False,
    url: str | None = None,
    allow_list: AllowList | None = None,
) -> Question | NoQuestion | StepResult:
    """Return what to ask; the answer when the question was answered before; or why there is nothing to ask.

    :param caller: DAG, run, task and map index: with the inputs' digests what one question is.
    :param url: where the version is shown, for the scorecard.
    :param allow_list: what the gates may name.
    :raises MLOpsError: as `promote`.
    """
    check_evidence(store, evaluation, gate, allow_list=allow_list)
    idem = effect_id(caller, evaluation)
    answered = next((approval for approval in registry.approvals(model) if approval.idem == idem), None)
    if answered is not None:
        return as_result(evaluation, answered)
    if gate.failure is not None or not gate.facts.get("passed"):
        return NoQuestion(f"the gates refuse the challenger: {gate.facts.get('reason')}")
    request = promotion_request(store, evaluation, gate, model, idem, allow_older, lift_quarantine)
    if (refused := registry.refusal(request)) is not None:
        return NoQuestion(refused)
    report = store.read_document(evaluation.artifacts["evaluation"], EvaluationReport)
    verdicts = store.read_document(gate.artifacts["verdicts"], Verdicts).stored()["verdicts"]
    return Question(
        f"Promote version {request.version} of {model} to champion?",
        scorecard(report, verdicts, version=request.version, serves=serving_of(store, evaluation).sentence(), url=url),
    )


def approval_event(
    evaluation: StepResult,
    gate: StepResult,
    *,
    model: str,
    caller: tuple[str, ...],
    until: datetime | None,
    approvers: Sequence[str] = (),
) -> Event:
    """Return the event of a question that waits for its answer.

    :param caller: as for `question`: the same question is the same event.
    :param until: an answer until then counts at any rate; None when it waits for ever.
    :param approvers: who may answer; empty when whoever may act on the DAG may.
    """
    facts: Any = evaluation.facts
    dag_id, run_id, task_id, map_index = caller
    mapped = "" if map_index == "-1" else f"/mapped/{map_index}"
    details = {
        "Why": shorten(str(gate.facts.get("reason") or ""), MAX_REASON),
        "Metrics": metrics_text(facts["metrics"]),
        "Answer until": "" if until is None else f"{until:%Y-%m-%d %H:%M} UTC; after that the challenger is rejected",
        "Who may answer": ", ".join(approvers),
        "Data up to": as_of_text(evaluation.as_of),
    }
    return Event(
        key=f"asked-{effect_id(caller, evaluation)[:KEY_LENGTH]}",
        kinds=("approval_asked",),
        pipeline=evaluation.pipeline,
        model=model,
        version=int(facts["version"]),
        as_of=evaluation.as_of,
        title=f"{evaluation.pipeline}: version {facts['version']} waits for approval",
        details=shown(details),
        run=(dag_id, run_id),
        answer=f"{run_page_path((dag_id, run_id))}/tasks/{quote(task_id, safe='')}{mapped}/required_actions",
    )


def answer(
    registry: Registry,
    evaluation: StepResult,
    *,
    model: str,
    caller: tuple[str, ...],
    reply: Answer,
    by: str | None = None,
    rationale: str = "",
) -> StepResult:
    """Keep an answer in the ledger, and return the one that holds: of several the first does."""
    facts: Any = evaluation.facts
    answered = registry.write_approval(
        model,
        Approval(
            idem=effect_id(caller, evaluation),
            version=facts["version"],
            order_key=evaluation.as_of,
            compared_with=facts.get("compared_with"),
            answer=reply,
            by=by,
            rationale=shorten(rationale.strip(), MAX_RATIONALE),
        ),
    )
    return as_result(evaluation, answered)


def as_result(evaluation: StepResult, approval: Approval) -> StepResult:
    """Return an answer as the result of a task."""
    return StepResult(
        step="approve",
        pipeline=evaluation.pipeline,
        key=approval.idem,
        as_of=evaluation.as_of,
        facts={
            "version": approval.version,
            "answer": approval.answer,
            "by": approval.by,
            "rationale": text_within(approval.rationale, _RATIONALE_BYTES),
            "sentence": text_within(approval.sentence(), _RATIONALE_BYTES),
        },
    )
