"""What a pipeline file tells an executor: YAML, where KubernetesExecutor takes an object."""

from __future__ import annotations

import difflib
import re
from typing import Any

from airflow_mlops_provider.exceptions import SpecError

#: How the Kubernetes client writes the type of a list and of a mapping.
_LIST, _MAPPING = re.compile(r"list\[(.+)\]"), re.compile(r"dict\[str, (.+)\]")


def check_executor(task: str, name: str) -> None:
    """Refuse an executor that is not configured: Airflow would refuse the DAG file, with all that it builds.

    :param task: its id, for errors.
    :raises SpecError: says which there are.
    """
    from airflow.executors.executor_loader import ExecutorLoader

    configured = ExecutorLoader.get_executor_names(validate_teams=False)
    known = [text for one in configured for text in (one.alias, one.module_path, one.module_path.rpartition(".")[2])]
    if name not in known:
        there = ", ".join(dict.fromkeys(one.alias or one.module_path for one in configured))
        raise SpecError(f"tasks.{task}.executor is not configured", got=name, expected=f"of [core] executor: {there}")


def executor_config(task: str, config: dict[str, Any]) -> dict[str, Any]:
    """Return a task's `executor_config` as executors take it: `pod_override`, a pod in YAML, becomes a `V1Pod`.

    :param task: its id, for errors.
    :raises SpecError: `pod_override` is no pod, or the Kubernetes provider is not installed.
    """
    if "pod_template_file" in config:
        raise SpecError(
            f"tasks.{task}.executor_config.pod_template_file names a file that the scheduler would read",
            hint="Describe the pod in pod_override, or set `[kubernetes_executor] pod_template_file`.",
        )
    if "pod_override" not in config:
        return config
    path = f"tasks.{task}.executor_config.pod_override"
    try:
        from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
    except ImportError as error:
        raise SpecError(
            f"{path} needs Airflow's Kubernetes provider: {error}",
            hint="Install airflow-mlops-provider[kubernetes], in the image that parses DAGs too.",
        ) from error
    _check(path, config["pod_override"], "V1Pod")
    try:
        return {**config, "pod_override": PodGenerator.deserialize_model_dict(config["pod_override"])}
    except ValueError as error:
        raise SpecError(
            f"{path} is not a pod", got=str(error).splitlines()[0], expected="a pod as in a manifest"
        ) from error


def _check(path: str, value: Any, kind: str) -> None:
    """Refuse what the client would pass over in silence, such as a misspelt key."""
    from kubernetes.client import models

    if (items := _LIST.fullmatch(kind)) is not None:
        if not isinstance(value, list):
            raise SpecError(f"{path} is not a list", got=value)
        for number, item in enumerate(value):
            _check(f"{path}.{number}", item, items[1])
        return
    model = getattr(models, kind, None)
    if model is None and _MAPPING.fullmatch(kind) is None:
        return
    if not isinstance(value, dict):
        raise SpecError(f"{path} is not a mapping", got=value)
    if model is None:
        return
    kinds = {model.attribute_map[name]: kind for name, kind in model.openapi_types.items()}
    for key, item in value.items():
        if key not in kinds:
            nearest = difflib.get_close_matches(str(key), kinds, n=1)
            raise SpecError(f"{path}: unknown key {key!r}", hint=f"Did you mean {nearest[0]!r}?" if nearest else None)
        _check(f"{path}.{key}", item, kinds[key])
