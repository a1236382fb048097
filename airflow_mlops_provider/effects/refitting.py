"""The model that serves, beside the one that was judged: what the step `refit` is given, and what came of it.

A published evaluation carries both. What the gates judged are its artifacts `model` and `model_info`; its artifact
`refit` names the model that serves by digest, and its fact `refit` is the key of the step that made it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_mlops_provider.as_of import as_of_text
from airflow_mlops_provider.exceptions import ArtifactError, MLOpsError
from airflow_mlops_provider.modeling.model_file import ModelInfo
from airflow_mlops_provider.modeling.refit_report import RefitReport
from airflow_mlops_provider.results import StepResult
from airflow_mlops_provider.runner import ask_the_same, request_behind
from airflow_mlops_provider.spec.gates import SizeGate

if TYPE_CHECKING:
    from airflow_mlops_provider.allow_list import AllowList
    from airflow_mlops_provider.job import StepRequest
    from airflow_mlops_provider.results import ArtifactRef
    from airflow_mlops_provider.storage import ArtifactStore

#: The artifact of a published evaluation, and its fact.
REFIT = "refit"
_CLEAR = "Clear the refit task and those after it."


class Serving(NamedTuple):
    """What serves of an evaluation's winner.

    :param judged: what the gates judged; None when that serves itself.
    :param trained_to: last row that the model saw; None when the data has no timestamp, or nobody knows.
    :param report: what the step did; None where there was no such step.
    """

    artifact: ArtifactRef
    info: ModelInfo
    judged: ArtifactRef | None = None
    trained_to: datetime | None = None
    report: RefitReport | None = None

    @property
    def reference(self) -> ArtifactRef | None:
        """The reference with what it says itself; None where the evaluation's own is that."""
        return None if self.report is None else self.report.reference

    def sentence(self) -> str:
        """Return which model serves, in words."""
        what = f"The model that will serve has the sha256 {self.artifact.sha256}"
        if self.trained_to is not None:
            what += f" and is trained up to {as_of_text(self.trained_to)}"
        if self.judged is None or self.report is None:
            return f"{what}: the model that was evaluated."
        return (
            f"{what}: it is refitted on all {self.report.rows:,} rows. The metrics are those of the evaluated model, "
            f"{self.judged.sha256}, fitted on {self.report.judged_rows:,}."
        )


def refit_work(
    store: ArtifactStore, evaluation: StepResult, gate: StepResult, *, refit: str
) -> tuple[dict[str, Any], dict[str, list[StepResult]]]:
    """Return the section and the inputs of the step `refit`.

    :param gate: what judged the evaluation.
    :param refit: `all` or `none`, as in a pipeline file.
    """
    section, inputs = _of_winner(store, evaluation, request_behind(store, evaluation))
    judged = request_behind(store, gate).section.get("gates", [])
    sizes = [SizeGate.model_validate(each).max_mb for each in judged if each.get("kind") == "model_size"]
    return {**section, "refit": refit, "max_mb": min(sizes, default=None)}, inputs


def _of_winner(
    store: ArtifactStore, evaluation: StepResult, measured: StepRequest
) -> tuple[dict[str, Any], dict[str, list[StepResult]]]:
    """Return what of the step's section and inputs follows from an evaluation and the request behind it."""
    name = evaluation.facts["winner"]
    winner = next(one for one in measured.inputs["models"] if one.facts["candidate"] == name)
    trained = request_behind(store, winner).section
    bootstrap = measured.section.get("evaluation", {}).get("bootstrap", {})
    section = {
        "name": name,
        "candidate": trained["candidate"],
        "metric": measured.section["metrics"][0],
        "bootstrap": bootstrap,
    }
    return section, {role: measured.inputs[role] for role in ("dataset", "split")} | {"models": [winner]}


def refit_for(store: ArtifactStore, evaluation: StepResult, refit: StepResult | None) -> StepResult | None:
    """Return a refit when it is of the model that was judged.

    A task that is not run again, since the gates refuse now what they let pass before, leaves its result behind.
    """
    if refit is None or refit.failure is not None:
        return None
    report = store.read_document(refit.artifacts[REFIT], RefitReport)
    return refit if report.judged.sha256 == evaluation.artifacts["model"].sha256 else None


