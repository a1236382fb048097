"""Airflow connections and settings to clients.

    from airflow_mlops_provider.hooks import MlflowHook

imports the module of that hook alone, and when it is first used: a DAG file pays for nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_mlops_provider.hooks.mlflow import MlflowHook as MlflowHook
    from airflow_mlops_provider.hooks.object_storage import ObjectStorageHook as ObjectStorageHook

#: In which module each is.
_MODULES = {
    "MlflowHook": "mlflow",
    "ObjectStorageHook": "object_storage",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
