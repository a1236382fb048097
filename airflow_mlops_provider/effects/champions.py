"""Champions, from ledger entries to what steps are given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.evaluation.report import lineage_of
from airflow_mlops_provider.job import Champion
from airflow_mlops_provider.registry.looks import Look, unseen_by
from airflow_mlops_provider.results import StepResult
from airflow_mlops_provider.spec import Frozen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from airflow_mlops_provider.registry import LedgerEntry, Registry
    from airflow_mlops_provider.storage import ArtifactStore


class Rival(Frozen):
    """A champion that a challenger of another lineage is compared with.

    :param recipe: what its replacements are looked at by; None of an earlier release.
    """

    lineage: str
    champion: Champion
    recipe: str | None = None


class Rivals(Document):
    """Those that a training may be compared with, as they are stored: the later first.

    :param looks: at replacements of them.
    """

    SCHEMA = 4

    rivals: list[Rival]
    looks: list[Look] = []

    @classmethod
    def upgraded(cls, raw: Any, schema: int) -> Any:
        """Return what was stored as a bare list."""
        return {"rivals": raw} if schema == 1 else raw


def find_rivals(
    registry: Registry, store: ArtifactStore, *, pipeline: str, model: str, as_of: datetime, allow_older: bool
) -> StepResult:
    """Return what the ledger says of the champions that a training of `as_of` may be compared with.

    Asked before the candidates are known, since evaluation reads no service; so the champion is there and, for a
    repeated training that made it, the one before it.
    """
    from airflow_mlops_provider.effects.looks import recipe_behind
    from airflow_mlops_provider.effects.stored_files import champion_of

    entries = registry.rivals(model, as_of=as_of, allow_older=allow_older)
    champions = [champion_of(registry, store, pipeline, model, entry) for entry in entries]
    found = [
        Rival(lineage=entry.lineage, champion=champion, recipe=recipe_behind(store, champion))
        for entry, champion in zip(entries, champions, strict=True)
    ]
    recipes = {rival.recipe for rival in found}
    looks = [look for look in registry.looks(model).history() if look.recipe in recipes] if found else []
    ref = store.add_document(Rivals(rivals=found, looks=looks))
    return StepResult(
        step="champion",
        pipeline=pipeline,
        key=ref.sha256,
        as_of=as_of,
        artifacts={"rivals": ref},
        facts={"champion": found[0].champion.version if found else None},
    )


def rival_of(store: ArtifactStore, rivals: StepResult, models: Sequence[StepResult]) -> Champion | None:
    """Return the champion to compare a set of trained candidates with, None for the first.

    :param rivals: what `find_rivals` returned.
    """
    lineage = lineage_of(models)
    found = store.read_document(rivals.artifacts["rivals"], Rivals)
    rival = next((one for one in found.rivals if one.lineage != lineage), None)
    if rival is None or rival.recipe is None:
        return None if rival is None else rival.champion
    unseen = unseen_by(found.looks, rival.recipe, lineage, rivals.as_of)
    return rival.champion.model_copy(update={"unseen": unseen})


def compared(evaluation: StepResult, champion: Champion | None) -> StepResult:
    """Return an evaluation that says which ledger entry its champion is from: promotion checks that it still is."""
    facts = {**evaluation.facts, "compared_with": None if champion is None else champion.seq}
    return evaluation.model_copy(update={"facts": facts})


def as_champion(entry: LedgerEntry) -> Champion:
    """Return what a step is told of the version of a ledger entry."""
    return Champion(
        seq=entry.seq,
        version=entry.version,
        digest=entry.digest,
        model=entry.artifact,
        judged=entry.judged,
        trained_to=entry.trained_to,
        order_key=entry.order_key,
        metrics=entry.metrics,
        reference=entry.reference,
        evaluation=entry.evaluation,
    )
