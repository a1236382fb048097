"""A promotion that a person asks for: of any registered version, by the gates and the champion of today."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_mlops_provider.effects.approval import answer
from airflow_mlops_provider.effects.champions import compared
from airflow_mlops_provider.effects.gating import gate_inputs
from airflow_mlops_provider.effects.looks import with_unseen
from airflow_mlops_provider.effects.promotion import PromotionResult, promote, refuses
from airflow_mlops_provider.effects.refitting import refit_behind, with_refit
from airflow_mlops_provider.effects.stored_files import champion_of, evaluation_behind
from airflow_mlops_provider.exceptions import ArtifactError, RegistryError
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.registry.promotion import check_not_of_future
from airflow_mlops_provider.runner import run_step

if TYPE_CHECKING:
    from airflow_mlops_provider.allow_list import AllowList
    from airflow_mlops_provider.registry import Registry, VersionRun
    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.spec import Pipeline
    from airflow_mlops_provider.storage import ArtifactStore

_LONGEST_NAME = 250


class HandApproval(NamedTuple):
    """Whose word a promotion by hand has.

    :param name: the approver, as whoever runs the command says.
    :param allowed: the platform's owner lets the command line approve.
    """

    name: str | None = None
    allowed: bool = False


NO_APPROVAL = HandApproval()


def promote_by_hand(
    registry: Registry,
    store: ArtifactStore,
    pipeline: Pipeline,
    version: int,
    *,
    reason: str,
    approver: str | None,
    approval: HandApproval = NO_APPROVAL,
    allow_list: AllowList,
    despite_gates: bool = False,
    allow_older: bool = False,
    lift_quarantine: bool = False,
) -> PromotionResult:
    """Promote a registered version as a training would: through the gates, against the current champion.

    :param reason: why, in words; the ledger keeps it beside the gates' verdicts.
    :param approver: the system's user who requests it.
    :param approval: who approved it, where the pipeline file has `approval: human`.
    :param despite_gates: promote although a gate fails; the ledger keeps its verdict.
    :raises RegistryError: there is no such version or no reason, or nothing is known of how it was measured.
    :raises MLOpsError: a gate with `on_fail: fail` does not hold against a champion that came meanwhile.
    """
    if not reason.strip():
        raise RegistryError(f"promoting version {version} of {pipeline.model_name!r} needs a reason", got=reason)
    _check_approval(pipeline, version, approval)
    history = registry.history(pipeline.model_name)
    evaluation = _evaluated_now(registry, store, pipeline, version, allow_older=allow_older, allow_list=allow_list)
    gates = [gate.model_dump(mode="json", exclude_defaults=True) for gate in pipeline.gates]

    def run(step: str, section: dict[str, Any], inputs: dict[str, list[StepResult]]) -> StepResult:
        request = StepRequest(
            step=step,
            pipeline=pipeline.name,
            as_of=evaluation.as_of,
            seed=pipeline.seed,
            section=section,
            inputs=inputs,
            allow_list=allow_list,
        )
        return run_step(request, store)

    inputs = gate_inputs(run, store, evaluation, gates, calls=pipeline.evaluation.latency_calls)
    judged = run("gate", {"gates": gates, "metrics": pipeline.metrics}, inputs)
    # One effect for each champion that it replaces: a request that is repeated after a rollback is another effect.
    caller = ("airflow mlops promote", pipeline.name, str(version), str(len(history)))
    approved = None
    if pipeline.promotion.approval is not None and (despite_gates or not refuses(judged)):
        approved = answer(
            registry,
            evaluation,
            model=pipeline.model_name,
            caller=caller,
            reply="approved",
            by=approval.name,
            rationale=f"on the command line, as the system's user {approver or 'without a name'}",
        )
    promotion = promote(
        registry,
        store,
        evaluation,
        judged,
        model=pipeline.model_name,
        caller=caller,
        approval=approved,
        allow_older=allow_older,
        lift_quarantine=lift_quarantine,
        approver=approver,
        why=reason.strip(),
        despite_gates=despite_gates,
        allow_list=allow_list,
    )
    if promotion.refused is not None and promotion.refused.failure is not None:
        raise promotion.refused.failure.as_error()
    return promotion


def _check_approval(pipeline: Pipeline, version: int, approval: HandApproval) -> None:
    """Refuse to pass by a person's approval.

    :raises RegistryError: the pipeline asks for one, and nobody who may has given it.
    """
    name, approvers = (approval.name or "").strip(), pipeline.promotion.approvers
    if pipeline.promotion.approval is None:
        if name:
            raise RegistryError(f"pipeline {pipeline.name!r} does not require approval", hint="Leave out --approve-as.")
        return
    what = f"version {version} of {pipeline.model_name!r} needs a person's approval (promotion.approval: human)"
    if not approval.allowed:
        raise RegistryError(
            f"{what}, which this platform accepts only in Airflow",
            hint="Train it again and answer the task approve. Or let the platform's owner set "
            "[mlops] approve_on_command_line, and give --approve-as NAME.",
        )
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise RegistryError(what, got=approval.name, expected="--approve-as NAME, the approver to record in the ledger")
    if approvers and name not in approvers:
        raise RegistryError(what, got=name, expected=f"--approve-as one of promotion.approvers: {', '.join(approvers)}")


def _evaluated_now(
    registry: Registry,
    store: ArtifactStore,
    pipeline: Pipeline,
    version: int,
    *,
    allow_older: bool,
    allow_list: AllowList,
) -> StepResult:
    """Return the version's evaluation beside the champion of this moment, measured anew when that is another one."""
    run = registry.version_run(pipeline.model_name, version)
    measured = _measured(store, pipeline, version, run.evaluation, allow_list)
    check_not_of_future(pipeline.model_name, version, measured.as_of)
    receipt = store.read_receipt(pipeline.name, "evaluate", str(run.evaluation)) or _made_anew(store, version, measured)
    entry = registry.champion_to_beat(
        pipeline.model_name, as_of=receipt.as_of, lineage=str(receipt.facts["lineage"]), allow_older=allow_older
    )
    name = pipeline.model_name
    champion = None if entry is None else champion_of(registry, store, pipeline.name, name, entry)
    champion = with_unseen(registry, store, name, champion, lineage=str(receipt.facts["lineage"]), as_of=receipt.as_of)
    if measured.champion != champion:
        # The version is of this winner, whoever would be chosen now.
        section = {**measured.section, "winner": receipt.facts["winner"]}
        receipt = run_step(measured.model_copy(update={"champion": champion, "section": section}), store)
    published = {"version": version, "run_id": run.run_id, "experiment_id": run.experiment_id}
    evaluation = compared(receipt, champion)
    evaluation = evaluation.model_copy(update={"facts": {**evaluation.facts, **published}})
    return evaluation if run.refit is None else with_refit(evaluation, _refitted(store, pipeline, run, allow_list))


