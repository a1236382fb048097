"""The metrics of a window with their errors: by its own blocks of time where there are enough, else by the holdout's.

A window of one day holds one block of time: nothing in it says how much days differ. The champion's holdout does, and
what it measured is added to the error of the window's rows. Where neither shows it, rows alone count, and the result
says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_mlops_provider.evaluation.block_errors import jackknife_variance
from airflow_mlops_provider.evaluation.bootstrap import interval, jackknife, resample
from airflow_mlops_provider.evaluation.metrics import gain, too_rare
from airflow_mlops_provider.evaluation.refusals import FEWEST_BLOCKS
from airflow_mlops_provider.evaluation.resampled_metrics import statistics_of
from airflow_mlops_provider.evaluation.resampling import DAY, block_units, row_units
from airflow_mlops_provider.monitoring.probation import WindowComparison
from airflow_mlops_provider.spec import Bootstrap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.block_report import BlockError, BlockErrors
    from airflow_mlops_provider.evaluation.draws import Draws
    from airflow_mlops_provider.evaluation.metrics import Predictions
    from airflow_mlops_provider.evaluation.report import Interval
    from airflow_mlops_provider.evaluation.resampling import Units
    from airflow_mlops_provider.evaluation.statistic import Statistic

RESAMPLES = Bootstrap().resamples


@dataclass(frozen=True)
class Plan:
    """What resamples of a window draw.

    :param units: blocks of time where there are enough, else rows or groups.
    :param rows: rows, or groups of them.
    :param blocks: so many of the holdout's blocks the window is worth; None when the data knows no time.
    """

    units: Units
    rows: Units
    blocks: float | None = None


class LiveMeasured(NamedTuple):
    """What was measured of a window.

    :param intervals: of each version's metrics, in the order of the versions.
    :param since_holdout: what the champion is better by than on its holdout.
    :param differences: what it is better by than the former champion.
    :param comparison: the deciding difference, as probation adds it up; None when there is none, and `why` says why.
    """

    intervals: list[dict[str, Interval]]
    since_holdout: dict[str, Interval]
    differences: dict[str, Interval]
    comparison: WindowComparison | None = None
    why: str | None = None


def plan(
    rows: int, groups: Units | None = None, moments: NDArray[Any] | None = None, block: timedelta | None = None
) -> Plan:
    """Return what resamples of a window draw.

    :param rows: how many there are.
    :param groups: of rows that belong together.
    :param moments: timestamps of the rows in microseconds; None when the data knows no time.
    :param block: length of the holdout's blocks.
    """
    import numpy as np

    own = row_units(rows) if groups is None else groups
    if moments is None:
        return Plan(own, own)
    length = max(DAY, block or DAY)
    days = np.unique(moments // (DAY // timedelta(microseconds=1)), return_counts=True)[1] / rows
    # Days with few rows say less (Kish 1965); of a block that lasts several days a day is a part.
    worth = float(1 / np.square(days).sum()) * (DAY / length)
    blocks = block_units(moments, length, groups)
    return Plan(blocks if blocks.count >= FEWEST_BLOCKS else own, own, worth)


def measure_window(
    names: Sequence[str],
    versions: Sequence[Predictions | None],
    plan: Plan,
    *,
    decides: str,
    errors: BlockErrors | None,
    holdout: Mapping[str, float | None],
    confidence: float,
    seed: int,
    resamples: int = RESAMPLES,
) -> LiveMeasured:
    """Return the intervals of a window's metrics, and of what the champion is better by.

    :param names: of metrics.
    :param versions: the champion's predictions, and those of the former one; None of one that cannot predict.
    :param plan: of these very rows.
    :param decides: the metric by which the champion is compared with the former one.
    :param errors: how much blocks of time vary, by the champion's evaluation.
    :param holdout: the champion's metrics there.
    """
    import numpy as np

    statistics = {
        (index, name): each
        for index, one in enumerate(versions)
        if one is not None and one.rows
        for name, each in statistics_of(names, one).items()
    }
    if not statistics:
        return LiveMeasured([{} for _ in versions], {}, {}, why="no version can predict these rows")
    drawn = resample(statistics, plan.units, resamples, seed)
    rows = _by_rows(statistics, drawn, plan)
    own, paired = ({}, {}) if errors is None else (errors.metrics, errors.differences)
    rare = {name: next((why for one in versions if one and (why := too_rare(name, one))), None) for name in names}

    def spans(found: Mapping[str, Draws | None]) -> dict[str, Interval]:
        return {name: interval(one, confidence, rare[name]) for name, one in found.items()}

    def of_version(index: int, name: str) -> Draws | None:
        one = drawn.get((index, name))
        return None if one is None else _bounded(one, rows[index, name], own.get(name), plan)

    since, gained, between = {}, {}, {}
    for name in names:
        first, second, then = drawn.get((0, name)), drawn.get((1, name)), holdout.get(name)
        if first is not None and then is not None:
            moved = first.gain_over(name, then)
            since[name] = _bounded(moved, rows[0, name], own.get(name), plan, of_holdout=True)
        if first is not None and second is not None:
            between[name] = np.asarray(gain(name, rows[0, name], rows[1, name]))
            gained[name] = _bounded(first.gain_over(name, second), between[name], paired.get(name), plan)
    intervals = [spans({name: of_version(index, name) for name in names}) for index in range(len(versions))]
    found = LiveMeasured(intervals, spans(since), spans(gained))
    if decides not in gained:
        return found
    if (why := found.differences[decides].why) is not None:
        return found._replace(why=why)
    comparison = WindowComparison(
        difference=gained[decides].point,
        variance=jackknife_variance(between[decides]),
        rows=plan.rows.rows,
        blocks=plan.blocks,
        error=paired.get(decides),
    )
    return found._replace(comparison=comparison)


def _by_rows(statistics: Mapping[Any, Statistic], drawn: Mapping[Any, Draws], plan: Plan) -> dict[Any, Any]:
    """Return each statistic without one after another of the rows, or groups of them."""
    if plan.units is plan.rows and all(one.why is None for one in drawn.values()):
        return {key: one.left_out for key, one in drawn.items()}
    return jackknife(statistics, plan.rows)


def _bounded(
    draws: Draws, by_rows: NDArray[Any], error: BlockError | None, plan: Plan, *, of_holdout: bool = False
) -> Draws:
    """Return what was drawn with as much error at least as rows and the holdout's blocks together say.

    :param by_rows: the statistic without one after another of the rows, or groups of them.
    :param of_holdout: it is a difference to the holdout, whose own error belongs to it.
    """
    import numpy as np

    if draws.why is not None or plan.blocks is None:
        return draws
    if not np.isfinite(by_rows).all():
        return replace(draws, why="the metric is undefined without some of the rows: too few rows of a class")
    if error is None:
        return draws
    variance = jackknife_variance(by_rows) + error.beyond_rows(plan.blocks) + (error.of_all if of_holdout else 0.0)
    return replace(draws, least=(variance, error.freedom))
