"""Champions, from ledger entries to what steps are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.evaluation.report import lineage_of
from airflow_mlops_provider.job import Champion

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from airflow_mlops_provider.registry import LedgerEntry, Registry
    from airflow_mlops_provider.results import StepResult


def champion_for(
    registry: Registry, model: str, *, as_of: datetime, models: Sequence[StepResult], allow_older: bool
) -> Champion | None:
    """Return the champion to compare a set of trained candidates with, None for the first."""
    entry = registry.champion_for(model, as_of=as_of, lineage=lineage_of(models), allow_older=allow_older)
    return None if entry is None else as_champion(entry)


def as_champion(entry: LedgerEntry) -> Champion:
    """Return what a step is told of the version of a ledger entry."""
    return Champion(
        seq=entry.seq,
        version=entry.version,
        digest=entry.digest,
        model=entry.artifact,
        order_key=entry.order_key,
        metrics=entry.metrics,
        reference=entry.reference,
        evaluation=entry.evaluation,
    )
