"""What Airflow loads of this package in each of its processes: keep it light."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from airflow_mlops_provider import warm_imports


class MLOpsPlugin(AirflowPlugin):
    """The listener that warms imports, when it is asked to."""

    name = "mlops"
    listeners = [warm_imports]
