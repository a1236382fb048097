"""What follows from one window of monitoring: keep the champion, retrain, or roll back; with reasons in words.

Pure: the same facts and the same earlier decisions give the same decision. The governor's state (bad windows in a row,
cooldown, budget) is read from the earlier decisions only, so nothing else has to be kept, or can disagree with them.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from airflow_mlops_provider.as_of import as_of_text
from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.monitoring.probation import WindowComparison, probation_of
from airflow_mlops_provider.monitoring.reasons import days_text, drift_reason, estimate_reason, live_reason, speaks
from airflow_mlops_provider.monitoring.suppressions import in_vain, suppressions_of
from airflow_mlops_provider.results import ArtifactRef, first_within, text_within
from airflow_mlops_provider.spec.frozen import Frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_mlops_provider.spec.operations import Monitoring

Action = Literal["keep", "retrain", "roll_back", "incident"]
#: Which rule decided. `nothing_new`: no champion, too few rows or no labels. `rolled_back`: this champion's rollback is
#: decided already, so its windows ask for nothing more. `incident`: the window's data is broken, and teaches nothing.
#: `fallback`: retrainings for decay came to nothing, and the former champion is better.
Rule = Literal[
    "healthy", "nothing_new", "probation", "rolled_back", "incident", "fallback", "decay", "drift", "estimate", "stale"
]

#: In bytes of JSON: a decision has to fit into one value of MLflow, 6,000 characters.
_MAX_COLUMN, _MAX_COLUMNS, _MAX_REASON = 120, 1200, 1000


class Window(Frozen):
    """One scored stretch of time.

    :param as_of: its end, which names it.
    :param start: its beginning; None when the data knows no time.
    :param rows: rows that were scored.
    """

    as_of: datetime
    start: datetime | None = None
    rows: int = Field(ge=0)


class Incumbent(Frozen):
    """The champion as the ledger has it.

    :param seq: the ledger entry that made it champion.
    :param promoted_as_of: data time of that entry.
    :param trained: data time of the training that made the version.
    :param trained_to: last row that it saw, as it serves; None when nobody knows.
    :param promoted: False when a rollback brought it back: it is no news then, and on no probation.
    """

    seq: int
    version: int
    promoted_as_of: datetime
    trained: datetime
    trained_to: datetime | None = None
    promoted: bool = True

    @property
    def knows_up_to(self) -> datetime:
        """Data time from which its age counts."""
        return self.trained_to or self.trained


class Decision(Document):
    """What one window led to. Written once, and never changed afterwards.

    :param as_of: the window.
    :param bad: the window counts as one of those in a row that lead to a retraining.
    :param suppressed: the request is not passed on; `why` says why.
    :param incident: whether one begins with this window, lasts, or is over since the window before; None without one.
    :param start: where an incident's window begins; None of other windows, of an earlier release, and without time.
    :param drifted: the window as a whole drifted, or its predictions did.
    :param columns: columns that drifted.
    :param champion: version that was judged; None without one.
    :param seq: the ledger entry by which it was champion.
    :param rows: rows of the window that no earlier window held.
    :param comparison: the champion beside the former one, as later windows of its probation add it up.
    :param underpowered: that the probation is too short to see decay, and how long it has to be.
    :param evidence: where lies what it was decided on, by role: `drift` and `estimate` the numbers, `report` the page
        of drift for people.
    """

    SCHEMA: ClassVar[int] = (
        2  # 2: the action and the rule `incident`, which an older release takes for nothing it knows
    )

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    as_of: datetime
    action: Action
    rule: Rule
    reasons: list[str]
    bad: bool = False
    suppressed: bool = False
    why: str | None = None
    incident: Literal["begins", "lasts", "over"] | None = None
    start: datetime | None = None
    drifted: bool = False
    columns: list[str] = Field(default_factory=list)
    champion: int | None = None
    seq: int | None = None
    rows: int = 0
    comparison: WindowComparison | None = None
    underpowered: str | None = None
    evidence: dict[str, ArtifactRef] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _explained(self) -> Decision:
        if self.suppressed != (self.why is not None):
            raise ValueError("a suppressed request has a `why`, and no other decision has one")
        if not self.reasons:
            raise ValueError("a decision has at least one reason")
        return self

    @property
    def requests_retraining(self) -> bool:
        """Whether retraining is requested, and the governor let the request pass."""
        return self.action == "retrain" and not self.suppressed

    def sentence(self) -> str:
        """Return the decision in words.

        >>> from datetime import UTC
        >>> as_of = datetime(2013, 3, 1, tzinfo=UTC)
        >>> Decision(as_of=as_of, action="keep", rule="healthy", reasons=["no drift"]).sentence()
        '2013-03-01: keep (healthy): no drift'
        """
        verdict = f"{as_of_text(self.as_of)}: {self.action.replace('_', ' ')} ({self.rule}): {'; '.join(self.reasons)}"
        return f"{verdict}. Suppressed: {self.why}" if self.suppressed else verdict


def decide(
    policy: Monitoring,
    window: Window,
    *,
    drift: Mapping[str, Any] | None,
    live: Mapping[str, Any] | None,
    champion: Incumbent | None,
    history: Sequence[Decision],
    estimate: Mapping[str, Any] | None = None,
    remarks: Sequence[str] = (),
) -> Decision:
    """Return what follows from a window.

    :param drift: facts of the drift step; None when it was not computed.
    :param live: facts of the live step; None when it was not computed.
    :param estimate: facts of the estimate step; None when monitoring does not estimate.
    :param remarks: what a person should look at in the ledger: it changes nothing, and stands among the reasons.
    :param history: decisions of this model, in any order. One about this very window holds.
    """
    for decision in history:
        if decision.as_of == window.as_of:
            return decision
    past = sorted((one for one in history if one.as_of < window.as_of), key=lambda one: one.as_of)
    late = len(past) < len(history)
    found = _judge(policy, window, drift or {}, live or {}, estimate, champion, past, late=late)
    if remarks:
        found = found.model_copy(update={"reasons": [*found.reasons, text_within("; ".join(remarks), _MAX_REASON)]})
    if found.action != "retrain" or champion is None:
        return found
    if suppressions := suppressions_of(policy.retraining, found, champion, past, late=late):
        return found.model_copy(update={"suppressed": True, "why": "; ".join(suppressions)})
    return found


# ---------------------------------------------------------------- the rules, in order


def _judge(
    policy: Monitoring,
    window: Window,
    drift: Mapping[str, Any],
    live: Mapping[str, Any],
    estimate: Mapping[str, Any] | None,
    champion: Incumbent | None,
    past: Sequence[Decision],
    *,
    late: bool,
) -> Decision:
    """Return what the first rule that applies asks for."""
    probation, broken = None, [str(one) for one in drift.get("incident") or []]
    # On rows that are broken no model can be judged; those that the window was measured on may be others.
    if champion is not None and speaks(live) and (not broken or live.get("without_broken")):
        probation = probation_of(policy, window, live, champion, past, late=late)
    has_drifted = bool(drift.get("drifted") or drift.get("prediction_drift"))
    columns = first_within([text_within(name, _MAX_COLUMN) for name in drift.get("columns") or []], _MAX_COLUMNS)
    before = _incident_of(champion, past)
    over = before is not None and speaks(drift) and not broken

    def found(action: Action, rule: Rule, *reasons: str, bad: bool = False) -> Decision:
        clear = [] if before is None or not over else [f"the incident of {as_of_text(before.as_of)} is over"]
        now: Literal["begins", "lasts", "over"] | None = "over" if over else None
        return Decision(
            as_of=window.as_of,
            action=action,
            rule=rule,
            reasons=[text_within(reason, _MAX_REASON) for reason in (*clear, *reasons)],
            bad=bad,
            incident=now if action != "incident" else "begins" if before is None else "lasts",
            start=window.start if action == "incident" else None,
            drifted=has_drifted,
            columns=columns,
            champion=None if champion is None else champion.version,
            seq=None if champion is None else champion.seq,
            rows=_uncovered(window, past),
            comparison=None if probation is None else probation.comparison,
            underpowered=None if probation is None else probation.underpowered,
        )

    if champion is None:
        return found("keep", "nothing_new", "no champion to monitor")
    if broken:
        # Before a rollback that is decided already: its rows are left out of training whoever serves.
        return found("incident", "incident", *broken)
    if (ended := _rollback_of(champion, past)) is not None:
        return found("keep", "rolled_back", f"window {as_of_text(ended.as_of)} decided to roll this champion back")
    if probation is not None and probation.worse:
        began, length = as_of_text(champion.promoted_as_of), days_text(policy.probation.length)
        since = f"champion since {began}, on probation for {length}"
        beside = str(live.get("against_former") or "worse than the former champion")
        return found("roll_back", "probation", *filter(None, (beside, probation.words, since)), bad=True)
    decay = [str(live.get("against_holdout") or "the live metric fell")] if live.get("decayed") else []
    if decay and not late and (why := _fallback(policy, live, champion, past)) is not None:
        return found("roll_back", "fallback", *decay, why, bad=True)
    drifted = [drift_reason(drift)] if has_drifted else []
    guessed = [] if estimate is None else [estimate_reason(estimate)]
    fallen = guessed if estimate is not None and estimate.get("fallen") else []
    if decay or drifted or fallen:
        rule: Rule = "decay" if decay else "drift" if drifted else "estimate"
        return found("retrain", rule, *decay, *drifted, *guessed, bad=True)
    age = window.as_of - champion.knows_up_to
    if policy.max_age is not None and age > policy.max_age:
        known = (
            f"version {champion.version} has seen data up to {as_of_text(champion.knows_up_to)}, {days_text(age)} ago"
        )
        return found("retrain", "stale", f"{known}; max_age is {days_text(policy.max_age)}")
    words = [drift_reason(drift), live_reason(live, probation)]
    can_judge = speaks(drift) or speaks(live) or speaks(estimate or {})
    return found("keep", "healthy" if can_judge else "nothing_new", *words, *guessed)


def _fallback(policy: Monitoring, live: Mapping[str, Any], champion: Incumbent, past: Sequence[Decision]) -> str | None:
    """Return why to go back though nothing is on probation: retraining does not help, and the former one is better."""
    after, beside = policy.retraining.fallback_after, live.get("difference")
    if after is None or beside is None or beside[1] is None or beside[1] >= 0:
        return None
    if (vain := in_vain(champion, [one for one in past if one.rule == "decay"])) < after:
        return None
    words = str(live.get("against_former") or "the former champion is better")
    return f"{vain} retraining{'s' * (vain > 1)} for decay led to no new champion, and {words}"


def _incident_of(champion: Incumbent | None, past: Sequence[Decision]) -> Decision | None:
    """Return the window in which an incident began that no later one ended; silent ones neither end nor begin any."""
    began = None
    for one in past if champion is not None else ():
        if one.incident == "over":
            began = None
        elif one.action == "incident" and began is None:
            began = one
    return began


def _rollback_of(champion: Incumbent, past: Sequence[Decision]) -> Decision | None:
    return next((one for one in past if one.action == "roll_back" and one.seq == champion.seq), None)


def _uncovered(window: Window, past: Sequence[Decision]) -> int:
    """Return how many rows of a window no earlier one held: windows longer than their distance overlap."""
    if window.start is None or not past or past[-1].as_of <= window.start:
        return window.rows
    return round(window.rows * ((window.as_of - past[-1].as_of) / (window.as_of - window.start)))
