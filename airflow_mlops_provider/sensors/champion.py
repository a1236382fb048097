"""Waiting for a champion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import SpecError
from airflow_mlops_provider.sensors.waiting import WaitingSensor

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from airflow_mlops_provider.triggers.champion import ChampionTrigger
    from airflow_mlops_provider.triggers.polling import PollResult


class ChampionSensor(WaitingSensor):
    """Wait until the champion changes or, if a condition is given, until the champion meets it.

    At most one condition can be given. Without one, the sensor waits for a change since it started. It reads the
    ledger, not the alias, and a rollback is a change too. It returns the ledger's head: `model`, `seq`, `action`,
    `version`, `as_of`, `at`, `digest`, `reason`.

    .. code-block:: python

        champion = ChampionSensor(task_id="champion", model="churn", newer_than="{{ as_of }}", timeout=24 * 3600)

    :param model: name of the registered model. It is the pipeline's name, unless `promotion.model` names another.
    :param changed_since: the `seq` of a ledger entry. The sensor waits for a later entry. If no condition is given,
        this is the newest entry at the task's first try.
    :param min_version: smallest version number that the champion must have.
    :param newer_than: a moment in data time. The sensor waits until the champion's `as_of` is later.
    :param mlflow_conn_id: id of the `mlflow` connection.
    """

    template_fields: Sequence[str] = ("model", "changed_since", "min_version", "newer_than", "mlflow_conn_id")

    def __init__(
        self,
        *,
        model: str,
        changed_since: int | str | None = None,
        min_version: int | str | None = None,
        newer_than: datetime | str | None = None,
        mlflow_conn_id: str = "mlflow_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.changed_since = changed_since
        self.min_version = min_version
        self.newer_than = newer_than
        self.mlflow_conn_id = mlflow_conn_id

    def look(self, memory: dict[str, Any]) -> PollResult:
        """Read the ledger."""
        from airflow_mlops_provider.hooks.mlflow import MlflowHook
        from airflow_mlops_provider.triggers.champion import look_for_champion

        question = self._question()
        return look_for_champion(MlflowHook(self.mlflow_conn_id).registry(), **question, memory=memory)

    def trigger(self, memory: dict[str, Any]) -> ChampionTrigger:
        """Return what reads on in the triggerer."""
        from airflow_mlops_provider.triggers.champion import ChampionTrigger

        return ChampionTrigger(
            **self._question(), mlflow_conn_id=self.mlflow_conn_id, poke_interval=self.poke_interval, memory=memory
        )

    def _question(self) -> dict[str, Any]:
        conditions = {
            "changed_since": _whole("changed_since", self.changed_since),
            "min_version": _whole("min_version", self.min_version),
            "newer_than": _moment(self.newer_than),
        }
        given = [name for name, value in conditions.items() if value is not None]
        if len(given) > 1:
            raise SpecError("a champion sensor takes one condition", got=", ".join(given), expected="one or none")
        return {"model": self.model, **conditions}


def _whole(name: str, value: int | str | None) -> int | None:
    try:
        return None if value is None else int(value)
    except ValueError as error:
        raise SpecError(f"{name} is not a whole number", got=value) from error


def _moment(value: datetime | str | None) -> str | None:
    from airflow_mlops_provider.as_of import in_utc
    from airflow_mlops_provider.run_context import parse_as_of

    if value is None:
        return None
    return (parse_as_of(value, "newer_than") if isinstance(value, str) else in_utc(value)).isoformat()
