"""Scoring from what other tasks have scored of it already."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.effects.scoring import ScoreWith
    from airflow_mlops_provider.job import Champion
    from airflow_mlops_provider.results import StepResult

log = logging.getLogger(__name__)


class Compute(Protocol):
    """Runs the step `score`.

    :param parts: results to join.
    """

    def __call__(
        self,
        section: dict[str, Any],
        champion: Champion | None,
        *,
        parts: Sequence[StepResult] = (),
        recompute: bool,
    ) -> StepResult:
        """Compute, or return the committed receipt."""


def joining(compute: Compute, given: Sequence[StepResult], *, recompute: bool) -> ScoreWith:
    """Return what asks a version for every row, and takes from tasks before it what they have computed.

    Nothing depends on them. A shard that is not there is computed; a version that they did not ask, such as a
    champion that came meanwhile, one that stands in, or the challenger, predicts all rows in one pass.

    :param given: results of shards.
    :param recompute: of this run: what the tasks before have computed in it is taken nevertheless.
    """
    keys = {part.key for part in given}

    def shard(champion: Champion, index: int, count: int) -> StepResult:
        section = {"shard": {"index": index, "count": count}}
        part = compute(section, champion, recompute=False)
        if part.key in keys:
            return part
        log.info("Shard %s of %s was not computed before.", index + 1, count)
        return compute(section, champion, recompute=True) if recompute and part.cached else part

    def score_with(section: dict[str, Any], champion: Champion | None) -> StepResult:
        counts: list[Any] = [part.facts["shards"] for part in given if _scored_by(part, champion)]
        if champion is None or not counts:
            return compute(section, champion, recompute=recompute)
        parts = [shard(champion, index, counts[0]) for index in range(counts[0])]
        return compute(section, champion, parts=parts, recompute=recompute)

    return score_with


def _scored_by(part: StepResult, champion: Champion | None) -> bool:
    return champion is not None and part.facts.get("version") == champion.version
