from __future__ import annotations

import sys
from typing import Any

import pytest
from airflow.serialization.serialized_objects import DagSerialization

from airflow_mlops_provider.dag_templates import training_dag
from airflow_mlops_provider.dag_templates.executors import executor_config
from airflow_mlops_provider.exceptions import SpecError
from airflow_mlops_provider.pipelines import parse_pipeline

POD: dict[str, Any] = {
    "metadata": {"labels": {"team": "ml"}},
    "spec": {
        "nodeSelector": {"pool": "large"},
        "containers": [{"name": "base", "resources": {"limits": {"memory": "8Gi"}, "requests": {"cpu": "4"}}}],
    },
}


def pipeline_with(**config: Any) -> Any:
    return parse_pipeline(
        {
            "name": "churn",
            "task": "binary",
            "data": {"source": {"uri": "/data/churn.csv"}, "columns": {"target": "left", "numeric": ["age"]}},
            "preparation": {"split": {"by": "random"}},
            "training": {"candidates": {"logistic": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
            "tasks": {"train": {"executor": "KubernetesExecutor", "executor_config": config}},
        },
        where="churn.yaml",
    )


@pytest.fixture
def executors(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.executors import executor_loader

    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "LocalExecutor,KubernetesExecutor")
    monkeypatch.setattr(executor_loader, "_executor_names", [])


@pytest.mark.usefixtures("executors")
def test_a_pod_in_yaml_reaches_the_kubernetes_executor_as_the_object_that_it_takes() -> None:
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator

    dag = training_dag(pipeline_with(pod_override=POD))
    # What the executor does with the serialized task's configuration.
    again = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    pod = PodGenerator.from_obj(again.task_dict["train"].executor_config)
    assert pod.spec.containers[0].resources.limits == {"memory": "8Gi"}
    assert pod.spec.node_selector == {"pool": "large"}
    assert pod.metadata.labels == {"team": "ml"}


def test_an_executor_that_is_not_configured_is_named() -> None:
    with pytest.raises(SpecError) as raised:
        training_dag(pipeline_with())

    assert "tasks.train.executor is not configured: got KubernetesExecutor, expected of [core] exec" in str(
        raised.value
    )


def test_another_configuration_is_passed_on_as_it_is() -> None:
    assert executor_config("train", {"note": [1, 2]}) == {"note": [1, 2]}


@pytest.mark.parametrize(
    ("pod", "problem"),
    [
        (
            {"spec": {"nodeSelecter": {}}},
            r"pod_override\.spec: unknown key 'nodeSelecter'. Did you mean 'nodeSelector'",
        ),
        ({"spec": {"containers": [{"name": "base", "imge": "x"}]}}, r"spec\.containers\.0: unknown key 'imge'"),
        ({"spec": {"containers": [{"image": "x"}]}}, "is not a pod.*name"),
        ({"spec": {"containers": "base"}}, r"spec\.containers is not a list"),
        ({"metadata": {"labels": ["a"]}}, r"metadata\.labels is not a mapping"),
        ("spec", r"tasks\.train\.executor_config\.pod_override is not a mapping"),
    ],
)
def test_what_is_no_pod_is_named(pod: Any, problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        executor_config("train", {"pod_override": pod})


def test_without_the_kubernetes_provider_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "airflow.providers.cncf.kubernetes.pod_generator", None)
    with pytest.raises(SpecError, match=r"tasks\.train.*airflow-mlops-provider\[kubernetes\]"):
        executor_config("train", {"pod_override": POD})
