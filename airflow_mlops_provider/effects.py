"""The effects of training, between the results of steps and the registry: publish, promote.

Never cached; each may be killed at any line and done again, and ends as if it had been done once.
"""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_mlops_provider import __version__
from airflow_mlops_provider.evaluation.report import EvaluationReport, lineage_of
from airflow_mlops_provider.exceptions import MLOpsError
from airflow_mlops_provider.job import Champion, StepRequest
from airflow_mlops_provider.modeling.model_file import ModelInfo as StoredModel
from airflow_mlops_provider.registry import (
    CandidateRun,
    DatasetInfo,
    ModelInfo,
    PromotionRequest,
    Publication,
)
from airflow_mlops_provider.results import StepResult
from airflow_mlops_provider.runner import run_step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from airflow_mlops_provider.registry import LedgerEntry, PromotionOutcome, Registry
    from airflow_mlops_provider.storage import ArtifactStore

#: How often a challenger is held against a champion that changes under it.
_PATIENCE = 5


def evaluation_inputs(store: ArtifactStore, models: Sequence[StepResult]) -> dict[str, list[StepResult]]:
    """Return what candidates are measured on: the dataset and the split that each of them was trained with.

    :raises MLOpsError: when there is no candidate, or they were trained on different data.
    """
    if not models:
        raise MLOpsError("there is no trained candidate to evaluate", hint="Look at the train tasks of this run.")
    requests = [StepRequest.model_validate_json(store.read_request(model)) for model in models]
    trained_on = {
        tuple(ref.sha256 for role in ("dataset", "split") for ref in request.inputs[role][0].artifacts.values())
        for request in requests
    }
    if len(trained_on) > 1:
        raise MLOpsError(
            "the candidates were trained on different data",
            got=[model.facts.get("candidate") for model in models],
            expected="one dataset and one split",
        )
    return {"dataset": requests[0].inputs["dataset"], "split": requests[0].inputs["split"], "models": list(models)}


def champion_for(
    registry: Registry, model: str, *, as_of: datetime, models: Sequence[StepResult], allow_older: bool
) -> Champion | None:
    """Return the champion to compare a set of trained candidates with, None for the first."""
    entry = registry.champion_for(model, as_of=as_of, lineage=lineage_of(models), allow_older=allow_older)
    return None if entry is None else _champion(entry)


def _champion(entry: LedgerEntry) -> Champion:
    return Champion(
        seq=entry.seq,
        version=entry.version,
        digest=entry.digest,
        model=entry.artifact,
        order_key=entry.order_key,
        metrics=entry.metrics,
    )


def publish(
    registry: Registry,
    store: ArtifactStore,
    evaluation: StepResult,
    inputs: Mapping[str, list[StepResult]],
    *,
    model: str,
    champion: Champion | None,
    tags: Mapping[str, str],
) -> StepResult:
    """Publish the candidates to MLflow and register the winner as challenger.

    :return: the evaluation, whose facts now hold the version, the run and the ledger entry compared with.
    """
    dataset = inputs["dataset"][0]
    measured = EvaluationReport.model_validate(store.read_json(evaluation.artifacts["evaluation"]))
    snapshot = dataset.artifacts["dataset"]
    everywhere = {**tags, **_environment()}
    published = registry.publish(
        Publication(
            model=model,
            experiment=evaluation.pipeline,
            lineage=lineage_of(inputs["models"]),
            as_of=evaluation.as_of,
            name=f"{evaluation.pipeline} {evaluation.as_of:%Y-%m-%d}",
            tags={
                **everywhere,
                "mlops.as_of": evaluation.as_of.isoformat(),
                **({"mlops.lost_candidates": ", ".join(measured.lost)} if measured.lost else {}),
            },
            dataset=DatasetInfo(
                name=f"{evaluation.pipeline}.dataset",
                digest=snapshot.sha256,
                uri=snapshot.uri,
                rows=int(str(dataset.facts["rows"])),
            ),
            candidates=[_candidate(store, trained, measured, everywhere) for trained in inputs["models"]],
            metrics=_defined(measured.candidates[measured.winner].metrics),
            winner=measured.winner,
            model_info=_published_model(store, evaluation),
            model_file=lambda: store.fetch(evaluation.artifacts["model"]),
        )
    )
    facts = {
        **evaluation.facts,
        "version": published.version,
        "run_id": published.run_id,
        "experiment_id": published.experiment_id,
        "compared_with": None if champion is None else champion.seq,
        "lineage": lineage_of(inputs["models"]),
    }
    return evaluation.model_copy(update={"facts": facts})


