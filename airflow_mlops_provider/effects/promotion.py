"""From a challenger whose gates passed to a champion."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.effects.cards import renew_card
from airflow_mlops_provider.effects.champions import compared
from airflow_mlops_provider.effects.evidence import check_evidence
from airflow_mlops_provider.effects.looks import keep_look, with_unseen
from airflow_mlops_provider.effects.refitting import REFIT, carried, serving_of
from airflow_mlops_provider.effects.stored_files import EVALUATION, FILES, champion_of, lost_files
from airflow_mlops_provider.exceptions import ArtifactError, MLOpsError
from airflow_mlops_provider.registry import PromotionRequest
from airflow_mlops_provider.results import StepResult, text_within
from airflow_mlops_provider.runner import request_behind, run_step

if TYPE_CHECKING:
    from airflow_mlops_provider.allow_list import AllowList
    from airflow_mlops_provider.registry import PromotionOutcome, Registry
    from airflow_mlops_provider.storage import ArtifactStore

#: How often a challenger is held against a champion that changes under it.
_PATIENCE = 5
#: How much the ledger keeps of the reason of a request to retrain, in bytes.
_MAX_TRAINED_FOR = 600


@dataclass(frozen=True)
class PromotionResult:
    """What came of a promotion.

    :param result: the version, its metrics and its ledger entry.
    :param skipped: nothing was to be promoted; `reason` says why.
    :param mine: the ledger holds an entry that this very effect wrote, now or before a crash.
    :param refused: the result of gates that judged again, against a champion that came meanwhile, and refused; with its
        `failure` when one of them has `on_fail: fail`.
    """

    result: StepResult
    reason: str
    skipped: bool = False
    mine: bool = False
    refused: StepResult | None = None


def promote(
    registry: Registry,
    store: ArtifactStore,
    evaluation: StepResult,
    gate: StepResult,
    *,
    model: str,
    caller: tuple[str, ...],
    allow_older: bool = False,
    lift_quarantine: bool = False,
    trained_for: str | None = None,
    approval: StepResult | None = None,
    approver: str | None = None,
    why: str | None = None,
    despite_gates: bool = False,
    allow_list: AllowList | None = None,
) -> PromotionResult:
    """Write the challenger into the ledger when its gates passed; judge it again if the champion changed meanwhile.

    :param caller: DAG, run, task and map index: with the inputs' digests the effect's identity, never the try number.
    :param trained_for: why monitoring requested the training, which the ledger keeps; None when it did not.
    :param approval: a person's answer about the challenger; None when no approval was required.
    :param approver: who requests it, for the ledger; None when the gates alone decide.
    :param why: the approver's reason, which the ledger keeps before the gates' verdicts.
    :param despite_gates: promote although a gate fails now; the ledger keeps its verdict.
    :param allow_list: what may be named if the challenger has to be measured again.
    :raises MLOpsError: when the evaluation was not published, or the gates judged another one.
    """
    if "version" not in evaluation.facts:
        raise MLOpsError(
            "the evaluation was not published, so there is no version to promote",
            expected="the result of publishing what evaluate returned",
            hint="Pass the output of PublishModelOperator.",
        )
    idem = effect_id(caller, evaluation)
    if any(entry.idem == idem for entry in registry.history(model)):
        # Done before, whatever became of what it rested on.
        request = promotion_request(store, evaluation, gate, model, idem, allow_older, lift_quarantine)
        return _settled(evaluation, registry.promote(request), idem)
    request = promotion_request(store, evaluation, gate, model, idem, allow_older, lift_quarantine)
    # The evidence is the evaluation: it is put back first, when it was lost since.
    check_promotion(registry, store, evaluation.pipeline, request, needs={EVALUATION})
    check_evidence(store, evaluation, gate, allow_list=allow_list)
    gate = _overruled(gate) if despite_gates and refuses(gate) else gate
    if approval is not None and (refused := _not_approved(registry, model, evaluation, approval)):
        return PromotionResult(gate, f"Not promoted: {refused}", skipped=True)
    if refuses(gate):
        return PromotionResult(gate, _not_promoted(gate), skipped=True)
    for _ in range(_PATIENCE):
        request = promotion_request(store, evaluation, gate, model, idem, allow_older, lift_quarantine)
        check_promotion(registry, store, evaluation.pipeline, request, read=True)
        changed = None if despite_gates else keep_look(registry, store, evaluation, gate, model=model)
        if changed is None:
            outcome = registry.promote(_explained(request, trained_for, approval, approver=approver, why=why))
            if outcome.status != "stale":
                return _settled(evaluation, outcome, idem)
            changed = f"the champion changed after it was approved: {outcome.reason}"
        if approval is not None:
            return PromotionResult(gate, f"Not promoted: {changed}. Train again to request approval.", skipped=True)
        evaluation, gate = _gate_again(
            registry, store, evaluation, gate, model, allow_older=allow_older, allow_list=allow_list
        )
        if refuses(gate):
            # Measured again, it never has the same bytes. With the effect as its key, people are notified of it once.
            gate = gate.model_copy(update={"key": idem})
            return PromotionResult(gate, _not_promoted(gate), skipped=True, refused=gate)
    return PromotionResult(gate, f"Not promoted: the champion changed {_PATIENCE} times in the meantime.", skipped=True)


def refuses(gate: StepResult) -> bool:
    """Return whether the gates keep the challenger back."""
    return gate.failure is not None or not gate.facts.get("passed")


def _overruled(gate: StepResult) -> StepResult:
    facts = {**gate.facts, "passed": True, "reason": f"despite {gate.facts.get('reason')}"}
    return gate.model_copy(update={"facts": facts, "failure": None})


def _not_promoted(gate: StepResult) -> str:
    return f"Not promoted: {gate.facts.get('reason')}"


def _explained(
    request: PromotionRequest,
    trained_for: str | None,
    approval: StepResult | None,
    *,
    approver: str | None,
    why: str | None,
) -> PromotionRequest:
    """Return the request with the reasons that monitoring and people gave."""
    reason = request.reason
    if trained_for is not None:
        reason = f"{reason}. Retrained for {text_within(trained_for, _MAX_TRAINED_FOR)}"
    if approval is not None:
        approver, reason = str(approval.facts["by"]), f"{reason}. {approval.facts['sentence']}"
    if why is not None:
        reason = f"{text_within(why, _MAX_TRAINED_FOR)} ({reason})"
    return request.model_copy(update={"reason": reason, "approver": approver})


def _not_approved(registry: Registry, model: str, evaluation: StepResult, approval: StepResult) -> str | None:
    """Return why a person's word keeps the challenger back, None when it does not.

    :raises MLOpsError: when it is about another version, or the ledger does not hold it.
    """
    stored = next((one for one in registry.approvals(model) if one.idem == approval.key), None)
    if stored is None or (stored.answer, stored.version) != (approval.facts["answer"], approval.facts["version"]):
        raise MLOpsError(
            "the ledger does not contain this approval",
            got=approval.facts,
            expected="an answer that the approve task wrote into the ledger",
            hint="Clear the approve task to request approval again.",
        )
    if approval.facts["version"] != evaluation.facts["version"]:
        raise MLOpsError(
            "the approval is about another version",
            got=approval.facts["version"],
            expected=evaluation.facts["version"],
            hint="Clear the approve task, or pass the output of the operator that requested approval of this version.",
        )
    return None if approval.facts["answer"] == "approved" else str(approval.facts["sentence"])


def _settled(evaluation: StepResult, outcome: PromotionOutcome, idem: str) -> PromotionResult:
    entry = outcome.entry
    mine = entry is not None and entry.idem == idem
    facts = {key: evaluation.facts[key] for key in ("version", "run_id", "experiment_id") if key in evaluation.facts}
    result = StepResult(
        step="promote",
        pipeline=evaluation.pipeline,
        key=idem,
        as_of=evaluation.as_of,
        facts={
            **facts,
            "status": outcome.status,
            "reason": outcome.reason,
            "champion": None if entry is None else entry.version,
            "seq": None if entry is None else entry.seq,
            "trained_to": None if entry is None or entry.trained_to is None else entry.trained_to.isoformat(),
            "metrics": evaluation.facts.get("metrics"),
        },
    )
    skipped = outcome.status in ("older", "quarantined")
    return PromotionResult(result, outcome.reason, skipped=skipped, mine=mine)


def check_promotion(
    registry: Registry,
    store: ArtifactStore,
    pipeline: str,
    request: PromotionRequest,
    *,
    needs: frozenset[str] | set[str] = FILES,
    read: bool = False,
) -> None:
    """Look for every file that the version will be served and watched by, before the ledger names it.

    :param needs: which of them have to be there.
    :param read: read them whole.
    :raises ArtifactError: one is lost, and cannot be put back.
    """
    lost = lost_files(registry, store, pipeline, request.model, request, read=read)
    if needs & set(lost):
        raise ArtifactError(
            f"version {request.version} of {request.model!r} cannot be promoted: "
            f"its {' and its '.join(lost)} {'is' if len(lost) == 1 else 'are'} lost",
            got="; ".join(lost.values()),
            hint="Nothing was changed. Clear the training's tasks `train`, `evaluate` and `refit` to recreate it.",
        )


def _gate_again(
    registry: Registry,
    store: ArtifactStore,
    evaluation: StepResult,
    gate: StepResult,
    model: str,
    *,
    allow_older: bool,
    allow_list: AllowList | None,
) -> tuple[StepResult, StepResult]:
    """Evaluate and gate once more, against the champion that the ledger names now.

    Nothing that lies in the store is taken for the result: what was measured so a moment ago is measured again.
    """
    measured = request_behind(store, evaluation, allow_list=allow_list)
    lineage = str(evaluation.facts["lineage"])
    entry = registry.champion_to_beat(model, as_of=evaluation.as_of, lineage=lineage, allow_older=allow_older)
    champion = None if entry is None else champion_of(registry, store, evaluation.pipeline, model, entry)
    champion = with_unseen(registry, store, model, champion, lineage=lineage, as_of=evaluation.as_of)
    # The version is of this winner, whoever would be chosen now.
    section = {**measured.section, "winner": evaluation.facts["winner"]}
    request = measured.model_copy(update={"champion": champion, "section": section, "recompute": True})
    again = compared(run_step(request, store), champion)
    published = {name: evaluation.facts[name] for name in ("version", "run_id", "experiment_id")}
    # The model that serves is of the same winner, whoever the champion is.
    facts, refs = carried(evaluation)
    changed = {"facts": {**again.facts, **published, **facts}, "artifacts": {**again.artifacts, **refs}}
    again = again.model_copy(update=changed)
    gates = request_behind(store, gate, allow_list=allow_list)
    # The model is the one that was timed a moment ago.
    inputs = {**gates.inputs, "evaluation": [again]}
    judged = run_step(gates.model_copy(update={"inputs": inputs, "recompute": True}), store)
    cards = {role: ref for role, ref in evaluation.artifacts.items() if role == "card_facts"}
    renew_card(registry, store, again.model_copy(update={"artifacts": {**again.artifacts, **cards}}), judged)
    return again, judged


def promotion_request(
    store: ArtifactStore,
    evaluation: StepResult,
    gate: StepResult,
    model: str,
    idem: str,
    allow_older: bool,
    lift_quarantine: bool,
) -> PromotionRequest:
    """Return the request that makes the winner of an evaluation champion."""
    facts: Any = evaluation.facts
    serving = serving_of(store, evaluation)
    return PromotionRequest(
        model=model,
        idem=idem,
        version=facts["version"],
        digest=serving.info.digest,
        sha256=serving.artifact.sha256,
        artifact=serving.artifact,
        judged=serving.judged,
        trained_to=serving.trained_to,
        lineage=facts["lineage"],
        order_key=evaluation.as_of,
        compared_with=facts["compared_with"],
        metrics=facts["metrics"],
        gates=gate.facts.get("verdicts") or [],
        allow_older=allow_older,
        lift_quarantine=lift_quarantine,
        reason=str(gate.facts.get("reason") or ""),
        remarks=gate.facts.get("remarks") or [],
        reference=serving.reference or evaluation.artifacts.get("reference"),
        evaluation=evaluation.artifacts["evaluation"],
        verdicts=gate.artifacts["verdicts"].sha256,
    )


def effect_id(caller: tuple[str, ...], evaluation: StepResult) -> str:
    """Return the idempotency key of an effect: who it is of, and what it is about."""
    roles = ("model", "model_info", REFIT)
    digests = {role: ref.sha256 for role, ref in evaluation.artifacts.items() if role in roles}
    return hashlib.sha256(json.dumps([*caller, digests], sort_keys=True).encode()).hexdigest()
