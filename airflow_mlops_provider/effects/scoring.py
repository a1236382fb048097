"""Scoring a window with the champion, whatever state its file is in, and publishing its predictions."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.as_of import as_of_text
from airflow_mlops_provider.effects.champions import as_champion
from airflow_mlops_provider.effects.stored_files import put_back_model
from airflow_mlops_provider.evaluation.report import EvaluationReport
from airflow_mlops_provider.evaluation.shadow import compare_predictions
from airflow_mlops_provider.exceptions import (
    ArtifactError,
    DataError,
    ModelError,
    ModelUnavailableError,
    TransientServiceError,
)
from airflow_mlops_provider.failpoints import failpoint
from airflow_mlops_provider.job import Champion
from airflow_mlops_provider.registry import former_champions
from airflow_mlops_provider.results import text_within

if TYPE_CHECKING:
    from airflow_mlops_provider.registry import LedgerEntry, Registry
    from airflow_mlops_provider.results import ArtifactRef, StepResult
    from airflow_mlops_provider.storage import ArtifactStore

log = logging.getLogger(__name__)

#: Runs the step `score`: settings and the version to ask, None for the baseline in the settings.
ScoreWith = Callable[[dict[str, Any], Champion | None], "StepResult"]

CHAMPION, CHALLENGER = "champion", "challenger"
#: How often a window is scored while the champion changes under it.
_PATIENCE = 5
#: How many former champions may stand in for the champion, the latest first.
_STAND_INS = 3
#: Longest reason in the facts, in bytes.
_MAX_REASON = 300


def score(
    registry: Registry,
    store: ArtifactStore,
    *,
    model: str,
    score_with: ScoreWith,
    version: int | None = None,
    alias: str = CHAMPION,
    shadow: bool = False,
    published: Callable[[StepResult], None] | None = None,
) -> StepResult | None:
    """Score, and publish the partition of the run's as_of. Safe to repeat: it is replaced as a whole.

    The champion is the one that the ledger names. When its file is lost, MLflow's copy is put back. When it cannot be
    loaded, former champions predict, the latest first; then a baseline that predicts for every row what the champion's
    training target was on average. All are reported loudly. A version that was requested by number or by another alias
    has no stand-in.
    When the champion changes meanwhile, the window is scored again: the partition is always the last champion's.

    :param version: score with this version.
    :param alias: score with the version of this alias; of the champion the ledger decides.
    :param shadow: score with the challenger as well, kept apart.
    :param published: is called with each scoring whose partition was written, and writes it elsewhere: the last call
        is that of the last champion.
    :return: the scoring; None when there is no champion yet.
    :raises ModelUnavailableError: when nothing is left to ask.
    """
    if version is None and alias == CHAMPION:
        scored = _with_champion(registry, store, model, score_with, published)
        if scored is None:
            return None
    else:
        scored = _with_fallback(score_with({}, chosen(registry, model, version=version, alias=alias)), None)
        scored = _published(store, scored, published)
    return _beside(registry, store, scored, model, score_with) if shadow else scored


def chosen(registry: Registry, model: str, *, version: int | None = None, alias: str = CHAMPION) -> Champion:
    """Return a version by number, or by its alias: from the ledger when it is there, else as it was registered.

    :raises ModelError: when no version has the alias.
    :raises RegistryError: when there is no such version.
    """
    history = registry.history(model)
    if version is None:
        version = history[-1].version if alias == CHAMPION and history else registry.alias(model, alias)
    if version is None:
        raise ModelError(f"model {model!r} has no version with the alias {alias!r}", got=f"{len(history)} champions")
    for entry in reversed(history):
        if entry.version == version:
            return as_champion(entry)
    found = registry.version(model, version)
    return Champion(seq=0, version=version, digest=found.digest, model=found.artifact, order_key=found.order_key)


def _with_champion(
    registry: Registry,
    store: ArtifactStore,
    model: str,
    score_with: ScoreWith,
    published: Callable[[StepResult], None] | None,
) -> StepResult | None:
    """Score with the champion, publish, and see that it is champion still: else again, with the one that is.

    Two runs may score one `as_of`, such as that of the schedule and that of a new champion. Whichever ends last, the
    partition is that of the ledger's head: the one that published for a former head sees the new one, and goes on.
    """
    for _ in range(_PATIENCE):
        history = registry.serving(model)
        if not history:
            return None
        head = history[-1]
        entries = [head, *islice(former_champions(history), _STAND_INS)]
        scored = _published(store, _with_first_of(registry, store, model, entries, score_with), published)
        _keep_stand_in(registry, store, model, entries[1:2])
        now = registry.serving(model)
        if not now or now[-1].seq == head.seq:
            return scored
        log.info("Version %s is now the champion: the window is scored again.", now[-1].version)
    raise TransientServiceError(f"the champion of {model!r} changed {_PATIENCE} times while a window was scored")


def _with_first_of(
    registry: Registry, store: ArtifactStore, model: str, entries: Sequence[LedgerEntry], score_with: ScoreWith
) -> StepResult:
    """Score with the first champion that can predict, or with a baseline."""
    reasons: list[ModelUnavailableError] = []
    champions = [as_champion(entry) for entry in entries]
    for entry, champion in zip(entries, champions, strict=True):
        try:
            scored = _score_by_entry(registry, store, model, entry, score_with)
        except ModelUnavailableError as error:
            log.warning("FALLBACK: the model %s cannot be used: %s", model, error)
            reasons.append(error)
            continue
        if reasons:
            log.warning("FALLBACK: %s was scored with a former champion, version %s.", model, champion.version)
        return _with_fallback(scored, "former" if reasons else None, reasons)
    for baseline in _baselines(store, champions):
        scored = score_with({"baseline": baseline}, None)
        log.warning("FALLBACK: no model of %s can be loaded. Every row gets the baseline %s.", model, baseline)
        return _with_fallback(scored, "baseline", reasons)
    raise reasons[0]


def _score_by_entry(
    registry: Registry, store: ArtifactStore, model: str, entry: LedgerEntry, score_with: ScoreWith
) -> StepResult:
    """Ask a version; once more when its file was lost and is put back.

    :raises ModelUnavailableError: it cannot predict.
    """
    champion = as_champion(entry)
    try:
        return score_with({}, champion)
    except ModelUnavailableError as error:
        try:
            if store.holds(champion.model):
                raise
            why = put_back_model(registry, store, model, entry)
        except (ArtifactError, TransientServiceError) as trouble:  # rows are not kept waiting for it
            why = str(trouble)
        if why is not None:
            log.warning("FALLBACK: %s", why)
            raise error from None
    return score_with({}, champion)


def _keep_stand_in(registry: Registry, store: ArtifactStore, model: str, stand_ins: Sequence[LedgerEntry]) -> None:
    """Look whether the file is there of who stands in for the champion, before it is needed."""
    for entry in stand_ins:
        try:
            why = None if store.has(entry.artifact) else put_back_model(registry, store, model, entry)
        except (ArtifactError, TransientServiceError) as trouble:
            why = str(trouble)
        if why is not None:
            log.warning("Version %s of %s cannot stand in for the champion: %s", entry.version, model, why)


def _baselines(store: ArtifactStore, champions: list[Champion]) -> Iterator[dict[str, Any]]:
    """Yield what the champions' evaluations know of their training targets: class shares, or the mean."""
    for champion in champions:
        if champion.evaluation is None:
            continue
        try:
            report = store.read_document(champion.evaluation, EvaluationReport)
        except ArtifactError as error:
            log.warning("FALLBACK: there is no baseline of version %s: %s", champion.version, error)
            continue
        shares, mean = report.predictions.target_shares, report.predictions.target_mean
        if report.classes and shares:
            yield {"classes": report.classes, "values": [shares[str(label)] for label in report.classes]}
        elif mean is not None:
            yield {"values": [mean]}


