"""Measures how much whole blocks of time vary in what they add to a metric, and to the gain over another model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.evaluation.block_report import BlockError, BlockErrors
from airflow_mlops_provider.evaluation.bootstrap import jackknife
from airflow_mlops_provider.evaluation.dependence import long_run_factor
from airflow_mlops_provider.evaluation.metrics import gain
from airflow_mlops_provider.evaluation.resampling import row_units

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.draws import Draws
    from airflow_mlops_provider.evaluation.resampling import Units
    from airflow_mlops_provider.evaluation.statistic import Statistic


def block_errors(
    statistics: Mapping[tuple[str | int, str], Statistic],
    drawn: Mapping[tuple[str | int, str], Draws],
    units: Units,
    winner: str,
    *,
    dummy: int,
    champion: int | None = None,
) -> BlockErrors | None:
    """Return how much the blocks of a holdout vary, in the winner's metrics and in its gain over something else.

    :param statistics: by whose they are and the metric's name.
    :param drawn: the same, resampled by blocks.
    :param dummy: whose the dummy's are.
    :param champion: whose the champion's are; None when it cannot be compared on the same rows.
    """
    import numpy as np

    if units.block is None or any(one.why is not None for one in drawn.values()):
        return None
    beside = dummy if champion is None else champion
    rows: dict[Any, Any] = jackknife(
        {key: one for key, one in statistics.items() if key[0] in (winner, beside)},
        row_units(units.rows) if units.besides is None else units.besides,
    )
    metrics: dict[str, BlockError | None] = {}
    differences: dict[str, BlockError | None] = {}
    for name in (name for whose, name in rows if whose == winner):
        own, other = (winner, name), (beside, name)
        metrics[name] = block_error(drawn[own].left_out, rows[own])
        if other in rows:
            gained = drawn[own].gain_over(name, drawn[other])
            differences[name] = block_error(gained.left_out, np.asarray(gain(name, rows[own], rows[other])))
    return BlockErrors(
        block=units.block,
        metrics={name: one for name, one in metrics.items() if one is not None},
        differences={name: one for name, one in differences.items() if one is not None},
        beside="dummy" if champion is None else "champion",
    )


def block_error(by_blocks: NDArray[Any], by_rows: NDArray[Any]) -> BlockError | None:
    """Return how much blocks vary in a statistic; None where it is undefined without one of them.

    :param by_blocks: the statistic without one block after another, in the order of time.
    :param by_rows: without one after another of the rows, or groups of them.
    """
    import numpy as np

    if len(by_blocks) < 2 or not (np.isfinite(by_blocks).all() and np.isfinite(by_rows).all()):
        return None
    factor, freedom = long_run_factor(by_blocks)
    blocks = len(by_blocks)
    return BlockError(
        variance=blocks * jackknife_variance(by_blocks),
        within=blocks * jackknife_variance(by_rows),
        factor=factor,
        blocks=blocks,
        freedom=max(freedom, 1.0),
    )


def jackknife_variance(left_out: NDArray[Any]) -> float:
    """Return the jackknife's variance of a statistic (Efron & Tibshirani 1993, ch. 11), of independent units."""
    return float((len(left_out) - 1) * left_out.var())
