"""Watching a champion: what is measured of a scored window."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import Field, field_validator, model_validator

from airflow_mlops_provider.as_of import as_of_text, in_utc
from airflow_mlops_provider.effects.champions import as_champion
from airflow_mlops_provider.exceptions import DataError
from airflow_mlops_provider.monitoring.governor import Incumbent, Window
from airflow_mlops_provider.monitoring.incidents import broken_windows, within
from airflow_mlops_provider.registry import former_champion, made_champion
from airflow_mlops_provider.results import ArtifactRef, StepResult
from airflow_mlops_provider.spec.frozen import Frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_mlops_provider.job import Champion
    from airflow_mlops_provider.monitoring.governor import Decision
    from airflow_mlops_provider.registry import LedgerEntry
    from airflow_mlops_provider.spec import Data, Monitoring, Scoring, Task, Validation

log = logging.getLogger(__name__)

#: Runs a compute step: `compute(step, as_of=, section=, inputs=, champion=)`.
Compute = Callable[..., StepResult]


class Scored(Frozen):
    """One scored window, as the event of `<name>.predictions` tells it.

    :param as_of: the window's end, to the second: its name among the decisions.
    :param window_start: None when the data knows no time.
    :param dataset: the snapshot that was scored.
    """

    as_of: datetime
    window_start: datetime | None = None
    dataset: ArtifactRef
    predictions: ArtifactRef
    rows: int = Field(ge=0)

    @field_validator("as_of")
    @classmethod
    def _to_the_second(cls, as_of: datetime) -> datetime:
        return in_utc(as_of).replace(microsecond=0)

    @field_validator("window_start")
    @classmethod
    def _in_utc(cls, start: datetime | None) -> datetime | None:
        return None if start is None else in_utc(start)

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> Scored:
        if self.window_start is not None and self.window_start >= self.as_of:
            raise ValueError(f"a window begins at {self.window_start} and ends at {self.as_of}")
        return self

    def no_longer_than(self, length: timedelta) -> Scored:
        """Return it with a beginning that is not before its pipeline's windows have one: an event may say anything."""
        if self.window_start is None or self.window_start >= self.as_of - length:
            return self
        log.warning("The window %s begins too early (%s): it is shortened.", as_of_text(self.as_of), self.window_start)
        return self.model_copy(update={"window_start": self.as_of - length})

    @classmethod
    def of_event(cls, extra: Mapping[str, Any]) -> Scored | None:
        """Return the window of an event; None when it does not tell one, such as an event made by hand."""
        if "as_of" not in extra or "predictions" not in extra:
            return None
        return cls.model_validate({name: extra[name] for name in cls.model_fields if name in extra})

    @property
    def window(self) -> Window:
        """The window as the governor takes it."""
        return Window(as_of=self.as_of, start=self.window_start, rows=self.rows)


class DriftFindings(NamedTuple):
    """What the drift step found of a window, and where its reports lie, by role."""

    facts: dict[str, Any]
    artifacts: dict[str, ArtifactRef]


@dataclass(frozen=True)
class ChampionPair:
    """Who is champion, and who was before.

    :param trained: data time up to which either of them was trained or judged (before label_delay is taken off).
    :param trained_to: last row that either of them saw, as they serve; None when nobody knows of either.
    """

    incumbent: Incumbent
    champion: Champion
    former: Champion | None
    trained: datetime
    trained_to: datetime | None = None


