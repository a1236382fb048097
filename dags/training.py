"""One training DAG for each pipeline file."""

from airflow_mlops_provider.dag_templates import training_dags

globals().update(training_dags())
