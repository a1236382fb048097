"""Runs the steps of one pipeline on a store, and counts what was computed and what was found."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.runner import run_step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from airflow_mlops_provider.allow_list import AllowList
    from airflow_mlops_provider.job import Champion, SecretReader, SqlReader
    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.spec import Pipeline
    from airflow_mlops_provider.storage import ArtifactStore


@dataclass
class Steps:
    """The steps of one pipeline.

    :param computed: how often each step did its work.
    :param cached: how often its result lay in the store already.
    """

    pipeline: Pipeline
    store: ArtifactStore
    allow_list: AllowList
    read_sql: SqlReader | None = None
    read_secret: SecretReader | None = None
    computed: Counter[str] = field(default_factory=Counter)
    cached: Counter[str] = field(default_factory=Counter)

    def run(
        self,
        step: str,
        *,
        as_of: datetime,
        section: dict[str, Any],
        inputs: Mapping[str, list[StepResult]],
        champion: Champion | None = None,
    ) -> StepResult:
        """Return the result of a step, computing it when the store has none.

        :raises MLOpsError: whatever the step finds wrong.
        """
        request = StepRequest(
            step=step,
            pipeline=self.pipeline.name,
            as_of=as_of,
            seed=self.pipeline.seed,
            section=section,
            inputs=dict(inputs),
            champion=champion,
            allow_list=self.allow_list,
        )
        result = run_step(request, self.store, read_sql=self.read_sql, read_secret=self.read_secret)
        (self.cached if result.cached else self.computed)[step] += 1
        return result

    def ingest(
        self,
        as_of: datetime,
        purpose: str = "training",
        start: datetime | None = None,
        without: Sequence[tuple[datetime, datetime]] = (),
    ) -> StepResult:
        """Return the snapshot of the rows that were known at a moment.

        :param without: stretches of time whose rows are left out.
        :raises DataError: there are none, or they are wrong.
        """
        section = {
            "task": self.pipeline.task,
            "data": self.pipeline.data.model_dump(mode="json", exclude_defaults=True),
            "purpose": purpose,
            "start": None if start is None else start.isoformat(),
            "without": [[begin.isoformat(), end.isoformat()] for begin, end in without],
        }
        return self.run("ingest", as_of=as_of, section=section, inputs={})