def _with_fallback(
    scored: StepResult, fallback: str | None, reasons: list[ModelUnavailableError] | None = None
) -> StepResult:
    facts = {**scored.facts, "fallback": fallback}
    if reasons:
        facts["reason"] = text_within(str(reasons[0]), _MAX_REASON)
    return scored.model_copy(update={"facts": facts})


def _published(store: ArtifactStore, scored: StepResult, published: Callable[[StepResult], None] | None) -> StepResult:
    partition = _publish(store, scored.artifacts["predictions"], "predictions", scored)
    scored = scored.model_copy(update={"facts": {**scored.facts, "partition": partition}})
    if published is not None:
        published(scored)
    return scored


def _publish(store: ArtifactStore, predictions: ArtifactRef, folder: str, scored: StepResult) -> str:
    failpoint("predictions.publish.before")
    key = f"{folder}/{scored.pipeline}/as_of={as_of_text(scored.as_of)}/predictions.parquet"
    address = store.publish(predictions, key)
    failpoint("predictions.publish.after")
    log.info("Published %s rows as %s", scored.facts.get("rows"), address)
    return address


# ---------------------------------------------------------------- the shadow


def _beside(
    registry: Registry, store: ArtifactStore, scored: StepResult, model: str, score_with: ScoreWith
) -> StepResult:
    """Score with the challenger as well. What is wrong with it is reported, and takes nothing from the champion."""
    version = registry.alias(model, CHALLENGER)
    if version is None or version == scored.facts["version"]:
        why = "there is no challenger" if version is None else "the challenger is the champion"
        return _with_shadow(scored, {"version": version, "why": why})
    try:
        shadow = score_with({}, chosen(registry, model, version=version))
    except (ModelError, DataError, ArtifactError) as error:
        log.warning("The challenger of %s, version %s, cannot score alongside the champion: %s", model, version, error)
        return _with_shadow(scored, {"version": version, "why": text_within(str(error), _MAX_REASON)})
    shadow_predictions = shadow.artifacts["predictions"]
    compared = compare_predictions(store, scored.artifacts["predictions"], shadow_predictions)
    partition = _publish(store, shadow_predictions, "predictions_shadow", shadow)
    log.info("Alongside the champion, version %s: %s", version, compared)
    with_it = scored.model_copy(update={"artifacts": {**scored.artifacts, "shadow": shadow_predictions}})
    return _with_shadow(with_it, {"version": version, **compared, "partition": partition})


def _with_shadow(scored: StepResult, facts: dict[str, Any]) -> StepResult:
    return scored.model_copy(update={"facts": {**scored.facts, "shadow": facts}})
