"""By how much the best of several candidates is better than something else, on the same resamples."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_mlops_provider.evaluation.bootstrap import lower_ends, quantiles
from airflow_mlops_provider.evaluation.draws import Draws
from airflow_mlops_provider.evaluation.report import Difference
from airflow_mlops_provider.evaluation.tails import RATES, least
from airflow_mlops_provider.evaluation.verdicts import finite
from airflow_mlops_provider.spec.metrics import LOSSES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: What is more than nothing, as a share of the largest gain that may be.
_NOTHING = 1e-6


def difference_of(
    metric: str,
    candidates: Mapping[str, Draws | None],
    winner: str,
    other: Draws | float | None,
    their: str,
    unsure: str | None = None,
    *,
    skill: bool = False,
) -> Difference:
    """Return by how much the winner of several candidates is better than something else in one metric.

    :param other: resampled, or one recorded number.
    :param their: whose it is, in words.
    :param unsure: why nobody can say how sure the difference is.
    :param skill: the other is a dummy's.
    """
    own = candidates[winner]
    if own is None or other is None or not (_known(own) and _known(other)):
        whose = their if own is not None and _known(own) else "the challenger"
        return Difference(value=None, why=f"{metric} of {whose} is undefined or was not recorded")
    alternatives = [one for whose, one in candidates.items() if one is not None and whose != winner]

    def judged(one: Draws) -> Draws:
        return replace(one, between_models=not skill)

    gained = judged(own.gain_over(metric, other))
    others = [judged(one.gain_over(metric, other)) for one in alternatives]
    found, why = ([], unsure) if unsure else quantiles(gained, others)
    error, tail = (None, []) if why is not None else lower_ends(gained, RATES, others)
    if metric in LOSSES and why is None and (other.point if isinstance(other, Draws) else other) > 0:
        share, *their_shares = (
            judged(one.skill_over(other) if skill else one.share_over(other)) for one in (own, *alternatives)
        )
        shares, unknown = quantiles(share, their_shares)
        if unknown is None:
            found, tail = signed(found, shares), signed(tail, lower_ends(share, RATES, their_shares)[1])
    return Difference(
        value=finite(gained.point),
        quantiles=found,
        error=error,
        tail=least(tail, found),
        why=why,
        candidates=len(candidates),
    )


def signed(found: Sequence[float], shares: Sequence[float]) -> list[float]:
    """Return quantiles of a gain that lie on the side of zero on which those of its share lie.

    Whether a loss is smaller is known by its ratio to the other, by how much by their difference. Where the target
    grows, the differences of days grow with it, and may say less than the ratio: then a gain is above zero, and nobody
    knows by how much.

    >>> signed([-2.0, 1.0, 4.0], [0.1, 0.3, 0.5])
    [4e-06, 1.0, 4.0]
    """
    nothing = _NOTHING * max(abs(found[0]), abs(found[-1]))
    return [
        nothing if one <= 0 < share else -nothing if share < 0 <= one else one
        for one, share in zip(found, shares, strict=True)
    ]


def _known(drawn: Draws | float) -> bool:
    return not isinstance(drawn, Draws) or math.isfinite(drawn.point)
