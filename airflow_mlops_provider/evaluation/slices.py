"""The winner on parts of the held-out rows: a good mean may hide a bad part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.evaluation.holdout import read_held_out
from airflow_mlops_provider.evaluation.metrics import gain, measure_all
from airflow_mlops_provider.evaluation.report import Slice, WorstSlice, scores_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.evaluation.holdout import Holdout
    from airflow_mlops_provider.evaluation.metrics import Predictions
    from airflow_mlops_provider.spec.sections import Evaluation

#: How a slice of rows without a value is named.
MISSING = "(missing)"


def measure_slices(
    metrics: Sequence[str], settings: Evaluation, holdout: Holdout, predictions: Predictions
) -> tuple[list[Slice], dict[str, int]]:
    """Return the metrics on each value of each slice column, and per column how many values have too few rows."""
    import numpy as np

    if not settings.slices:
        return [], {}
    frame = read_held_out(holdout, settings.slices)
    slices, too_small = [], {}
    for column in settings.slices:
        values = frame[column].astype(object).where(frame[column].notna(), MISSING)
        groups = {value: np.asarray(rows) for value, rows in values.groupby(values.to_numpy()).indices.items()}
        large = {value: rows for value, rows in groups.items() if len(rows) >= settings.min_slice_rows}
        too_small[column] = len(groups) - len(large)
        for value, rows in large.items():
            scores = scores_of(measure_all(metrics, predictions.take(rows)))
            slices.append(Slice(column=column, value=str(value), rows=len(rows), **scores.model_dump()))
    return slices, too_small


def worst_slices(metrics: Sequence[str], slices: Sequence[Slice]) -> dict[str, WorstSlice]:
    """Return the worst slice by each metric that any slice has."""
    worst: dict[str, WorstSlice] = {}
    for metric in metrics:
        measured = [(gain(metric, value, 0.0), item) for item in slices if (value := item.metrics[metric]) is not None]
        if measured:
            _, item = min(measured, key=lambda pair: pair[0])
            value = item.metrics[metric]
            if value is not None:
                worst[metric] = WorstSlice(column=item.column, value=item.value, rows=item.rows, metric=value)
    return worst