def with_refit(evaluation: StepResult, refit: StepResult | None) -> StepResult:
    """Return an evaluation that says what serves.

    :param refit: what the step gave; None, or one with a failure, when nothing may serve.
    """
    if refit is None or refit.failure is not None:
        return evaluation.model_copy(update={"facts": {**evaluation.facts, REFIT: None}})
    artifacts = {**evaluation.artifacts, REFIT: refit.artifacts[REFIT]}
    return evaluation.model_copy(update={"facts": {**evaluation.facts, REFIT: refit.key}, "artifacts": artifacts})


def carried(evaluation: StepResult) -> tuple[dict[str, Any], dict[str, ArtifactRef]]:
    """Return what a published evaluation says of its refit: to be carried over to one that was measured again."""
    facts = {name: value for name, value in evaluation.facts.items() if name == REFIT}
    return facts, {role: ref for role, ref in evaluation.artifacts.items() if role == REFIT}


def serving_of(store: ArtifactStore, evaluation: StepResult) -> Serving:
    """Return what serves of an evaluation's winner: the judged model itself, where nothing was fitted anew."""
    if (ref := evaluation.artifacts.get(REFIT)) is None:
        info = store.read_document(evaluation.artifacts["model_info"], ModelInfo)
        return Serving(evaluation.artifacts["model"], info)
    report = store.read_document(ref, RefitReport)
    info = store.read_document(report.model_info, ModelInfo)
    judged = report.judged if report.refitted else None
    return Serving(report.model, info, judged, report.trained_to, report)


def refit_behind(store: ArtifactStore, pipeline: str, key: str, *, allow_list: AllowList | None = None) -> StepRequest:
    """Return the request behind a refit of which the key alone is known, checked against it.

    :raises ArtifactError: it is gone, or was changed.
    """
    nothing = StepResult(step="refit", pipeline=pipeline, key=key, as_of=datetime.now(UTC))
    return request_behind(store, nothing, allow_list=allow_list)


def check_refit(store: ArtifactStore, evaluation: StepResult, measured: StepRequest) -> None:
    """Refuse a model that does not follow from the one that was judged.

    Nothing to check where no refit was to be made.

    :param measured: the request behind the evaluation.
    :raises MLOpsError: the refit has no result.
    :raises ArtifactError: something stored was changed.
    """
    if REFIT not in evaluation.facts:
        return
    what = f"the refit of {evaluation.facts.get('winner')!r} for {evaluation.pipeline!r}"
    if (key := evaluation.facts[REFIT]) is None:
        raise MLOpsError(
            f"{what} has no result, so there is no model to serve",
            got="the task failed, or was marked as done by hand",
            expected="the result of the task refit",
            hint=f"{_CLEAR} Or serve the evaluated model: training.refit: none.",
        )
    request = refit_behind(store, evaluation.pipeline, str(key))
    section, inputs = _of_winner(store, evaluation, measured)
    # What the size was held against is no part of what was made.
    section |= {name: request.section[name] for name in ("refit", "max_mb") if name in request.section}
    receipt, given = store.read_receipt(evaluation.pipeline, "refit", str(key)), evaluation.artifacts.get(REFIT)
    if receipt is None:
        raise ArtifactError(f"{what} is no longer intact", got=f"no receipt {key}", hint=_CLEAR)
    got = {
        "request": ask_the_same(request, request.model_copy(update={"section": section, "inputs": inputs})),
        "failure": receipt.failure,
        "refit": receipt.artifacts[REFIT].sha256,
        "judged": None if given is None else store.read_document(given, RefitReport).judged.sha256,
    }
    expected = {
        "request": True,
        "failure": None,
        "refit": None if given is None else given.sha256,
        "judged": evaluation.artifacts["model"].sha256,
    }
    if wrong := sorted(name for name in got if got[name] != expected[name]):
        raise ArtifactError(
            f"{what} is of a different model than the gates judged, or a stored file was changed",
            got={name: got[name] for name in wrong},
            expected={name: expected[name] for name in wrong},
            hint=_CLEAR,
        )
