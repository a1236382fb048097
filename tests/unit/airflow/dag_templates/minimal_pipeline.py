"""The least that a pipeline file says, and the training DAG that comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.dag_templates import training_dag
from airflow_mlops_provider.pipelines import parse_pipeline

if TYPE_CHECKING:
    from airflow.sdk import DAG

MINIMAL: dict[str, Any] = {
    "name": "churn",
    "task": "binary",
    "data": {"source": {"uri": "/data/customers.csv"}, "columns": {"target": "left", "numeric": ["age"]}},
    "preparation": {"split": {"by": "random"}},
    "training": {"candidates": {"logistic": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
}


def dag_of(**settings: Any) -> DAG:
    return training_dag(parse_pipeline({**MINIMAL, **settings}, where="churn.yaml"))
