"""The decisions of monitoring, as they are kept, and what follows from them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.as_of import as_of_text
from airflow_mlops_provider.exceptions import ArtifactError, RegistryError
from airflow_mlops_provider.monitoring.governor import Decision, decide
from airflow_mlops_provider.results import StepResult, first_within, text_within

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from airflow_mlops_provider.effects.watching import ChampionPair
    from airflow_mlops_provider.monitoring.governor import Window
    from airflow_mlops_provider.registry import DecisionEntry, Registry
    from airflow_mlops_provider.results import ArtifactRef
    from airflow_mlops_provider.spec import Monitoring

#: What one task may ask for: the budget of any sensible governor, and it fits into an XCom.
_MOST_REQUESTS = 50
#: Roles of the artifacts of drift and estimate that a decision names.
_EVIDENCE = ("drift", "report", "estimate")


@dataclass(frozen=True)
class StoredDecision:
    """The decision that holds for a window.

    :param mine: this very effect wrote it, now or before a crash; so it is its part to see to what follows.
    """

    decision: Decision
    mine: bool


def watched(
    pipeline: str, decided: Sequence[StoredDecision], caller: tuple[str, ...], *, alias: dict[str, Any] | None = None
) -> StepResult:
    """Return what a task decided, as the tasks take it that see to what follows.

    :param decided: at least one, by window.
    :param alias: what was wrong with the alias and is set right, None when nothing was.
    """
    mine = [one.decision for one in decided if one.mine]
    counts: dict[str, int] = {}
    for one in decided:
        what = one.decision.action.replace("_", " ") + (", suppressed" if one.decision.suppressed else "")
        counts[what] = counts.get(what, 0) + 1
    back = [one for one in mine if one.action == "roll_back"]
    last = decided[-1].decision
    return StepResult(
        step="watch",
        pipeline=pipeline,
        key=_idem(caller, last.as_of),
        as_of=last.as_of,
        facts={
            "windows": len(decided),
            "new": len(mine),
            "summary": f"{len(decided)} window{'s' * (len(decided) > 1)}: "
            + ", ".join(f"{count} {what}" for what, count in counts.items()),
            "last": text_within(last.sentence(), 1000),
            "retrain": [as_of_text(one.as_of) for one in mine if one.requests_retraining][-_MOST_REQUESTS:],
            "roll_back": as_of_text(back[-1].as_of) if back else None,
            **({} if alias is None else {"reconciled": alias}),
        },
    )


def build_retrain_event(registry: Registry, model: str, windows: Sequence[str]) -> dict[str, Any] | None:
    """Return what the retrain event tells that asks for all of some windows; None without one.

    One event: of several at once, Airflow would tell the run that they start the first only.
    """
    requests = [window_decision(registry, model, window) for window in windows]
    if not requests:
        return None
    last = max(requests, key=lambda decision: decision.as_of)
    columns = dict.fromkeys(column for decision in (last, *requests) for column in decision.columns)
    return {
        "as_of": last.as_of.isoformat(),
        "reason": text_within(f"{last.rule}: {'; '.join(last.reasons)}", 1000),
        "columns": first_within(columns, 1200),
        "champion": last.champion,
        "windows": list(windows),
    }


def window_decision(registry: Registry, model: str, window: str) -> Decision:
    """Return the decision of a window.

    :raises RegistryError: there is none.
    """
    for decision in decisions(registry, model):
        if as_of_text(decision.as_of) == window:
            return decision
    raise RegistryError(f"window {window} of model {model!r} has no decision yet", hint="Clear the watch task.")


def decisions(registry: Registry, model: str) -> list[Decision]:
    """Return what monitoring decided of a model, by window.

    Without windows that ended after they were decided: a mistyped `as_of` would be later than every window to come.
    """
    return [as_decision(entry) for entry in registry.decisions(model) if not entry.is_of_future]


def as_decision(entry: DecisionEntry) -> Decision:
    """Return what an entry of the log says.

    :raises RegistryError: it is no decision.
    """
    try:
        return Decision.read(entry.value, f"the decision of window {as_of_text(entry.window)}")
    except ArtifactError as error:
        raise RegistryError(error.what, got=error.got, expected=error.expected) from error


def stored_decisions(registry: Registry, model: str, caller: tuple[str, ...]) -> dict[datetime, StoredDecision]:
    """Return the decisions of a model by window."""
    return {
        entry.window: StoredDecision(as_decision(entry), written_by(entry, caller))
        for entry in registry.decisions(model)
    }


def written_by(entry: DecisionEntry, caller: tuple[str, ...]) -> bool:
    """Return whether a task made a decision.

    :param caller: DAG, run and task.
    """
    return entry.idem == _idem(caller, entry.window)


def decide_window(
    registry: Registry,
    model: str,
    policy: Monitoring,
    window: Window,
    *,
    pair: ChampionPair | None,
    drift: dict[str, Any] | None,
    live: dict[str, Any] | None,
    estimate: dict[str, Any] | None = None,
    caller: tuple[str, ...],
    evidence: Mapping[str, ArtifactRef] | None = None,
) -> StoredDecision:
    """Decide a window and keep the decision, unless it has one: that holds, whatever is known by now.

    :param pair: whose drift, live metric and estimate these are.
    :param caller: DAG, run and task.
    :param evidence: what drift and estimate stored; their numbers and the page of drift are kept with the decision.
    :raises TransientServiceError: MLflow cannot be reached; do it again.
    """
    decision = decide(
        policy,
        window,
        drift=drift,
        live=live,
        estimate=estimate,
        champion=None if pair is None else pair.incumbent,
        history=decisions(registry, model),
        remarks=[] if pair is None else registry.remarks(model),
    )
    decided = {role: ref for role, ref in (evidence or {}).items() if role in _EVIDENCE}
    decision = decision.model_copy(update={"evidence": decision.evidence or decided})
    idem = _idem(caller, window.as_of)
    entry, _ = registry.write_decision(model, window.as_of, decision.stored(), idem=idem)
    return StoredDecision(as_decision(entry), entry.idem == idem)


def _idem(caller: tuple[str, ...], window: datetime) -> str:
    return hashlib.sha256(json.dumps([*caller, as_of_text(window)]).encode()).hexdigest()
