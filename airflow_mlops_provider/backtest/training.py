"""One training as the training DAG does it, from ingest to the gates, whose promotion is an entry of a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.as_of import in_utc
from airflow_mlops_provider.effects.champions import as_champion, compared
from airflow_mlops_provider.effects.gating import champion_gates, gate_inputs
from airflow_mlops_provider.effects.looks import look_of, recipe_behind
from airflow_mlops_provider.effects.promotion import promotion_request
from airflow_mlops_provider.effects.publishing import evaluation_inputs
from airflow_mlops_provider.effects.refitting import refit_work, with_refit
from airflow_mlops_provider.evaluation.report import training_id
from airflow_mlops_provider.exceptions import DataError, ModelError
from airflow_mlops_provider.registry.ledger import champion_to_beat
from airflow_mlops_provider.registry.looks import unseen_by
from airflow_mlops_provider.registry.promotion import promote
from airflow_mlops_provider.spec.metrics import as_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from airflow_mlops_provider.backtest.steps import Steps
    from airflow_mlops_provider.registry import LedgerEntry
    from airflow_mlops_provider.registry.champion_store import ChampionStore
    from airflow_mlops_provider.registry.looks import Look
    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.spec import Pipeline


@dataclass(frozen=True)
class TrainingOutcome:
    """What came of a training.

    :param entry: the ledger entry that makes its model champion; None when the gates or the ledger refuse it.
    :param reason: why, in words.
    :param failed: there is no model at all.
    """

    reason: str
    entry: LedgerEntry | None = None
    failed: bool = False


def train(
    steps: Steps,
    as_of: datetime,
    champions: ChampionStore,
    why: str,
    looks: list[Look] | None = None,
    *,
    without: Sequence[tuple[datetime, datetime]] = (),
) -> TrainingOutcome:
    """Train on what was known at a moment, and hold the best candidate against the champion of a ledger.

    :param champions: of the past that is replayed.
    :param why: why, which the ledger entry keeps.
    :param looks: at replacements of champions so far; this one is added.
    :param without: stretches of time whose rows are left out.
    """
    looks = [] if looks is None else looks
    try:
        models = candidates(steps, as_of, without)
        evaluation = evaluated(steps, as_of, champions.read().history, models, looks)
    except (DataError, ModelError) as error:
        return TrainingOutcome(str(error), failed=True)
    gate = judged(steps, evaluation)
    if (look := look_of(steps.store, evaluation, gate)) is not None:
        looks.append(look)
    reason = str(gate.facts.get("reason") or "")
    if gate.failure is not None or not gate.facts.get("passed"):
        return TrainingOutcome(f"the gates refuse it: {reason}")
    refit = refitted(steps, evaluation, gate)
    if refit.failure is not None:
        return TrainingOutcome(str(refit.failure.as_error()))
    evaluation = with_refit(evaluation, refit)
    request = promotion_request(
        steps.store, evaluation, gate, steps.pipeline.model_name, f"backtest {as_of.isoformat()}", False, False
    )
    request = request.model_copy(update={"reason": f"{reason}. Trained for: {why}"})
    outcome = promote(champions, request)
    if outcome.status != "promoted":
        return TrainingOutcome(outcome.reason)
    return TrainingOutcome(reason, outcome.entry)


def version_at(as_of: datetime) -> int:
    """Return the version number of a training: its moment.

    So the same training has the same number in every replay, whatever was trained before, and is found in the store.

    >>> from datetime import UTC, datetime
    >>> version_at(datetime(2013, 3, 1, tzinfo=UTC)), version_at(datetime(2013, 3, 1, 6, tzinfo=UTC))
    (20130301, 201303010600)
    """
    moment = in_utc(as_of)
    return int(moment.strftime("%Y%m%d" if (moment.hour, moment.minute) == (0, 0) else "%Y%m%d%H%M"))


def candidates(steps: Steps, as_of: datetime, without: Sequence[tuple[datetime, datetime]] = ()) -> list[StepResult]:
    """Return the trained candidates; one that fails is lost, as in the DAG.

    :param without: stretches of time whose rows are left out.
    :raises DataError: the data does not do.
    :raises ModelError: no candidate is left.
    """
    pipeline = steps.pipeline
    dataset = steps.ingest(as_of, without=without)
    inputs = {"dataset": [dataset]}
    checked = steps.run("validate", as_of=as_of, section=pipeline.validation.model_dump(mode="json"), inputs=inputs)
    if checked.failure is not None:
        raise DataError(str(checked.failure.as_error()))
    section = pipeline.preparation.model_dump(mode="json")
    split = steps.run("prepare", as_of=as_of, section=section, inputs=inputs)
    models, lost = [], []
    for name, candidate in pipeline.candidates.items():
        section = {"name": name, "candidate": candidate.model_dump(mode="json", exclude_defaults=True)}
        try:
            models.append(steps.run("train", as_of=as_of, section=section, inputs={**inputs, "split": [split]}))
        except ModelError as error:
            lost.append(f"{name}: {error}")
    if not models:
        raise ModelError("no candidate could be trained", got="; ".join(lost))
    return models


def evaluated(
    steps: Steps,
    as_of: datetime,
    history: Sequence[LedgerEntry],
    models: list[StepResult],
    looks: Sequence[Look] = (),
) -> StepResult:
    """Return what the candidates are worth beside the champion of a ledger."""
    pipeline, lineage = steps.pipeline, training_id(models)
    entry = champion_to_beat(history, as_of=as_of, lineage=lineage)
    champion = None if entry is None else as_champion(entry)
    if champion is not None:
        unseen = unseen_by(looks, recipe_behind(steps.store, champion), lineage, as_of)
        champion = champion.model_copy(update={"unseen": unseen})
    section = {
        "evaluation": pipeline.evaluation.model_dump(mode="json", exclude_defaults=True),
        "metrics": as_settings(pipeline.measured),
        "candidates": list(pipeline.training.candidates),
        "gates": champion_gates(_gates(pipeline)),
    }
    result = steps.run(
        "evaluate",
        as_of=as_of,
        section=section,
        inputs=evaluation_inputs(steps.store, models),
        champion=champion,
    )
    facts = {**compared(result, champion).facts, "version": version_at(as_of)}
    return result.model_copy(update={"facts": facts})


def judged(steps: Steps, evaluation: StepResult) -> StepResult:
    """Return what the gates say."""
    pipeline = steps.pipeline
    gates = _gates(pipeline)

    def run(step: str, section: dict[str, Any], inputs: dict[str, list[StepResult]]) -> StepResult:
        return steps.run(step, as_of=evaluation.as_of, section=section, inputs=inputs)

    inputs = gate_inputs(run, steps.store, evaluation, gates, calls=pipeline.evaluation.latency_calls)
    return run("gate", {"gates": gates, "metrics": pipeline.metrics}, inputs)


def _gates(pipeline: Pipeline) -> list[dict[str, Any]]:
    return [gate.model_dump(mode="json", exclude_defaults=True) for gate in pipeline.gates]


def refitted(steps: Steps, evaluation: StepResult, gate: StepResult) -> StepResult:
    """Return the model that serves."""
    section, inputs = refit_work(steps.store, evaluation, gate, refit=steps.pipeline.training.refit)
    return steps.run("refit", as_of=evaluation.as_of, section=section, inputs=inputs)
