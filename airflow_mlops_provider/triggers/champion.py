"""Champions that change: what the ledger of a model says now."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import shorten
from airflow_mlops_provider.triggers.polling import PollResult
from airflow_mlops_provider.triggers.registry import RegistryTrigger

if TYPE_CHECKING:
    from airflow_mlops_provider.registry import Registry
    from airflow_mlops_provider.registry.ledger import LedgerEntry


class ChampionTrigger(RegistryTrigger):
    """Fire when the ledger's head is the one waited for; arguments as `look_for_champion`."""

    def __init__(
        self,
        *,
        model: str,
        changed_since: int | None,
        min_version: int | None,
        newer_than: str | None,
        mlflow_conn_id: str,
        poke_interval: float,
        memory: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            mlflow_conn_id=mlflow_conn_id,
            poke_interval=poke_interval,
            memory=memory,
            model=model,
            changed_since=changed_since,
            min_version=min_version,
            newer_than=newer_than,
        )

    def poll(self, registry: Registry, memory: dict[str, Any]) -> PollResult:
        """Read the ledger."""
        return look_for_champion(registry, memory=memory, **self.question)


def look_for_champion(
    registry: Registry,
    model: str,
    *,
    changed_since: int | None,
    min_version: int | None,
    newer_than: str | None,
    memory: dict[str, Any],
) -> PollResult:
    """Look once at the head of a model's ledger. With no condition, any entry after the first look is waited for.

    :param changed_since: a `seq`; the head must lie after it.
    :param min_version: the champion must be at least this version.
    :param newer_than: ISO moment; the champion's as_of must lie after it.
    :param memory: the `seq` at the first look; or, when MLflow was away then, the moment at which it `started`.
    :raises RegistryError: the ledger is damaged.
    :raises TransientServiceError: MLflow cannot be reached.
    """
    history = registry.history(model)
    head = history[-1] if history else None
    if changed_since is None and min_version is None and newer_than is None:
        changed_since = _seq_at_start(history, memory)
        memory = {"seq": changed_since}
    where = "no champion" if head is None else f"version {head.version} (entry {head.seq}) as champion"
    if head is not None and _is_awaited(head, changed_since, min_version, newer_than):
        return PollResult(found=_as_value(model, head))
    wanted = {"after entry": changed_since, "with at least version": min_version, "with an as_of after": newer_than}
    condition = ", ".join(f"{name} {value}" for name, value in wanted.items() if value is not None)
    return PollResult(memory=memory, missing=f"{model} has {where}; waiting for one {condition}.")


def _seq_at_start(history: list[LedgerEntry], memory: dict[str, Any]) -> int:
    if "seq" in memory:
        return int(memory["seq"])
    if "started" in memory:
        started = datetime.fromisoformat(memory["started"])
        history = [entry for entry in history if entry.at <= started]
    return history[-1].seq if history else 0


def _is_awaited(head: LedgerEntry, changed_since: int | None, min_version: int | None, newer_than: str | None) -> bool:
    return (
        (changed_since is None or head.seq > changed_since)
        and (min_version is None or head.version >= min_version)
        and (newer_than is None or head.order_key > datetime.fromisoformat(newer_than))
    )


def _as_value(model: str, entry: LedgerEntry) -> dict[str, Any]:
    return {
        "model": model,
        "seq": entry.seq,
        "action": entry.action,
        "version": entry.version,
        "as_of": entry.order_key.isoformat(),
        "at": entry.at.isoformat(),
        "digest": entry.digest,
        "reason": shorten(entry.reason),
    }
