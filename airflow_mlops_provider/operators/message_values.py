"""What the templates of messages see: values, and nothing through which more could be reached.

Airflow's own context holds `conn` and `var`, and objects that lead to them. A pipeline file is written by someone who
may not read connections, so it gets names, moments and texts. An event as the model that it is would be too much as
well: a pydantic model parses pickles.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

from airflow_mlops_provider.redaction import hide

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from airflow_mlops_provider.effects.events import Event

_OF_EVENT = ("title", "text", "html", "mrkdwn", "kind", "pipeline", "model", "version", "at", "as_of")
#: Where Airflow's context has each value.
_OF_RUN = {
    "dag_id": ("dag_run", "dag_id"),
    "run_id": ("dag_run", "run_id"),
    "run_type": ("dag_run", "run_type"),
    "logical_date": ("dag_run", "logical_date"),
    "start_date": ("dag_run", "start_date"),
    "task_id": ("ti", "task_id"),
    "map_index": ("ti", "map_index"),
    "try_number": ("ti", "try_number"),
}


def event_values(event: Event) -> SimpleNamespace:
    """Return what a template may say of an event."""
    plain: dict[str, Any] = {name: getattr(event, name) for name in _OF_EVENT}
    return SimpleNamespace(**plain, kinds=list(event.kinds), details=dict(event.details), links=dict(event.links))


def run_values(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a template may say of the run: of Airflow's context the names, moments and texts."""
    found: dict[str, Any] = {}
    for name, (where, attribute) in _OF_RUN.items():
        value = getattr(context.get(where), attribute, None)
        # An enumeration is a class with all that hangs on it.
        found[name] = str(getattr(value, "value", value)) if name.endswith(("_id", "_type")) and value else value
    found["dag_id"] = found["dag_id"] or getattr(context.get("dag"), "dag_id", None)
    if as_of := context.get("as_of"):
        found["as_of"] = str(as_of)
    for name in ("reason", "exception"):
        if (known := context.get(name)) is not None:
            found[name] = hide(str(known))
    return found


class PlainNotifier(BaseNotifier):
    """Call a notifier whose templates see only plain values."""

    def __init__(self, notifier: BaseNotifier) -> None:
        super().__init__()
        self.notifier = notifier

    def notify(self, context: Context) -> None:
        """Send it."""
        self.notifier(run_values(context))
