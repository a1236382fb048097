"""What a promotion rests on, checked against itself: nobody who can write the store decides what becomes champion.

Keys come from the tasks that ran, by XCom. A key names its request, the request its inputs and settings, and each
artifact is named by its digest; so a stored value that does not follow from these is found. What a step has measured is
not measured again here: its signature shows that a receipt is the step's own, where the store has a secret.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.as_of import in_utc
from airflow_mlops_provider.effects.refitting import check_refit
from airflow_mlops_provider.evaluation.report import EvaluationReport, training_id
from airflow_mlops_provider.exceptions import ArtifactError, MLOpsError
from airflow_mlops_provider.job import Job
from airflow_mlops_provider.runner import StoredRequest, request_behind
from airflow_mlops_provider.steps import gate

if TYPE_CHECKING:
    from airflow_mlops_provider.allow_list import AllowList
    from airflow_mlops_provider.job import StepRequest
    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.storage import ArtifactStore

#: What the winner of an evaluation is.
_MODEL = ("model", "model_info")


def check_evidence(
    store: ArtifactStore, evaluation: StepResult, judged: StepResult, *, allow_list: AllowList | None = None
) -> None:
    """Refuse an evaluation, a verdict of gates or a refitted model that does not follow from what it names.

    :param allow_list: what gates may name: functions of the user judge again.

    :raises MLOpsError: the gates judged another evaluation, such as one of an earlier try after evaluate alone was
        cleared; or they passed, and the refit has no result.
    :raises ArtifactError: something stored was changed; names the task to clear.
    """
    measured = check_evaluation(store, evaluation)
    request = check_judged(store, evaluation, judged)
    # They are a pure function of the evaluation and of what was timed, and take a millisecond.
    request = request.model_copy(update={"allow_list": allow_list or request.allow_list})
    _check_code(store, judged, request)
    again = gate.run(gate.Section.model_validate(request.section), Job(request, store))
    verdicts = judged.artifacts.get("verdicts")
    _same(
        "the verdict of the gates",
        judged,
        got={"failure": judged.failure, "verdicts": verdicts and verdicts.sha256, **judged.facts},
        expected={"failure": again.failure, "verdicts": again.artifacts["verdicts"].sha256, **_plain(again.facts)},
    )
    if judged.facts.get("passed"):
        check_refit(store, evaluation, measured)


def _check_code(store: ArtifactStore, judged: StepResult, request: StepRequest) -> None:
    """Refuse a verdict of functions whose code is another one by now: it says nothing of what they are today.

    :raises MLOpsError: names the function, and the task to clear.
    """
    code: Any = (StoredRequest.read(store.read_request(judged)).identity or {}).get("code") or {}
    for function in gate.names(gate.Section.model_validate(request.section)):
        now = request.allow_list.fingerprint(function)
        if code.get(function, now) != now:
            raise MLOpsError(
                f"the code of gate {function} has changed since it judged",
                got=f"sha256 {now[:12]}",
                expected=f"sha256 {str(code[function])[:12]}",
                hint="Clear the gate task to judge the challenger again.",
            )


def check_judged(
    store: ArtifactStore, evaluation: StepResult, judged: StepResult, *, shown_only: bool = False
) -> StepRequest:
    """Return the request behind the gates' result, which judged this very evaluation.

    :param shown_only: as `request_behind`.
    :raises MLOpsError: they judged another one.
    :raises ArtifactError: something stored was changed; names the task to clear.
    """
    request = request_behind(store, judged, shown_only=shown_only)
    given = [result.artifacts.get("evaluation") for result in request.inputs.get("evaluation", [])]
    if judged.step != "gate" or [ref.sha256 for ref in given if ref is not None] != [
        evaluation.artifacts["evaluation"].sha256
    ]:
        raise MLOpsError(
            "the gates did not judge this evaluation",
            got=f"a result of step {judged.step!r}",
            expected="the result of the gates on what evaluate returned",
            hint="Clear the gate task, or pass the output of the gate operator that judged it.",
        )
    return request


def check_evaluation(store: ArtifactStore, evaluation: StepResult, *, shown_only: bool = False) -> StepRequest:
    """Return the request behind an evaluation, whose word of the winner is that of its report.

    :param shown_only: as `request_behind`.
    :raises ArtifactError: something stored was changed; names the task to clear.
    """
    if evaluation.step != "evaluate":
        raise MLOpsError("this is not an evaluation", got=f"a result of step {evaluation.step!r}")
    request = request_behind(store, evaluation, shown_only=shown_only)
    report = store.read_document(evaluation.artifacts["evaluation"], EvaluationReport)
    models, facts = request.inputs.get("models", []), evaluation.facts
    measured = {name: value for name, value in report.challenger.metrics.items() if value is not None}
    _same(
        "the evaluation",
        evaluation,
        got={name: facts.get(name) for name in ("winner", "metrics", "champion", "lineage")}
        | {"report": report.lineage, "as_of": in_utc(evaluation.as_of)},
        expected={
            "winner": report.winner,
            "metrics": measured,
            "champion": None if report.champion is None else report.champion.version,
            "lineage": training_id(models),
            "report": training_id(models),
            "as_of": in_utc(report.as_of),
        },
    )
    trained = [{role: one.artifacts[role].sha256 for role in _MODEL if role in one.artifacts} for one in models]
    if (named := {role: evaluation.artifacts[role].sha256 for role in _MODEL}) not in trained:
        raise ArtifactError(
            f"the evaluation of {evaluation.pipeline!r} names a model that is not one of its candidates",
            got=named,
            expected=trained,
            hint="Clear the evaluate task with the Param `recompute` set.",
        )
    return request


def _same(what: str, result: StepResult, *, got: dict[str, Any], expected: dict[str, Any]) -> None:
    if wrong := sorted(name for name in {**got, **expected} if got.get(name) != expected.get(name)):
        raise ArtifactError(
            f"{what} of {result.pipeline!r} does not match what was measured: a stored file was changed",
            got={name: got.get(name) for name in wrong},
            expected={name: expected.get(name) for name in wrong},
            hint=f"Clear the {result.step} task with the Param `recompute` set, and check who can write to the store.",
        )


def _plain(facts: Any) -> dict[str, Any]:
    """Return facts as JSON gives them back."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(facts)))
    return plain
