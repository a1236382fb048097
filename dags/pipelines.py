"""Every DAG of every pipeline file."""

from airflow_mlops_provider.dag_templates import pipeline_dags

globals().update(pipeline_dags())
