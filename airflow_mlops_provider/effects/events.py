"""Events in the life of a model that people are notified of: read from ledger and decisions, not stored again."""

from __future__ import annotations

import html
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from pydantic import Field

from airflow_mlops_provider.as_of import as_of_text
from airflow_mlops_provider.effects.decisions import as_decision, written_by
from airflow_mlops_provider.effects.publishing import links as mlflow_links
from airflow_mlops_provider.exceptions import RegistryError, shorten
from airflow_mlops_provider.spec import EventKind, Frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_mlops_provider.monitoring.governor import Decision
    from airflow_mlops_provider.registry import LedgerEntry, Registry
    from airflow_mlops_provider.results import StepResult

#: DAG and run id of an Airflow run.
Run = tuple[str, str]
#: Of a reason, in characters: a message is read on a telephone.
MAX_REASON = 1500
_MOST_METRICS = 6
_MOST_COLUMNS = 20
#: Of a digest in the key of an event.
KEY_LENGTH = 32


class WebAddresses(NamedTuple):
    """Where links lead.

    :param airflow: address of Airflow's UI.
    :param mlflow: address of MLflow's UI; None when there is none.
    """

    airflow: str | None
    mlflow: str | None


class Teller(NamedTuple):
    """The task that tells, or the command.

    :param run: DAG and run id; None for a command.
    :param upstream: task ids whose decisions are those of this run.
    """

    run: Run | None = None
    upstream: tuple[str, ...] = ()


class Event(Frozen):
    """One event, with what message templates may use.

    :param key: identifies the event, however often it is found.
    :param kinds: what it is; a window that drifted may request a retraining as well, and that is one event.
    :param version: of the model, None when it is about none.
    :param at: when it happened; None when the run that sends the message found it.
    :param as_of: its data time.
    :param title: one line.
    :param details: what and value, in the order in which they are shown.
    :param run: DAG and run id of the Airflow run that it happened in, as far as that is known.
    :param answer: where a person answers, below the address of Airflow's UI; None when no answer is needed.
    :param links: addresses by what they show.
    """

    key: str
    kinds: tuple[EventKind, ...]
    pipeline: str
    model: str
    version: int | None = None
    at: datetime | None = None
    as_of: datetime
    title: str
    details: dict[str, str] = Field(default_factory=dict)
    run: Run | None = None
    answer: str | None = None
    links: dict[str, str] = Field(default_factory=dict)

    @property
    def kind(self) -> EventKind:
        """What it is, in a word: the last that happened."""
        return self.kinds[-1]

    @property
    def text(self) -> str:
        """The whole message, as plain text."""
        parts = [self.title, "\n".join(f"{what}: {value}" for what, value in self.details.items())]
        parts.append("\n".join(f"{name}: {url}" for name, url in self.links.items()))
        return "\n\n".join(part for part in parts if part)

    @property
    def html(self) -> str:
        """The whole message, as HTML for a mail, in which nothing that came from data is markup."""
        rows = "".join(
            f'<tr><th align="left" valign="top">{html.escape(what)}</th><td>{html.escape(value)}</td></tr>'
            for what, value in self.details.items()
        )
        links = "".join(
            f'<li><a href="{html.escape(url)}">{html.escape(name)}</a></li>' for name, url in self.links.items()
        )
        return (
            f"<h3>{html.escape(self.title)}</h3>"
            + (f'<table cellpadding="4">{rows}</table>' if rows else "")
            + (f"<ul>{links}</ul>" if links else "")
        )

    @property
    def mrkdwn(self) -> str:
        """The whole message in Slack's markup, in which nothing that came from data is markup or calls a channel."""
        lines = [f"*{_for_slack(self.title)}*"]
        lines += [f"{_for_slack(what)}: {_for_slack(value)}" for what, value in self.details.items()]
        if self.links:
            # A bar would end the address.
            shown = [f"<{url.replace('|', '%7C')}|{_for_slack(name)}>" for name, url in self.links.items()]
            lines.append(" · ".join(shown))
        return "\n".join(lines)


