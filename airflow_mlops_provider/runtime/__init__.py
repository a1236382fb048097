"""Where a compute step runs when it is not in the worker."""

from airflow_mlops_provider.runtime.docker import DockerRuntime

__all__ = ["DockerRuntime"]
