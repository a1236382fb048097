"""What a look at a replacement of the champion may spend, and the record of what it has spent.

`publish` writes the record, since it runs whatever the gates' verdicts are; `promote` relies on nothing unrecorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.evaluation.report import EvaluationReport
from airflow_mlops_provider.evaluation.verdicts import Verdicts
from airflow_mlops_provider.registry.looks import Look, unseen_by
from airflow_mlops_provider.runner import request_behind

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_mlops_provider.evaluation.verdicts import Verdict
    from airflow_mlops_provider.job import Champion
    from airflow_mlops_provider.registry import Registry
    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.storage import ArtifactStore


def recipe_behind(store: ArtifactStore, champion: Champion) -> str:
    """Return the champion's recipe; of an old one, which nobody knows, the digest of its model."""
    if champion.evaluation is None:
        return champion.digest
    return store.read_document(champion.evaluation, EvaluationReport).challenger.recipe or champion.digest


def with_unseen(
    registry: Registry, store: ArtifactStore, model: str, champion: Champion | None, *, lineage: str, as_of: datetime
) -> Champion | None:
    """Return a champion that says how much of its challenger's data no earlier look at a replacement has used."""
    if champion is None:
        return None
    unseen = unseen_by(registry.looks(model).history(), recipe_behind(store, champion), lineage, as_of)
    return champion.model_copy(update={"unseen": unseen})


def look_of(store: ArtifactStore, evaluation: StepResult, gate: StepResult) -> Look | None:
    """Return the look at a replacement that an evaluation and its gates took; None when they took none."""
    report = store.read_document(evaluation.artifacts["evaluation"], EvaluationReport)
    held = report.held_back
    verdicts = [*_verdicts(store, gate), *(() if held is None else held.verdicts)]
    champion = _champion_behind(store, evaluation)
    if champion is None or not (spent := max((verdict.spent or 0.0 for verdict in verdicts), default=0.0)):
        return None
    return Look(
        recipe=recipe_behind(store, champion),
        lineage=report.lineage,
        as_of=evaluation.as_of,
        spent=spent,
        candidate=report.winner if held is None else held.candidate,
    )


def keep_look(
    registry: Registry, store: ArtifactStore, evaluation: StepResult, gate: StepResult, *, model: str
) -> str | None:
    """Write down the look that was taken, once for each training; return why it does not hold, None when it does.

    It does not when another training looked at the same data meanwhile and wrote that down first: then less is left to
    spend than it was judged by.
    """
    if (look := look_of(store, evaluation, gate)) is None:
        return None
    looks = registry.looks(model)
    looks.write(look)
    champion = _champion_behind(store, evaluation)
    if champion is None or all(verdict.spent is None for verdict in _verdicts(store, gate)):
        return None
    unseen = unseen_by(looks.history(), look.recipe, look.lineage, look.as_of)
    return None if champion.unseen == unseen else "another training used the same data in the meantime"


def _verdicts(store: ArtifactStore, gate: StepResult) -> list[Verdict]:
    return store.read_document(gate.artifacts["verdicts"], Verdicts).verdicts


def _champion_behind(store: ArtifactStore, evaluation: StepResult) -> Champion | None:
    return request_behind(store, evaluation, shown_only=True).champion