def _for_slack(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def events_of(
    registry: Registry, pipeline: str, model: str, results: Sequence[StepResult], teller: Teller
) -> Iterator[Event]:
    """Yield every event of a model that is known: those of its ledger and of its windows, and what a run found.

    :param results: of the tasks that ran before, from which comes what neither ledger nor decisions hold.
    """
    ours = {result.facts.get("seq") for result in results if result.step in ("promote", "rollback")}
    history = registry.history(model)
    for before, entry in zip([None, *history], history, strict=False):
        if before is None or before.version != entry.version:  # else it bars another version: the champion serves on
            yield _of_entry(pipeline, model, entry, before, teller.run if entry.seq in ours else None)
    callers = [(*teller.run, task) for task in teller.upstream] if teller.run else []
    for written in registry.decisions(model):
        run = teller.run if any(written_by(written, caller) for caller in callers) else None
        event = _of_decision(pipeline, model, as_decision(written), at=written.at, run=run)
        if event is not None:
            yield event
    for result in results:
        found = _of_result(pipeline, model, result, results, teller)
        if found is not None:
            yield found


def reconciled(pipeline: str, model: str, found: dict[str, Any], *, as_of: datetime, run: Run | None) -> Event:
    """Return the event of an alias that was set right.

    :param found: `version`, `reason`, and `key`: who set it right. Whoever does so later sets right another mistake.
    """
    return Event(
        key=f"alias-{found['key']}",
        kinds=("reconciled",),
        pipeline=pipeline,
        model=model,
        version=int(found["version"]),
        as_of=as_of,
        title=f"{pipeline}: the alias champion was wrong and has been corrected",
        details={"What": str(found["reason"]), "Champion": f"version {found['version']}"},
        run=run,
    )


def linked(registry: Registry, event: Event, places: WebAddresses) -> Event:
    """Return an event with the links that exist. It queries MLflow, so call it only for an event that is sent."""
    links, run, found = dict[str, str](), event.run, None
    if event.version is not None:
        facts: dict[str, Any] = {"version": event.version}
        with suppress(RegistryError):  # a deleted version has no run, and its event is sent all the same
            found = registry.version_run(event.model, event.version)
            if found.run_id is not None:
                facts |= {"run_id": found.run_id, "experiment_id": found.experiment_id}
        links = mlflow_links(places.mlflow, event.model, facts)
    if run is None and found is not None and event.kind == "promoted":
        run = found.airflow
    if places.airflow is not None:
        airflow = places.airflow.rstrip("/")
        if event.answer is not None:
            links = {"Answer": f"{airflow}{event.answer}", **links}
        if run is not None:
            links["Airflow run"] = f"{airflow}{run_page_path(run)}"
        links["Models page"] = f"{airflow}/mlops/models/{quote(event.pipeline, safe='')}"
    return event.model_copy(update={"links": links})


def run_page_path(run: Run) -> str:
    """Return where a run is shown, below the address of Airflow's UI."""
    return f"/dags/{quote(run[0], safe='')}/runs/{quote(run[1], safe='')}"


def metrics_text(metrics: Mapping[str, float]) -> str:
    """Return the first metrics by name, in a line."""
    return ", ".join(f"{name} {value:.4g}" for name, value in list(metrics.items())[:_MOST_METRICS])


def _of_entry(pipeline: str, model: str, entry: LedgerEntry, before: LedgerEntry | None, run: Run | None) -> Event:
    if entry.action == "promote":
        after = "the first" if before is None else f"after version {before.version}"
        title, by = f"{pipeline}: version {entry.version} is the champion, {after}", "Approved by"
    else:
        bad = "" if entry.quarantined is None else f"; version {entry.quarantined} is in quarantine"
        title, by = f"{pipeline}: rolled back to version {entry.version}{bad}", "By"
    details = {
        "Why": shorten(entry.reason, MAX_REASON),
        by: entry.approver or "",
        "Metrics": metrics_text(entry.metrics),
        "Data up to": as_of_text(entry.order_key),
        "Trained to": "" if entry.trained_to is None else as_of_text(entry.trained_to),
    }
    return Event(
        key=f"entry-{entry.seq}",
        kinds=("promoted" if entry.action == "promote" else "rolled_back",),
        pipeline=pipeline,
        model=model,
        version=entry.version,
        at=entry.at,
        as_of=entry.order_key,
        title=title,
        details=shown(details),
        run=run,
    )


def _of_decision(pipeline: str, model: str, decision: Decision, *, at: datetime, run: Run | None) -> Event | None:
    """Return the event of a window; None when it was a normal one."""
    window, kinds, words = as_of_text(decision.as_of), list[EventKind](), list[str]()
    if decision.incident == "over":
        kinds.append("incident_over")
        words.append("the incident is over")
    if decision.action == "incident":
        if decision.incident == "lasts":
            return None  # one message when it begins, and one when it is over
        kinds.append("incident")
        words.append("broken data")
    elif decision.drifted or decision.rule == "drift":  # an older release wrote the rule alone
        kinds.append("drift")
        words.append("drift")
    if decision.action == "retrain":
        kinds.append("retrain_suppressed" if decision.suppressed else "retrain_asked")
        words.append("retraining suppressed" if decision.suppressed else "retraining requested")
    if not kinds:
        return None
    columns = decision.columns[:_MOST_COLUMNS]
    more = len(decision.columns) - len(columns)
    details = {
        "Why": shorten("; ".join(decision.reasons), MAX_REASON),
        "Suppressed": shorten(decision.why or "", MAX_REASON),
        "Decided": f"{decision.action.replace('_', ' ')} ({decision.rule})",
        "Drifted": ", ".join(columns) + (f" and {more} more" if more else ""),
        "Champion": "" if decision.champion is None else f"version {decision.champion}",
    }
    return Event(
        key=f"window-{window}",
        kinds=tuple(kinds),
        pipeline=pipeline,
        model=model,
        version=decision.champion,
        at=at,
        as_of=decision.as_of,
        title=f"{pipeline}: {', '.join(words)} in the window up to {window}",
        details=shown(details),
        run=run,
    )


def _of_result(
    pipeline: str, model: str, result: StepResult, results: Sequence[StepResult], teller: Teller
) -> Event | None:
    facts: Any = result.facts
    if result.step == "watch" and facts.get("reconciled"):
        return reconciled(pipeline, model, facts["reconciled"], as_of=result.as_of, run=teller.run)
    if result.step != "gate" or facts.get("passed", True):
        return None
    published = next((other.facts for other in results if "version" in other.facts and other.step == "evaluate"), {})
    failed = result.failure is not None
    end = "the challenger failed its gates" if failed else "the challenger is not promoted"
    details = {
        "Why": shorten(facts.get("reason") or "", MAX_REASON),
        "Follows": "the run failed and needs a person's attention"
        if failed
        else "nothing: the champion stays, the run is green",
        "Challenger": f"version {published['version']}" if published else "",
        "Data up to": as_of_text(result.as_of),
    }
    return Event(
        key=f"gate-{result.key[:KEY_LENGTH]}",
        kinds=("gate_failed",),
        pipeline=pipeline,
        model=model,
        version=int(str(published["version"])) if published else None,
        as_of=result.as_of,
        title=f"{pipeline}: {end}",
        details=shown(details),
        run=teller.run,
    )


def shown(details: dict[str, str]) -> dict[str, str]:
    """Leave out what is empty; the rest is one line each, as a mail's subject has to be."""
    return {what: " ".join(value.split()) for what, value in details.items() if value}
