"""What a compute step is to do, is given, and gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pydantic import Field, JsonValue

from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.exceptions import MLOpsError
from airflow_mlops_provider.results import ArtifactRef, Failure, StepResult
from airflow_mlops_provider.spec import Frozen

if TYPE_CHECKING:
    import pandas as pd

    from airflow_mlops_provider.storage import ArtifactStore

#: Runs a query through an Airflow connection: `(conn_id, sql)` to frames.
SqlReader = Callable[[str, str], "Iterator[pd.DataFrame]"]
#: Gives the password of an Airflow connection.
SecretReader = Callable[[str], "str | None"]


class Champion(Frozen):
    """The version that a challenger is compared with, that predicts, and that is watched.

    :param model: the one that serves.
    :param judged: the one that the gates judged; None when that serves itself.
    :param trained_to: last row that the serving model saw, data time; None when nobody knows.
    :param reference: a sample of its data, with its predictions for held-out rows; None for an old ledger entry.
    :param evaluation: what was measured of it on its holdout; None for an old ledger entry.
    :param unseen: how much data came, in the data's time, since a look at a replacement of it; None before the first.
    :param lost: which of `model`, `judged model`, `reference` and `evaluation` are gone; the last two are None then.
    """

    seq: int
    version: int
    digest: str
    model: ArtifactRef
    judged: ArtifactRef | None = None
    order_key: datetime
    trained_to: datetime | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    reference: ArtifactRef | None = None
    evaluation: ArtifactRef | None = None
    unseen: timedelta | None = None
    lost: tuple[str, ...] = ()

    def without(self, role: str) -> str:
        """Return in words why it has no reference, or no evaluation."""
        if role in self.lost:
            return f"the {role} of version {self.version} is gone from the artifact store"
        return f"version {self.version} was promoted before references were stored"


class StepRequest(Frozen):
    """One step to run. Plain JSON: it is what a container gets.

    :param section: the step's settings, parsed by the step's own model.
    :param inputs: results of earlier steps, by role.
    :param champion: what `evaluate` compares with; None when there is none yet.
    :param recompute: ignore a committed receipt.
    """

    step: str
    pipeline: str
    as_of: datetime
    seed: int = 0
    section: dict[str, Any]
    inputs: dict[str, list[StepResult]] = Field(default_factory=dict)
    champion: Champion | None = None
    recompute: bool = False
    allow_list: AllowList = AllowList()


@dataclass(frozen=True)
class Job:
    """What a step has at hand while it runs."""

    request: StepRequest
    store: ArtifactStore
    read_sql: SqlReader | None = None
    read_secret: SecretReader | None = None

    @property
    def as_of(self) -> datetime:
        """The moment before which data is seen."""
        return self.request.as_of

    @property
    def seed(self) -> int:
        """Seed of everything random."""
        return self.request.seed

    @property
    def allow_list(self) -> AllowList:
        """What names may be imported."""
        return self.request.allow_list

    def results(self, role: str) -> list[StepResult]:
        """Return the results of earlier steps in a role."""
        return self.request.inputs.get(role, [])

    def artifact(self, role: str, name: str) -> ArtifactRef:
        """Return one artifact of the only result in a role.

        :raises MLOpsError: when the operator was not given that input.
        """
        results = self.results(role)
        if len(results) != 1 or name not in results[0].artifacts:
            raise MLOpsError(
                f"step {self.request.step!r} of {self.request.pipeline!r} needs the result of one {role!r} task",
                got=[sorted(result.artifacts) for result in results],
                expected=f"one result that holds {name!r}",
                hint=f"Pass the XCom output of the {role} operator.",
            )
        return results[0].artifacts[name]


@dataclass(frozen=True)
class Outcome:
    """What a step made: artifacts by role, a few facts, and a failure when its verdict is bad."""

    artifacts: Mapping[str, ArtifactRef] = field(default_factory=dict)
    facts: Mapping[str, JsonValue] = field(default_factory=dict)
    failure: Failure | None = None
