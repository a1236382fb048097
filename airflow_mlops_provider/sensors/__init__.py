"""Sensors: each waits for data, a champion or a decision, deferred by default, and returns what it found.

    from airflow_mlops_provider.sensors import ChampionSensor

imports the module of that sensor alone, and when it is first used: a DAG file pays for nothing else.
"""

from typing import TYPE_CHECKING

from airflow_mlops_provider.lazy_names import lazy_names

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

__getattr__ = lazy_names(__name__, _MODULES)