def links(ui_url: str | None, model: str, evaluation: StepResult) -> dict[str, str]:
    """Return addresses in the MLflow UI, by the name of the link; none when there is no UI."""
    facts = evaluation.facts
    if ui_url is None or "run_id" not in facts:
        return {}
    return {
        "MLflow run": f"{ui_url}/#/experiments/{facts['experiment_id']}/runs/{facts['run_id']}",
        "MLflow model version": f"{ui_url}/#/models/{quote(model, safe='')}/versions/{facts['version']}",
    }


@dataclass(frozen=True)
class Promotion:
    """What came of a promotion.

    :param result: the version, its metrics and its ledger entry.
    :param skipped: nothing was to be promoted; `reason` says why.
    :param mine: the ledger holds an entry that this very effect wrote, now or before a crash.
    """

    result: StepResult
    reason: str
    skipped: bool = False
    mine: bool = False


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
) -> Promotion:
    """Write the challenger into the ledger when its gates passed; hold it against a champion that changed meanwhile.

    :param caller: DAG, run, task and map index: with the inputs' digests the effect's identity, never the try number.
    :raises MLOpsError: when the gates judged another evaluation, or one with `on_fail: fail` does not hold against the
        champion that came meanwhile.
    """
    _check_judged(store, evaluation, gate)
    idem = _idem(caller, evaluation)
    for _ in range(_PATIENCE):
        if gate.failure is not None or not gate.facts.get("passed"):
            return Promotion(gate, f"Not promoted: {gate.facts.get('reason')}", skipped=True)
        request = _promotion_request(store, evaluation, gate, model, idem, allow_older, lift_quarantine)
        outcome = registry.promote(request)
        if outcome.status != "stale":
            return _settled(evaluation, outcome, idem)
        evaluation, gate = _gate_again(registry, store, evaluation, gate, model, allow_older=allow_older)
    return Promotion(gate, f"Not promoted: the champion changed {_PATIENCE} times meanwhile.", skipped=True)


def _settled(evaluation: StepResult, outcome: PromotionOutcome, idem: str) -> Promotion:
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
            "metrics": evaluation.facts.get("metrics"),
        },
    )
    skipped = outcome.status in ("older", "quarantined")
    return Promotion(result, outcome.reason, skipped=skipped, mine=mine)


def _check_judged(store: ArtifactStore, evaluation: StepResult, gate: StepResult) -> None:
    """Refuse gates of another evaluation, such as those of an earlier try after evaluate alone was cleared."""
    inputs = StepRequest.model_validate_json(store.read_request(gate)).inputs
    judged = [result.artifacts.get("evaluation") for result in inputs.get("evaluation", [])]
    if [ref.sha256 for ref in judged if ref is not None] != [evaluation.artifacts["evaluation"].sha256]:
        raise MLOpsError(
            "the gates did not judge this evaluation",
            got=f"a result of step {gate.step!r}",
            expected="the result of the gates on what evaluate returned",
            hint="Clear the gate task, or pass the output of the gate operator that judged it.",
        )


