"""Pipelines to DAGs.

A DAG file is three lines:

.. code-block:: python

    from airflow_mlops_provider.dag_templates import training_dags

    globals().update(training_dags())
"""

from airflow_mlops_provider.dag_templates.folder import check_pipelines, load_pipelines
from airflow_mlops_provider.dag_templates.training import training_dag, training_dags

__all__ = ["check_pipelines", "load_pipelines", "training_dag", "training_dags"]
