"""Who is told, by Airflow's own notifiers: of a failed run, and of single events in a model's life."""

from __future__ import annotations

from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from airflow_mlops_provider.spec.frozen import DottedName, Frozen, Label

#: `approval_asked`: a person is asked whether a challenger may become champion, and the question waits.
#: `incident`: the data of a scored window is broken; `incident_over`: that of a later one no longer is.
#: `retrain_suppressed`: monitoring wanted a retraining, and its governor did not let it pass. `reconciled`: the alias
#: in MLflow named another champion than the ledger, and was set right.
EventKind = Literal[
    "gate_failed",
    "approval_asked",
    "promoted",
    "rolled_back",
    "drift",
    "incident",
    "incident_over",
    "retrain_asked",
    "retrain_suppressed",
    "reconciled",
]
EVENT_KINDS: tuple[EventKind, ...] = get_args(EventKind)
#: Arguments of the providers' notifiers that name a file whose content is sent, of mail and of Apprise.
_READS_FILES = frozenset({"files", "file", "file_path", "filename", "template", "attach", "attachments", "config"})


class Notifier(Frozen):
    """An Airflow notifier and its arguments."""

    notifier: DottedName = Field(
        description="Class of an Airflow provider, of the plugins folder or an allowed module."
    )
    params: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments.")
    airflow_context: bool = Field(
        False,
        description="Templates in `params` also see Airflow's own context: connections (`conn`) and variables (`var`) "
        "with their secrets, `dag`, `ti`, `params`. Otherwise names, moments and texts alone.",
    )

    @model_validator(mode="after")
    def _sends_no_files(self) -> Notifier:
        if named := sorted(set(self.params) & _READS_FILES):
            raise ValueError(f"{named[0]} would send files of the worker: leave it out, or write your own notifier")
        return self


class EventNotifier(Notifier):
    """A notifier that is told of single events, once of each."""

    events: list[EventKind] = Field(
        list(EVENT_KINDS), min_length=1, description="What it is told of; of everything when left out."
    )
    name: Label | None = Field(
        None,
        description="What the log of messages calls it, so that it is known again when its params change; "
        "its class when left out.",
    )

    @property
    def label(self) -> str:
        """What the log of messages calls it."""
        return self.name or self.notifier.rpartition(".")[2][:50]


class Notifications(Frozen):
    """Who is told."""

    on_failure: list[Notifier] = Field(default_factory=list, description="Called when a run of a DAG fails.")
    on_event: list[EventNotifier] = Field(
        default_factory=list, description="Called once for each event, such as a promotion or drift."
    )

    @model_validator(mode="after")
    def _told_apart(self) -> Notifications:
        labels = [each.label for each in self.on_event]
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise ValueError(f"on_event has notifiers with the same name: {twice}; give each a name of its own")
        return self
