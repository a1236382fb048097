"""Shows the mistakes in pipeline files as an import error of this file, and leaves all other DAGs alone."""

from airflow_mlops_provider.dag_templates import check_pipelines

check_pipelines()
