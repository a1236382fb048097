"""The winner on parts of the held-out rows: a good mean may hide a bad part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.evaluation.bootstrap import interval, resample
from airflow_mlops_provider.evaluation.holdout import read_held_out
from airflow_mlops_provider.evaluation.metrics import broken, gain, measure_all, too_rare, undefined
from airflow_mlops_provider.evaluation.refusals import too_few_units
from airflow_mlops_provider.evaluation.report import Slice, WorstSlice, scores_of
from airflow_mlops_provider.evaluation.resampled_metrics import statistics_of
from airflow_mlops_provider.evaluation.simultaneous import simultaneous

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.holdout import Holdout
    from airflow_mlops_provider.evaluation.metrics import Predictions
    from airflow_mlops_provider.evaluation.report import Interval
    from airflow_mlops_provider.spec.evaluation import Bootstrap, Evaluation

#: How a slice of rows without a value is named.
MISSING = "(missing)"


def measure_slices(
    metrics: Sequence[str], settings: Evaluation, holdout: Holdout, predictions: Predictions, seed: int | None = None
) -> tuple[list[Slice], dict[str, int]]:
    """Return the metrics on each value of each slice column, and per column how many values have too few rows.

    :param seed: of the resamples behind intervals of the first metric, which hold for all slices at once; without one
        there are none.
    """
    import numpy as np

    if not settings.slices:
        return [], {}
    frame = read_held_out(holdout, settings.slices)
    slices, too_small = [], {}
    rows_of: list[NDArray[Any]] = []
    for column in settings.slices:
        values = frame[column].astype(object).where(frame[column].notna(), MISSING)
        groups = {value: np.asarray(rows) for value, rows in values.groupby(values.to_numpy()).indices.items()}
        large = {value: rows for value, rows in groups.items() if len(rows) >= settings.min_slice_rows}
        too_small[column] = len(groups) - len(large)
        for value, rows in large.items():
            scores = scores_of(measure_all(metrics, predictions.take(rows)))
            slices.append(Slice(column=column, value=str(value), rows=len(rows), **scores.model_dump()))
            rows_of.append(rows)
    if seed is not None:
        spans = _intervals(metrics[0], predictions, rows_of, settings.bootstrap, seed)
        slices = [
            one.model_copy(update={"intervals": {metrics[0]: span}}) for one, span in zip(slices, spans, strict=True)
        ]
    return slices, too_small


def _intervals(
    metric: str, predictions: Predictions, rows_of: Sequence[NDArray[Any]], bootstrap: Bootstrap, seed: int
) -> list[Interval]:
    """Return the interval of a metric on some of the rows, for each choice of them; all hold at once."""
    parts = [predictions.take(rows) for rows in rows_of]
    # All slices on the same resamples: a day, or a customer, has rows in several.
    statistics = {
        number: statistics_of([metric], part)[metric].among(rows)
        for number, (part, rows) in enumerate(zip(parts, rows_of, strict=True))
        if broken(part) is None and undefined(metric, part) is None
    }
    drawn = resample(statistics, predictions.drawn, bootstrap.resamples, seed)
    unsure = {number: too_rare(metric, parts[number]) or too_few_units(parts[number].drawn) for number in statistics}
    judged = [number for number in statistics if unsure[number] is None]
    found = dict(zip(judged, simultaneous([drawn[number] for number in judged], bootstrap.confidence), strict=True))
    return [
        found.get(number) or interval(None, bootstrap.confidence, unsure.get(number) or f"{metric} is undefined")
        for number in range(len(parts))
    ]


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