@dataclass(frozen=True)
class Watcher:
    """How the windows of one pipeline are measured.

    :param validation: of which a window must meet what looks at each value; None for nothing.
    """

    pipeline: str
    task: Task
    data: Data
    scoring: Scoring
    monitoring: Monitoring
    metrics: Sequence[Any]
    compute: Compute
    validation: Validation | None = None

    def score(self, as_of: datetime, pair: ChampionPair) -> Scored:
        """Return the window of an as_of, scored by the champion: found when it was scored before."""
        dated = self.data.columns.timestamp is not None
        start = as_of - self.scoring.window if dated else None
        dataset = self.compute("ingest", as_of=as_of, section=self._reading("scoring", start), inputs={}, champion=None)
        inputs = {"dataset": [dataset]}
        score_result = self.compute("score", as_of=as_of, section={}, inputs=inputs, champion=pair.champion)
        return Scored(
            as_of=as_of,
            window_start=start,
            dataset=dataset.artifacts["dataset"],
            predictions=score_result.artifacts["predictions"],
            rows=int(str(dataset.facts["rows"])),
        )

    def drift(self, scored: Scored, pair: ChampionPair) -> DriftFindings:
        """Return what the drift step found.

        :raises MLOpsError: when the window cannot be compared.
        """
        if pair.champion.reference is None:
            return DriftFindings({"judged": False, "why": pair.champion.without("reference")}, {})
        inputs = {
            "dataset": [self._given("ingest", "dataset", scored.as_of, scored.dataset)],
            "predictions": [self._given("score", "predictions", scored.as_of, scored.predictions)],
        }
        section = self.monitoring.drift.model_dump(mode="json")
        if self.monitoring.incident.max_missing is not None:
            section["max_missing"] = self.monitoring.incident.max_missing
        if self.validation is not None:
            section["expectations"] = expected_of_window(self.monitoring, self.validation)
        if scored.window_start is not None:
            section["window"] = (scored.as_of - in_utc(scored.window_start)).total_seconds()
        found = self.compute("drift", as_of=scored.as_of, section=section, inputs=inputs, champion=pair.champion)
        return DriftFindings(found.facts, found.artifacts)

    def estimate(self, scored: Scored, pair: ChampionPair) -> StepResult | None:
        """Return what the estimate step found; None when monitoring does not estimate."""
        settings = self.monitoring.estimated
        if settings is None:
            return None
        return self.compute(
            "estimate",
            as_of=scored.as_of,
            section=settings.model_dump(mode="json") | {"metrics": self.metrics},
            inputs={"predictions": [self._given("score", "predictions", scored.as_of, scored.predictions)]},
            champion=pair.champion,
        )

    def live(
        self, as_of: datetime, pair: ChampionPair, broken: Sequence[tuple[datetime, datetime]] = ()
    ) -> dict[str, Any]:
        """Return the facts of the live step; they say why when there is no labelled row to measure on.

        :param broken: windows of incidents, whose rows are left out: no model can be judged on them.
        """
        if "model" in pair.champion.lost:
            # It cannot predict, which says nothing about how good it is: no reason to put it into quarantine.
            return {"judged": False, "why": pair.champion.without("model")}
        start = live_start(as_of, self.data, self.scoring, pair)
        if start is None:
            why = "the data has no timestamp, so new rows cannot be told apart from the training rows"
            return {"judged": False, "why": why}
        if start >= as_of - self.data.label_delay:
            return {"judged": False, "why": f"the rows before {as_of_text(start)} are training rows"}
        section = self._reading("live", start)
        section["without"] = [[begin.isoformat(), end.isoformat()] for begin, end in within(broken, start, as_of)]
        try:
            labelled = self.compute("ingest", as_of=as_of, section=section, inputs={}, champion=None)
        except DataError as error:
            # Labels that are late are no fault of the champion: the window is decided without them, and says so.
            log.warning("%s: no live metric at %s: %s", self.pipeline, as_of_text(as_of), error)
            return {"judged": False, "why": str(error)}
        facts = self.compute(
            "live",
            as_of=as_of,
            section=live_section(self.monitoring, self.metrics, pair),
            inputs={"dataset": [labelled]},
            champion=pair.champion,
        ).facts
        return {**facts, "without_broken": True}

    def broken(
        self, scored: Scored, drift: DriftFindings, decisions: Sequence[Decision]
    ) -> list[tuple[datetime, datetime]]:
        """Return the windows of incidents so far, from and until: this one too, where its data is broken."""
        found = broken_windows(self.monitoring.incident, decisions)
        if drift.facts.get("incident") and scored.window_start is not None:
            found.append((scored.window_start, scored.as_of))
        return found

    def _reading(self, purpose: str, start: datetime | None) -> dict[str, Any]:
        return {
            "task": self.task,
            "data": self.data.model_dump(mode="json", exclude_defaults=True),
            "purpose": purpose,
            "start": None if start is None else start.isoformat(),
        }

    def _given(self, step: str, role: str, as_of: datetime, ref: ArtifactRef) -> StepResult:
        """Return an artifact that an event names as the result that it was."""
        return StepResult(step=step, pipeline=self.pipeline, key=ref.sha256, as_of=as_of, artifacts={role: ref})


def live_section(monitoring: Monitoring, metrics: Sequence[Any], pair: ChampionPair) -> dict[str, Any]:
    """Return the section of the live step."""
    estimated = monitoring.estimated
    return {
        "live": monitoring.live.model_dump(mode="json"),
        **({} if estimated is None else {"estimated": estimated.model_dump(mode="json")}),
        "metrics": list(metrics),
        "former": None if pair.former is None else pair.former.model_dump(mode="json"),
    }


def expected_of_window(monitoring: Monitoring, validation: Validation) -> list[dict[str, Any]]:
    """Return the expectations that make a window an incident when it fails them."""
    found = validation.of_each_value if monitoring.incident.expectations else []
    return [each.model_dump(mode="json") for each in found]


def live_start(as_of: datetime, data: Data, scoring: Scoring, pair: ChampionPair) -> datetime | None:
    """Return from when on labelled rows are measured: those of the window that no model that is measured has seen.

    What happened within `label_delay` of the last row that one saw may still be of that row's label, as before a
    holdout. None when the data knows no time.
    """
    if data.columns.timestamp is None:
        return None
    unseen = max(as_of - scoring.window, in_utc(pair.trained)) - data.label_delay
    return unseen if pair.trained_to is None else max(unseen, pair.trained_to + data.label_delay)


def champion_pair(
    history: Sequence[LedgerEntry], champion_of: Callable[[LedgerEntry], Champion] = as_champion
) -> ChampionPair | None:
    """Return who is champion by a ledger; None without one.

    :param champion_of: returns what steps are given about an entry's version.
    """
    if not history:
        return None
    head, former = made_champion(history), former_champion(history)
    trained = _trained(history, head)
    incumbent = Incumbent(
        seq=head.seq,
        version=head.version,
        promoted_as_of=head.order_key,
        trained=trained,
        trained_to=head.trained_to,
        promoted=head.action == "promote",
    )
    seen = [trained] if former is None else [trained, _trained(history, former)]
    before = None if former is None else champion_of(former)
    if before is not None and "model" in before.lost:
        before = None  # there is nothing to compare with, nor to roll back to by itself
    known = [one.trained_to for one in (head, former) if one is not None and one.trained_to is not None]
    return ChampionPair(incumbent, champion_of(head), before, max(seen), max(known, default=None))


def _trained(history: Sequence[LedgerEntry], entry: LedgerEntry) -> datetime:
    """Return the data time of the training of a version: a rollback's own time is a later one."""
    promotions = [one for one in history if one.version == entry.version and one.action == "promote"]
    return promotions[-1].order_key if promotions else entry.order_key
