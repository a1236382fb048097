"""When a search has gone on for long enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from airflow_mlops_provider.evaluation.metrics import gain

if TYPE_CHECKING:
    from airflow_mlops_provider.search.trials import Trial
    from airflow_mlops_provider.spec.search import Search

#: Why a shard ended: it did all of its trials, or a rule of the file stopped it.
Stop = Literal["trials", "timeout", "early_stop"]


@dataclass
class Rules:
    """When it is enough."""

    search: Search
    metric: str
    seconds: float = 0.0
    in_vain: int = 0
    best: float | None = None

    def stop(self, trial: Trial) -> Stop | None:
        """Return why no trial follows on this one, None when one may."""
        self.seconds += trial.seconds
        better = trial.score is not None and (self.best is None or gain(self.metric, trial.score, self.best) > 0)
        if better:
            self.best = trial.score
        self.in_vain = 0 if better else self.in_vain + 1
        if self.search.early_stop is not None and self.in_vain >= self.search.early_stop:
            return "early_stop"
        return "timeout" if self.late else None

    @property
    def late(self) -> bool:
        """Whether the trials have taken the time that they have, those before a kill included."""
        timeout = self.search.timeout
        return timeout is not None and self.seconds >= timeout.total_seconds()