def _gate_again(
    registry: Registry, store: ArtifactStore, evaluation: StepResult, gate: StepResult, model: str, *, allow_older: bool
) -> tuple[StepResult, StepResult]:
    """Evaluate and gate once more, against the champion that the ledger names now."""
    measured = StepRequest.model_validate_json(store.read_request(evaluation))
    # The lineage that was published: the stored request may be that of an older training with the same outcome.
    lineage = str(evaluation.facts["lineage"])
    entry = registry.champion_for(model, as_of=evaluation.as_of, lineage=lineage, allow_older=allow_older)
    champion = None if entry is None else _champion(entry)
    again = run_step(measured.model_copy(update={"champion": champion, "recompute": False}), store)
    published = {name: evaluation.facts[name] for name in ("version", "run_id", "experiment_id", "lineage")}
    facts = {**again.facts, **published, "compared_with": None if champion is None else champion.seq}
    again = again.model_copy(update={"facts": facts})
    gates = StepRequest.model_validate_json(store.read_request(gate))
    judged = run_step(gates.model_copy(update={"inputs": {"evaluation": [again]}, "recompute": False}), store)
    if judged.failure is not None:
        raise judged.failure.as_error()
    return again, judged


def _promotion_request(
    store: ArtifactStore,
    evaluation: StepResult,
    gate: StepResult,
    model: str,
    idem: str,
    allow_older: bool,
    lift_quarantine: bool,
) -> PromotionRequest:
    facts: Any = evaluation.facts
    return PromotionRequest(
        model=model,
        idem=idem,
        version=facts["version"],
        digest=_model(store, evaluation).digest,
        sha256=evaluation.artifacts["model"].sha256,
        artifact=evaluation.artifacts["model"],
        lineage=facts["lineage"],
        order_key=evaluation.as_of,
        compared_with=facts["compared_with"],
        metrics=facts["metrics"],
        gates=gate.facts.get("verdicts") or [],
        allow_older=allow_older,
        lift_quarantine=lift_quarantine,
        reason=str(gate.facts.get("reason") or ""),
    )


def _idem(caller: tuple[str, ...], evaluation: StepResult) -> str:
    digests = {role: ref.sha256 for role, ref in evaluation.artifacts.items() if role in ("model", "model_info")}
    return hashlib.sha256(json.dumps([*caller, digests], sort_keys=True).encode()).hexdigest()


def _candidate(
    store: ArtifactStore, trained: StepResult, measured: EvaluationReport, tags: Mapping[str, str]
) -> CandidateRun:
    request = StepRequest.model_validate_json(store.read_request(trained))
    settings = request.section["candidate"]
    facts: Any = trained.facts
    name = facts["candidate"]
    params = {key: value for key, value in settings.items() if key != "params"} | settings.get("params", {})
    return CandidateRun(
        name=name,
        step_key=trained.key,
        params=params | {"seed": request.seed},
        metrics=_defined(measured.candidates[name].metrics),
        tags=dict(tags),
        seconds=facts.get("fit_seconds"),
    )


def _model(store: ArtifactStore, evaluation: StepResult) -> StoredModel:
    return StoredModel.model_validate(store.read_json(evaluation.artifacts["model_info"]))


def _published_model(store: ArtifactStore, evaluation: StepResult) -> ModelInfo:
    model = _model(store, evaluation)
    return ModelInfo(
        digest=model.digest,
        sha256=evaluation.artifacts["model"].sha256,
        artifact=evaluation.artifacts["model"],
        numeric=[feature.name for feature in model.features if feature.kind == "numeric"],
        categorical=[feature.name for feature in model.features if feature.kind == "categorical"],
        target=model.target,
        requirements=model.requirements,
        trusted_types=model.trusted_types,
        predict_function=model.predict_fn,
        input_example=model.input_example,
    )


def _defined(metrics: Mapping[str, float | None]) -> dict[str, float]:
    """Return the metrics that have a value on these rows."""
    return {name: value for name, value in metrics.items() if value is not None}


def _environment() -> dict[str, str]:
    """Return what made a run: code version and machine."""
    return {
        "mlops.version": __version__,
        "mlops.python": platform.python_version(),
        "mlops.machine": f"{platform.system()} {platform.machine()}",
    }
