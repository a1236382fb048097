"""Messages by Airflow's own notifiers: about failed runs, and about single events in a model's life."""

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
        description="Notifier class, from an Airflow provider, the plugins folder or an allowed module."
    )
    params: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments of the notifier class.")
    airflow_context: bool = Field(
        False,
        description="Whether templates in `params` may use Airflow's context, with the secrets of connections (`conn`) "
        "and variables (`var`). Otherwise they see only plain values of the run and the event.",
    )

    @model_validator(mode="after")
    def _sends_no_files(self) -> Notifier:
        if named := sorted(set(self.params) & _READS_FILES):
            raise ValueError(f"{named[0]} would send files of the worker: leave it out, or write your own notifier")
        return self


class EventNotifier(Notifier):
    """A notifier that sends one message for each event."""

    events: list[EventKind] = Field(
        list(EVENT_KINDS),
        min_length=1,
        description="Events that this notifier sends messages about. Defaults to all events.",
    )
    name: Label | None = Field(
        None,
        description="Name of the notifier in the log of messages, which records what it has sent. A fixed name keeps "
        "that record when the class changes. Defaults to the name of the class.",
    )

    @property
    def label(self) -> str:
        """What the log of messages calls it."""
        return self.name or self.notifier.rpartition(".")[2][:50]


class Notifications(Frozen):
    """Messages about failed runs, and about events in the life of the model."""

    on_failure: list[Notifier] = Field(
        default_factory=list, description="Notifiers to call when a run of one of the pipeline's DAGs fails."
    )
    on_event: list[EventNotifier] = Field(
        default_factory=list,
        description="Notifiers to call once for each event in the life of the model, such as a promotion or drift.",
    )

    @model_validator(mode="after")
    def _told_apart(self) -> Notifications:
        labels = [each.label for each in self.on_event]
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise ValueError(f"on_event has notifiers with the same name: {twice}; give each a name of its own")
        return self
