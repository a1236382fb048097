"""Pipelines to DAGs.

A DAG file is three lines:

.. code-block:: python

    from airflow_mlops_provider.dag_templates import pipeline_dags

    globals().update(pipeline_dags())
"""

from airflow_mlops_provider.collector import collector_paused

# A file is parsed in a process of its own, which has Airflow's whole heap already: one collection of that takes longer
# than all these imports.
with collector_paused():
    from airflow_mlops_provider.dag_templates.folder import check_pipelines, load_pipelines
    from airflow_mlops_provider.dag_templates.kinds import pipeline_dags, training_dags
    from airflow_mlops_provider.dag_templates.monitoring import monitoring_dag
    from airflow_mlops_provider.dag_templates.rollback import rollback_dag
    from airflow_mlops_provider.dag_templates.scoring import scoring_dag
    from airflow_mlops_provider.dag_templates.training import training_dag

__all__ = [
    "check_pipelines",
    "load_pipelines",
    "monitoring_dag",
    "pipeline_dags",
    "rollback_dag",
    "scoring_dag",
    "training_dag",
    "training_dags",
]
