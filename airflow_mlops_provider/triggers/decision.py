"""Decisions of monitoring: what became of a window."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.as_of import as_of_text
from airflow_mlops_provider.exceptions import shorten
from airflow_mlops_provider.results import MAX_XCOM_BYTES
from airflow_mlops_provider.triggers.polling import PollResult
from airflow_mlops_provider.triggers.registry import RegistryTrigger

if TYPE_CHECKING:
    from airflow_mlops_provider.registry import Registry
    from airflow_mlops_provider.registry.decisions import DecisionEntry

_FIELDS = ("action", "rule", "bad", "suppressed", "champion")


class DecisionTrigger(RegistryTrigger):
    """Fire when a window has its decision; arguments as `look_for_decision`."""

    def __init__(
        self,
        *,
        model: str,
        window: str,
        mlflow_conn_id: str,
        poke_interval: float,
        memory: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            mlflow_conn_id=mlflow_conn_id, poke_interval=poke_interval, memory=memory, model=model, window=window
        )

    def poll(self, registry: Registry, memory: dict[str, Any]) -> PollResult:
        """Read the decisions."""
        return look_for_decision(registry, memory=memory, **self.question)


def look_for_decision(registry: Registry, model: str, *, window: str, memory: dict[str, Any]) -> PollResult:
    """Look once whether a window has its decision, which is written once and stays.

    :param window: the window's as_of, as ISO moment.
    :raises RegistryError: the decisions are damaged.
    :raises TransientServiceError: MLflow cannot be reached.
    """
    moment = datetime.fromisoformat(window)
    for entry in registry.decisions(model):
        if entry.window == moment:
            return PollResult(found=_as_value(model, entry))
    return PollResult(memory=memory, missing=f"Window {as_of_text(moment)} of {model} has no decision yet.")


def _as_value(model: str, entry: DecisionEntry) -> dict[str, Any]:
    decision: Any = entry.value
    value = {
        "model": model,
        "as_of": entry.window.isoformat(),
        "at": entry.at.isoformat(),
        **{name: decision.get(name) for name in _FIELDS},
        "reason": shorten("; ".join(decision.get("reasons") or [])),
        "why": shorten(decision.get("why") or ""),
        "columns": list(decision.get("columns") or []),
    }
    while value["columns"] and len(json.dumps(value)) > MAX_XCOM_BYTES:
        value["columns"].pop()
    return value
