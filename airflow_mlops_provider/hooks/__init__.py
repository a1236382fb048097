"""Airflow connections and settings to clients.

    from airflow_mlops_provider.hooks import MlflowHook

imports the module of that hook alone, and when it is first used: a DAG file pays for nothing else.
"""

from typing import TYPE_CHECKING

from airflow_mlops_provider.lazy_names import lazy_names

if TYPE_CHECKING:
    from airflow_mlops_provider.hooks.mlflow import MlflowHook as MlflowHook
    from airflow_mlops_provider.hooks.object_storage import ObjectStorageHook as ObjectStorageHook

#: In which module each is.
_MODULES = {
    "MlflowHook": "mlflow",
    "ObjectStorageHook": "object_storage",
}

__all__ = list(_MODULES)

__getattr__ = lazy_names(__name__, _MODULES)