def _refitted(store: ArtifactStore, pipeline: Pipeline, run: VersionRun, allow_list: AllowList) -> StepResult:
    """Return what made the model that a version is, once the gates had let it pass; made again when it is not whole.

    :raises RegistryError: it is lost.
    """
    try:
        refit = run_step(refit_behind(store, pipeline.name, str(run.refit), allow_list=allow_list), store)
        got = refit.facts.get("digest")
    except ArtifactError as error:
        got = error.what
    if got != run.digest:
        raise RegistryError(
            f"the refit of version {run.version} of {pipeline.model_name!r} on all rows is lost",
            got=got,
            expected=f"the receipt {run.refit} of the step refit, which gives {run.digest}",
            hint="Clear the refit task of its training run to recreate it, or train it again.",
        )
    return refit


def _measured(
    store: ArtifactStore, pipeline: Pipeline, version: int, evaluation: str | None, allow_list: AllowList
) -> StepRequest:
    """Return how a version was measured.

    :raises RegistryError: nothing that counts is known of it.
    """
    why = "none is named"
    if evaluation is not None:
        try:
            return evaluation_behind(store, pipeline.name, evaluation, allow_list=allow_list)
        except ArtifactError as error:
            why = error.what
    raise RegistryError(
        f"no record of how version {version} of {pipeline.model_name!r} was measured",
        got=f"evaluation {evaluation}: {why}",
        expected="its receipt in the artifact store",
        hint="Train it again, or roll back to it if it was champion.",
    )


def _made_anew(store: ArtifactStore, version: int, measured: StepRequest) -> StepResult:
    """Evaluate a version again, whose evaluation is not whole any more."""
    try:
        return run_step(measured.model_copy(update={"recompute": True}), store)
    except ArtifactError as error:
        raise RegistryError(
            f"the evaluation of version {version} of {measured.pipeline!r} is lost and cannot be recreated",
            got=error.what,
            hint="Train it again, or roll back to it if it was champion.",
        ) from error
