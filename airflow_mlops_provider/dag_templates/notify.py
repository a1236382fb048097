"""Notifiers that a pipeline file names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

from airflow_mlops_provider.exceptions import SpecError
from airflow_mlops_provider.operators.step import allow_list

if TYPE_CHECKING:
    from airflow_mlops_provider.spec import Pipeline


def notifiers(pipeline: Pipeline) -> list[Any]:
    """Return what is called when a training run fails.

    :raises SpecError: when a name is not one of a notifier, or its arguments do not fit.
    """
    return [_notifier(pipeline.name, named.notifier, named.params) for named in pipeline.notifications.on_failure]


def _notifier(pipeline: str, name: str, params: dict[str, Any]) -> BaseNotifier:
    allowed = allow_list()
    # Airflow's own providers bring the notifiers; nothing else of Airflow is a BaseNotifier.
    kind = allowed.model_copy(update={"modules": (*allowed.modules, "airflow")}).load(name)
    if not (isinstance(kind, type) and issubclass(kind, BaseNotifier)):
        raise SpecError(f"{pipeline}: notifications.on_failure names {name!r}", expected="a class of BaseNotifier")
    try:
        return kind(**params)
    except (TypeError, ValueError) as error:
        raise SpecError(f"{pipeline}: the params of notifier {name!r} do not fit", got=str(error)) from error
