"""Libraries that come with an extra of this package: imported when used, and missed in words."""

from __future__ import annotations

import importlib
from typing import Any

from airflow_mlops_provider.exceptions import SpecError


def import_extra(module: str, extra: str, setting: str) -> Any:
    """Import a module of an optional library.

    :param setting: the key of the pipeline file that asks for it.
    :raises SpecError: says which extra to install.

    >>> import_extra("no_such_library.metrics", "fairness", "evaluation.fairness")
    Traceback (most recent call last):
    airflow_mlops_provider.exceptions.SpecError: evaluation.fairness needs 'no_such_library', which is not installed...
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        library = module.partition(".")[0]
        if (error.name or "").partition(".")[0] != library:
            raise
        raise SpecError(
            f"{setting} needs {library!r}, which is not installed on the machine that runs the step",
            hint=f"Install airflow-mlops-provider[{extra}] there, or leave {setting} out.",
        ) from error
