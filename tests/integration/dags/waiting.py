"""Sensors that defer, and what they wait for comes by the tests' hand."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG

from airflow_mlops_provider.sensors.champion import ChampionSensor
from airflow_mlops_provider.sensors.data import DataArrivalSensor
from airflow_mlops_provider.sensors.drift import DriftSensor

ARRIVALS = Path(os.environ["AIRFLOW_HOME"]) / "arrivals"
OFTEN = {"poke_interval": 0.5, "timeout": 120}

with DAG("waiting", schedule=None, params={"as_of": ""}):
    DataArrivalSensor(
        task_id="by_size", uri=f"{ARRIVALS}/by_size/{{{{ as_of }}}}", stable_for=timedelta(seconds=2), **OFTEN
    )
    DataArrivalSensor(task_id="by_marker", uri=f"{ARRIVALS}/by_marker/{{{{ as_of }}}}", stable_for=None, **OFTEN)
    ChampionSensor(task_id="champion", model="waited_for", **OFTEN)
    DriftSensor(task_id="drifted", pipeline="waited_for", window="{{ as_of }}", verdict="bad", **OFTEN)
    DriftSensor(task_id="calm", pipeline="waited_for", window="{{ as_of }}", verdict="good", **OFTEN)

with DAG("waiting_in_vain", schedule=None):
    DataArrivalSensor(task_id="never", uri=f"{ARRIVALS}/never", poke_interval=0.5, timeout=10, retries=3)
    ChampionSensor(task_id="wrong", model="waited/for", poke_interval=0.5)
