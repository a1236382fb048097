"""Where pipelines stand: champion, alias, last decision, probation; for many of them at once."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import Field

from airflow_mlops_provider.exceptions import ArtifactError
from airflow_mlops_provider.monitoring.governor import Decision
from airflow_mlops_provider.overview.timeline import StoredVerdict, verdicts
from airflow_mlops_provider.registry.ledger import made_champion, quarantine
from airflow_mlops_provider.spec.frozen import Finite, Frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.registry import LedgerEntry, ModelState, Registry
    from airflow_mlops_provider.spec import Pipeline


class ChampionSheet(Frozen):
    """The champion by the ledger.

    :param promoted_at: wall time from which on it serves.
    :param as_of: data time of its ledger entry.
    :param trained_to: last row that it saw, data time; None when nobody knows.
    :param value: its value of the pipeline's first metric, on its holdout.
    :param remarks: what looked odd of it though its gates passed.
    :param probation_until: data time until which monitoring may roll it back by itself; None when it is on none:
        nothing is monitored, or a rollback brought it back.
    :param on_probation: no window that is decided lies beyond that.
    """

    version: int
    seq: int
    action: str
    promoted_at: datetime
    as_of: datetime
    trained_to: datetime | None = None
    value: Finite | None
    metrics: dict[str, Finite] = Field(default_factory=dict)
    reason: str = ""
    remarks: list[str] = Field(default_factory=list)
    approver: str | None = None
    gates: list[StoredVerdict] = Field(default_factory=list)
    probation_until: datetime | None = None
    on_probation: bool = False


class PipelineOverview(Frozen):
    """Where one pipeline stands.

    :param metric: the one that decides.
    :param champion: None before the first.
    :param alias: version that MLflow's alias `champion` names.
    :param alias_agrees: the alias names what the ledger's head does.
    :param challenger: version that the alias `challenger` names: the newest that was published.
    :param latest: the newest registered version.
    :param entries: of the ledger.
    :param quarantined: versions that may not be promoted.
    :param decisions: the latest, by window; the last is the last decision.
    :param remarks: what a person should look at in ledger and decisions, though they can be read.
    :param trouble: why this could not be read, or not whole.
    """

    pipeline: str
    model: str
    task: str
    metric: str
    champion: ChampionSheet | None = None
    alias: int | None = None
    alias_agrees: bool = True
    challenger: int | None = None
    latest: int | None = None
    entries: int = 0
    quarantined: list[int] = Field(default_factory=list)
    decisions: list[Decision] = Field(default_factory=list)
    remarks: list[str] = Field(default_factory=list)
    trouble: str | None = None

    @property
    def last_decision(self) -> Decision | None:
        """The decision of the latest window; None when none was ever made."""
        return self.decisions[-1] if self.decisions else None


def pipeline_overviews(
    registry: Registry, pipelines: Sequence[Pipeline], *, decisions: int = 30
) -> list[PipelineOverview]:
    """Return where pipelines stand, in their order, in a handful of requests for all of them.

    :param registry: of the connection that all of these pipelines name.
    :param decisions: how many of the latest decisions of each.
    :raises TransientServiceError: MLflow cannot be reached.
    :raises RegistryError: it refuses. What is wrong with one model alone is the `trouble` of its overview.
    """
    states = registry.states([pipeline.model_name for pipeline in pipelines], decisions=decisions)
    return [_overview(pipeline, states[pipeline.model_name]) for pipeline in pipelines]


def _overview(pipeline: Pipeline, state: ModelState) -> PipelineOverview:
    trouble = [state.trouble] if state.trouble else []
    try:
        decided = [Decision.read(entry.value, "a decision") for entry in state.decisions]
    except ArtifactError as error:
        decided = []
        trouble.append(str(error))
    head = made_champion(state.history) if state.history else None
    alias = state.aliases.get("champion")
    return PipelineOverview(
        pipeline=pipeline.name,
        model=pipeline.model_name,
        task=pipeline.task,
        metric=pipeline.metrics[0],
        champion=None if head is None else _champion(pipeline, head, decided),
        alias=alias,
        alias_agrees=alias == (None if head is None else head.version),
        challenger=state.aliases.get("challenger"),
        latest=state.latest,
        entries=len(state.history),
        quarantined=sorted(quarantine(state.history)),
        decisions=decided,
        remarks=state.remarks,
        trouble="; ".join(trouble) or None,
    )


def _champion(pipeline: Pipeline, head: LedgerEntry, decided: Sequence[Decision]) -> ChampionSheet:
    until = None
    if pipeline.monitoring is not None and head.action == "promote" and pipeline.monitoring.probation.length:
        until = head.order_key + pipeline.monitoring.probation.length
    seen = max((decision.as_of for decision in decided), default=head.order_key)
    return ChampionSheet(
        version=head.version,
        seq=head.seq,
        action=head.action,
        promoted_at=head.at,
        as_of=head.order_key,
        trained_to=head.trained_to,
        value=head.metrics.get(pipeline.metrics[0]),
        metrics=head.metrics,
        reason=head.reason,
        remarks=head.remarks,
        approver=head.approver,
        gates=verdicts(head),
        probation_until=until,
        on_probation=until is not None and max(seen, head.order_key) < until,
    )
