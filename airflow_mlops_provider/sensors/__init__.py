"""Sensors: each waits for data, a champion or a decision, deferred by default, and returns what it found.

    from airflow_mlops_provider.sensors import ChampionSensor

imports the module of that sensor alone, and when it is first used: a DAG file pays for nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_mlops_provider.sensors.champion import ChampionSensor as ChampionSensor
    from airflow_mlops_provider.sensors.data import DataArrivalSensor as DataArrivalSensor
    from airflow_mlops_provider.sensors.drift import DriftSensor as DriftSensor

#: In which module each is.
_MODULES = {
    "ChampionSensor": "champion",
    "DataArrivalSensor": "data",
    "DriftSensor": "drift",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
