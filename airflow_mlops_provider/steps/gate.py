"""Judges what evaluate found. All verdicts are made and stored before any is acted on. No heavy library of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from airflow_mlops_provider.evaluation.gates import judge
from airflow_mlops_provider.evaluation.plausibility import too_good
from airflow_mlops_provider.evaluation.probe_report import Latency
from airflow_mlops_provider.evaluation.report import EvaluationReport
from airflow_mlops_provider.evaluation.verdicts import Verdicts
from airflow_mlops_provider.exceptions import MLOpsError
from airflow_mlops_provider.job import Outcome
from airflow_mlops_provider.results import Failure, first_within, text_within
from airflow_mlops_provider.spec import Frozen, Gate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.evaluation.verdicts import Verdict
    from airflow_mlops_provider.job import Job

#: Raised when a gate judges otherwise than before, so that what was stored is judged anew.
FORMAT = 3
LIBRARIES: tuple[str, ...] = ()

Decision = Literal["promote", "skip", "fail"]

#: What of the verdicts goes into XCom, in bytes of JSON; the artifact holds them whole.
_VERDICTS_BYTES = 1600
_NUMBERS_BYTES = 60
_REASON_BYTES = 400
_FAILURE_BYTES = 300


class Section(Frozen):
    """The gates of a pipeline.

    :param metrics: names; a gate that names none uses the first. Those of the evaluation when left out.
    """

    gates: list[Gate] = []
    metrics: list[str] = []


def names(section: Section) -> list[str]:
    """Return the functions that the settings name."""
    return [gate.function for gate in section.gates if gate.kind == "custom"]


def run(section: Section, job: Job) -> Outcome:
    """Judge the challenger: promote, skip (a normal day), or fail (a person must act).

    :raises MLOpsError: when the result of evaluate is missing.
    """
    report = job.store.read_document(job.artifact("evaluation", "evaluation"), EvaluationReport)
    changed: dict[str, Any] = {"metrics": section.metrics} if section.metrics else {}
    if job.request.inputs.get("latency"):
        changed["latency"] = _measured(job)
    report = report.model_copy(update=changed)
    verdicts = judge(section.gates, report, job.allow_list.load_function)
    decision, remarks = decide(verdicts), too_good(report)
    facts: dict[str, Any] = {
        "passed": decision == "promote",
        "decision": decision,
        "verdicts": _shown(verdicts),
        "reason": "; ".join([reason_of(verdicts, decision), *remarks]),
        **({"remarks": list(remarks)} if remarks else {}),
    }
    artifacts = {"verdicts": job.store.add_document(Verdicts(verdicts=verdicts, latency=report.latency))}
    return Outcome(artifacts, facts, _failure(verdicts) if decision == "fail" else None)


def _measured(job: Job) -> Latency:
    """Return how fast the challenger was.

    :raises MLOpsError: another model was timed.
    """
    latency = job.store.read_document(job.artifact("latency", "latency"), Latency)
    if latency.model != (model := job.artifact("evaluation", "model").sha256):
        raise MLOpsError(
            f"the latency given to the gates of {job.request.pipeline!r} was measured on another model",
            got=latency.model,
            expected=model,
            hint="Clear the gate task.",
        )
    return latency


def decide(verdicts: Sequence[Verdict]) -> Decision:
    """Return what follows from the verdicts: one failed gate with `on_fail: fail` outweighs any that skip."""
    failed = {verdict.on_fail for verdict in verdicts if not verdict.passed}
    return "fail" if "fail" in failed else "skip" if failed else "promote"


def reason_of(verdicts: Sequence[Verdict], decision: Decision) -> str:
    """Return the decision's reason in words."""
    if decision == "promote":
        return f"all {len(verdicts)} gates passed" if verdicts else "there are no gates"
    return text_within("; ".join(_sentence(verdict) for verdict in verdicts if not verdict.passed), _REASON_BYTES)


def _sentence(verdict: Verdict) -> str:
    numbers = f"{verdict.name}: {verdict.got}, expected {verdict.expected}"
    return f"{verdict.why} ({numbers})" if verdict.why else numbers


def _failure(verdicts: Sequence[Verdict]) -> Failure:
    bad = [verdict for verdict in verdicts if not verdict.passed]
    return Failure(
        what=text_within(f"the challenger fails {', '.join(verdict.name for verdict in bad)}", _FAILURE_BYTES),
        got=text_within("; ".join(f"{verdict.name}: {verdict.got}" for verdict in bad), _FAILURE_BYTES),
        expected=text_within("; ".join(f"{verdict.name}: {verdict.expected}" for verdict in bad), _FAILURE_BYTES),
        hint="Check the verdicts and the evaluation, then correct the data, the candidates or the gates.",
    )


def _shown(verdicts: Sequence[Verdict]) -> list[Any]:
    """Return verdicts short enough for XCom, failed ones first."""
    ordered = sorted(verdicts, key=lambda verdict: verdict.passed)
    shown: list[Any] = []
    for verdict in ordered:
        name, *numbers = (text_within(cell, _NUMBERS_BYTES) for cell in (verdict.name, verdict.got, verdict.expected))
        shown.append([name, verdict.passed, *numbers])
    return first_within(shown, _VERDICTS_BYTES)
