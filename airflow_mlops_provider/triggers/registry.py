"""Triggers that query MLflow again and again, in a thread."""

from __future__ import annotations

import gc
import sys
from abc import abstractmethod
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.collector import collector_paused
from airflow_mlops_provider.exceptions import TransientServiceError
from airflow_mlops_provider.hooks.mlflow import MlflowHook
from airflow_mlops_provider.triggers.polling import PollingTrigger, PollResult, in_thread

if TYPE_CHECKING:
    from airflow_mlops_provider.registry import Registry

# One is enough: calls to MLflow take turns in a process (see `registry.client`).
_THREAD = ThreadPoolExecutor(1, thread_name_prefix="mlops-registry")


class RegistryTrigger(PollingTrigger):
    """Ask the registry behind a connection. The connection is read in the triggerer: no secret is an argument.

    :param mlflow_conn_id: the `mlflow` connection.
    """

    def __init__(
        self, *, mlflow_conn_id: str, poke_interval: float, memory: dict[str, Any] | None = None, **question: Any
    ) -> None:
        super().__init__(poke_interval=poke_interval, memory=memory, **question)
        self.mlflow_conn_id = mlflow_conn_id
        self._registry: Registry | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and the arguments that make this trigger again."""
        place, arguments = super().serialize()
        return place, {**arguments, "mlflow_conn_id": self.mlflow_conn_id}

    @abstractmethod
    def poll(self, registry: Registry, memory: dict[str, Any]) -> PollResult:
        """Ask once; it may take its time."""

    async def look(self, memory: dict[str, Any]) -> PollResult:
        """Ask in a thread."""
        if self._registry is None:
            await in_thread(_THREAD, import_quietly, "airflow_mlops_provider.registry", "mlflow")
            registry = await MlflowHook(self.mlflow_conn_id).aregistry()
            if not registry.address.startswith("http"):
                await in_thread(_THREAD, import_quietly, "mlflow.store.tracking.sqlalchemy_store")
            self._registry = registry
        try:
            return await in_thread(_THREAD, self.poll, self._registry, memory)
        except TransientServiceError:
            self._registry = None  # the connection may have been corrected since
            raise


def import_quietly(*modules: str) -> None:
    """Import modules without stopping the event loop, once in a process.

    A thread does not block a loop, but the garbage collector does: the import of MLflow makes it walk a growing heap
    five times, each time for 100 to 250 ms in which nothing else runs. So it rests meanwhile, and leaves alone for good
    what was imported: without that its next walk would take as long.
    """
    if all(module in sys.modules for module in modules):
        return
    with collector_paused():
        for module in modules:
            import_module(module)
        gc.freeze()
