"""Whether a new champion is worse than the former one, by all that its windows have shown since its promotion.

Each window on probation is a look, and many looks err more often than one. So each spends a part of the error that
a whole probation may make (alpha spending: Lan & DeMets, Biometrika 70, 1983): by a share t of its length, t³ of it
(Kim & DeMets, Biometrika 74, 1987), so that most is left for when most is known. The parts add up by Bonferroni's
inequality, however the looks depend on each other. Everything is read from the decisions of earlier windows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pydantic import Field

from airflow_mlops_provider.evaluation.block_report import BlockError
from airflow_mlops_provider.spec.frozen import Finite, Frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_mlops_provider.monitoring.governor import Decision, Incumbent, Window
    from airflow_mlops_provider.spec.operations import Monitoring, Probation

#: Of 80 % power, the normal quantile.
_POWER = 0.8416
#: Looks that a probation is imagined to have at most.
_MOST_LOOKS = 1000


class WindowComparison(Frozen):
    """The champion beside the former one on the labelled rows of one window.

    :param difference: by how much it is better, in units of the metric.
    :param variance: of the difference, by rows or groups of them alone.
    :param rows: labelled rows.
    :param blocks: so many of the holdout's blocks of time they are worth; None when the data knows no time.
    :param error: how much blocks vary in the difference, by the champion's holdout; None when that is not known, and in
        what is stored of earlier windows.
    :param start: the time from which on its rows are, `label_delay` aside; None when it was not recorded.
    """

    difference: Finite
    variance: Finite = Field(ge=0)
    rows: int
    blocks: Finite | None = None
    error: BlockError | None = None
    start: datetime | None = None


@dataclass(frozen=True)
class Sum:
    """Windows that share no rows, added up by their rows.

    :param variance: of the difference, by rows alone.
    :param blocks: how many the rows are worth; None when the data knows no time.
    """

    difference: float
    variance: float
    rows: int
    windows: int
    blocks: float | None
    error: BlockError | None

    def at(self, times: float) -> tuple[float, float]:
        """Return the standard error of the difference of so many times as many rows, and its degrees of freedom."""
        rows = self.variance / times
        if self.error is None or self.blocks is None:
            return math.sqrt(rows), math.inf
        return math.sqrt(rows + self.error.beyond_rows(self.blocks * times)), self.error.freedom


@dataclass(frozen=True)
class ProbationLook:
    """What one look at a champion on probation came to.

    :param worse: it is worse by more than the margin.
    :param words: what was seen, and what could have been.
    :param sees: the smallest true loss that is seen with 80 % power, by now.
    :param will_see: by the end of the probation.
    :param needs: how long a probation has to be to see, with 80 % power, a loss that counts as decay; None when it
        never will.
    :param underpowered: that the probation is too short to see, with 80 % power, a loss that counts as decay, and how
        long it has to be; None when it is long enough, or nobody knows.
    :param comparison: of the window, as later ones add it up; None when there is none.
    """

    worse: bool
    words: str
    sees: float = math.inf
    will_see: float = math.inf
    needs: timedelta | None = None
    underpowered: str | None = None
    comparison: WindowComparison | None = None


def probation_of(
    policy: Monitoring,
    window: Window,
    live: Mapping[str, Any],
    champion: Incumbent,
    past: Sequence[Decision],
    *,
    late: bool,
) -> ProbationLook | None:
    """Return how a champion does beside the former one; None when it is on no probation.

    :param live: facts of the live step.
    :param past: decisions of earlier windows, in their order.
    :param late: a later window is decided already: looks are not repeated backwards.
    """
    settings = policy.probation
    if not champion.promoted or not timedelta(0) < window.as_of - champion.promoted_as_of <= settings.length:
        return None
    if live.get("cannot_predict") and not late:
        return ProbationLook(True, "")
    if not live.get("comparison"):
        return ProbationLook(False, str(live.get("not_compared") or ""))
    start = None if window.start is None else max(window.start, champion.trained)
    own = WindowComparison.model_validate(live["comparison"]).model_copy(update={"start": start})
    if late:
        found = ProbationLook(False, "a later window has already been looked at")
    else:
        found = look(settings, window, own, champion, past, decay=live.get("allowed"))
    return replace(found, comparison=own.model_copy(update={"error": None}))


def look(
    settings: Probation,
    window: Window,
    own: WindowComparison,
    champion: Incumbent,
    past: Sequence[Decision],
    *,
    decay: float | None = None,
) -> ProbationLook:
    """Return what follows from a champion's windows so far.

    :param own: the comparison of this window.
    :param past: decisions of earlier windows, in their order.
    :param decay: the loss that `live.margin` calls decay, in units of the metric; None when it is not known.
    """
    earlier = [one for one in past if one.seq == champion.seq and one.comparison is not None]
    found = add_up(own, [one.comparison for one in earlier if one.comparison], [one.as_of for one in earlier])
    # What an incident's window shows is added up, but it decided nothing: it has spent nothing.
    before = max((one.as_of for one in earlier if one.action != "incident"), default=champion.promoted_as_of)
    step, age, length = window.as_of - before, window.as_of - champion.promoted_as_of, settings.length
    margin, alpha = settings.margin or 0.0, settings.alpha * _spent(age - step, age, length)
    last = settings.alpha * _spent(length - step, length, length)
    error, freedom = found.at(1)
    high = found.difference + _quantile(alpha, freedom) * error
    will_see = margin + _seen(found, length / age, last)
    needs = None if decay is None else _needed(found, settings, step, age, decay - margin)
    short = _underpowered(decay, needs) if decay is not None and margin < decay < will_see else None
    seen = ProbationLook(high < -margin, "", margin + _seen(found, 1, alpha), will_see, needs, short)
    return replace(seen, words=_words(found, high, alpha, seen))


def add_up(own: WindowComparison, earlier: Sequence[WindowComparison], ends: Sequence[datetime]) -> Sum:
    """Return a window, and those before it that share no rows with it nor with each other, as one.

    :param earlier: the champion's comparisons, in the order of their windows.
    :param ends: of these windows.
    """
    used = [own]
    for one, end in zip(reversed(earlier), reversed(ends), strict=True):
        start = used[-1].start
        if start is not None and end <= start and (one.blocks is None) == (own.blocks is None):
            used.append(one)
    rows = sum(one.rows for one in used)
    shares = [one.rows / rows for one in used]
    worth = None
    if own.blocks is not None:
        worth = 1 / sum(share**2 / (one.blocks or 1.0) for share, one in zip(shares, used, strict=True))
    return Sum(
        difference=sum(share * one.difference for share, one in zip(shares, used, strict=True)),
        variance=sum(share**2 * one.variance for share, one in zip(shares, used, strict=True)),
        rows=rows,
        windows=len(used),
        blocks=worth,
        error=own.error,
    )


def _spent(before: timedelta, now: timedelta, length: timedelta) -> float:
    """Return which share of the error a look spends.

    :param before: the champion's age at the look before it.
    :param now: its age.
    """
    return float((now / length) ** 3 - (before / length) ** 3)


def _seen(found: Sum, times: float, alpha: float) -> float:
    """Return the smallest true loss beyond the margin that is seen with 80 % power."""
    error, freedom = found.at(times)
    return (_quantile(alpha, freedom) + _POWER) * error


def _needed(found: Sum, settings: Probation, step: timedelta, age: timedelta, loss: float) -> timedelta | None:
    """Return how long a probation has to be so that its last look alone sees a loss beyond the margin; None if never.

    :param step: between two looks.
    :param age: in which so much was found.
    """
    for looks in range(1, _MOST_LOOKS + 1):
        length = looks * step
        if _seen(found, length / age, settings.alpha * _spent(length - step, length, length)) <= loss:
            return length
    return None


def _underpowered(decay: float, needs: timedelta | None) -> str:
    """Return, in words, how long a probation has to be to see a loss that counts as decay."""
    if needs is None:
        return f"a loss of {decay:.3g}, which counts as decay, would not be seen in {_MOST_LOOKS:,} looks"
    return (
        f"to see a loss of {decay:.3g}, which counts as decay, with 80 % power, monitoring.probation.length must be "
        f"{needs / timedelta(days=1):.4g} days"
    )


def _words(found: Sum, high: float, alpha: float, seen: ProbationLook) -> str:
    """Return a look in words."""
    windows = "this window" if found.windows == 1 else f"{found.windows} windows that share no rows"
    blocks = found.blocks or 0
    worth = "" if not blocks else f", worth {blocks:.3g} block{'s' * (blocks != 1)} of its holdout"
    if blocks and found.error is None:
        worth = ", by rows alone, since its evaluation does not record how much days differ"
    words = (
        f"on {found.rows:,} rows of {windows}{worth}, its gain over the former champion is {found.difference:.3g}, "
        f"at most {high:.3g} with an error of {alpha:.2%}; a true loss of {seen.sees:.3g} would be seen by now with "
        f"80 % power, of {seen.will_see:.3g} by the end of the probation"
    )
    return words if seen.underpowered is None else f"{words}; {seen.underpowered}"


def _quantile(alpha: float, freedom: float) -> float:
    from scipy.special import ndtri, stdtrit

    return float(-ndtri(alpha) if math.isinf(freedom) else -stdtrit(freedom, alpha))
