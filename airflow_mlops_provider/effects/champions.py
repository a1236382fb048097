"""Champions, from ledger entries to what steps are given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.evaluation.report import training_id
from airflow_mlops_provider.job import Champion
from airflow_mlops_provider.registry.looks import Look, unseen_by
from airflow_mlops_provider.results import StepResult
from airflow_mlops_provider.spec import Frozen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from airflow_mlops_provider.registry import LedgerEntry, Registry
    from airflow_mlops_provider.storage import ArtifactStore


class ComparableChampion(Frozen):
    """A champion that a challenger of another lineage is compared with.

    :param recipe: what its replacements are looked at by; None of an earlier release.
    """

    lineage: str
    champion: Champion
    recipe: str | None = None


class ComparableChampions(Document):
    """Those that a training may be compared with, as they are stored: the later first.

    :param looks: at replacements of them.
    """

    SCHEMA = 5

    champions: list[ComparableChampion]
    looks: list[Look] = []

    @classmethod
    def upgraded(cls, raw: Any, schema: int) -> Any:
        """Return what was stored as a bare list, or under its former name."""
        if schema == 1:
            return {"champions": raw}
        return raw if schema > 4 else {("champions" if key == "rivals" else key): value for key, value in raw.items()}


def find_comparable_champions(
    registry: Registry, store: ArtifactStore, *, pipeline: str, model: str, as_of: datetime, allow_older: bool
) -> StepResult:
    """Return what the ledger says of the champions that a training of `as_of` may be compared with.

    Asked before the candidates are known, since evaluation reads no service; so the champion is there and, for a
    repeated training that made it, the one before it.
    """
    from airflow_mlops_provider.effects.looks import recipe_behind
    from airflow_mlops_provider.effects.stored_files import champion_of

    entries = registry.comparable_champions(model, as_of=as_of, allow_older=allow_older)
    champions = [champion_of(registry, store, pipeline, model, entry) for entry in entries]
    found = [
        ComparableChampion(lineage=entry.lineage, champion=champion, recipe=recipe_behind(store, champion))
        for entry, champion in zip(entries, champions, strict=True)
    ]
    recipes = {one.recipe for one in found}
    looks = [look for look in registry.looks(model).history() if look.recipe in recipes] if found else []
    ref = store.add_document(ComparableChampions(champions=found, looks=looks))
    return StepResult(
        step="champion",
        pipeline=pipeline,
        key=ref.sha256,
        as_of=as_of,
        artifacts={"champions": ref},
        facts={"champion": found[0].champion.version if found else None},
    )


def champion_to_compare(store: ArtifactStore, comparable: StepResult, models: Sequence[StepResult]) -> Champion | None:
    """Return the champion to compare a set of trained candidates with, None for the first.

    :param comparable: what `find_comparable_champions` returned.
    """
    lineage = training_id(models)
    # A run that an earlier release began hands them over under their former name.
    ref = comparable.artifacts.get("champions") or comparable.artifacts["rivals"]
    found = store.read_document(ref, ComparableChampions)
    other = next((one for one in found.champions if one.lineage != lineage), None)
    if other is None or other.recipe is None:
        return None if other is None else other.champion
    unseen = unseen_by(found.looks, other.recipe, lineage, comparable.as_of)
    return other.champion.model_copy(update={"unseen": unseen})


def compared(evaluation: StepResult, champion: Champion | None) -> StepResult:
    """Return an evaluation that says which ledger entry its champion is from: promotion checks that it still is."""
    facts = {**evaluation.facts, "compared_with": None if champion is None else champion.seq}
    return evaluation.model_copy(update={"facts": facts})


def as_champion(entry: LedgerEntry) -> Champion:
    """Return what a step is given about the version of a ledger entry."""
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
