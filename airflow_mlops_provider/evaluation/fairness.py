"""The winner by groups of rows, and the gaps between the groups.

Values are Fairlearn's `MetricFrame` (Bird et al. 2020): a gap is the largest value of a group less the least, as
`demographic_parity_difference` and its like have it (Agarwal et al. 2018; equalized odds: Hardt et al. 2016). The
predicted class is the one that the model answers. Of several classes each is held against the rest, and the worst
counts.

Intervals are bootstrap ones, of all groups on the same resamples. The largest of several differences
is biased upwards, the more so the smaller the groups, and its interval with it: so small groups are not judged.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_mlops_provider.evaluation.bootstrap import interval, resample
from airflow_mlops_provider.evaluation.draws import widest
from airflow_mlops_provider.evaluation.group_report import FairnessReport, Gap, Group, GroupMetric, SmallGroup
from airflow_mlops_provider.evaluation.holdout import read_held_out
from airflow_mlops_provider.evaluation.metrics import broken, measure, undefined
from airflow_mlops_provider.evaluation.resampled_metrics import statistics_of
from airflow_mlops_provider.evaluation.slices import MISSING
from airflow_mlops_provider.evaluation.statistic import mean_of
from airflow_mlops_provider.exceptions import DataError
from airflow_mlops_provider.extras import import_extra

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.draws import Draws
    from airflow_mlops_provider.evaluation.holdout import Holdout
    from airflow_mlops_provider.evaluation.metrics import Predictions
    from airflow_mlops_provider.evaluation.statistic import Statistic
    from airflow_mlops_provider.spec.evaluation import Bootstrap, Evaluation

#: A column with more judged groups is an identifier, not a group.
MAX_GROUPS = 100
_MAX_SMALL = 50

#: What each gap is the largest difference in.
_RATES: dict[str, tuple[str, ...]] = {
    "demographic_parity_difference": ("selection_rate",),
    "equal_opportunity_difference": ("true_positive_rate",),
    "equalized_odds_difference": ("true_positive_rate", "false_positive_rate"),
    "error_rate_difference": ("error_rate",),
    "mean_prediction_difference": ("mean_prediction",),
    "mean_error_difference": ("mean_error",),
    "mae_difference": ("mae",),
}


class _Rate(NamedTuple):
    """A mean of `values` over the rows where `among` holds; `of` names those rows."""

    values: NDArray[Any]
    among: NDArray[Any]
    of: str


def measure_fairness(
    metrics: Sequence[str], settings: Evaluation, holdout: Holdout, predictions: Predictions, seed: int
) -> FairnessReport | None:
    """Return the metrics by group of the held-out rows, None when no groups are named.

    :raises SpecError: Fairlearn is not installed.
    :raises DataError: names the column that is not there, or that holds too many groups.
    """
    if (fairness := settings.fairness) is None:
        return None
    import_extra("fairlearn.metrics", "fairness", "evaluation.fairness")
    gaps = fairness.gaps_of(predictions.task)
    frame = read_held_out(holdout, fairness.groups)
    groups: list[Group] = []
    small: list[SmallGroup] = []
    found: list[Gap] = []
    for column in fairness.groups:
        named = frame[column].astype(object).where(frame[column].notna(), MISSING).astype(str).to_numpy()
        judged, others = _by_size(column, named, fairness.min_rows)
        small += others
        mine, theirs = _Column(column, judged, named, predictions, settings.bootstrap).measured(metrics, gaps, seed)
        groups += mine
        found += theirs
    small.sort(key=lambda group: -group.rows)
    return FairnessReport(
        min_rows=fairness.min_rows,
        confidence=settings.bootstrap.confidence,
        resamples=settings.bootstrap.resamples,
        groups=groups,
        small=small[:_MAX_SMALL],
        small_counts={name: sum(one.column == name for one in small) for name in fairness.groups},
        gaps=found,
    )


def _by_size(column: str, named: NDArray[Any], min_rows: int) -> tuple[dict[str, int], list[SmallGroup]]:
    """Return rows by judged group, the largest first, and the groups that are too small."""
    import numpy as np

    values, counts = np.unique(named, return_counts=True)
    sizes = dict(sorted(zip(values.tolist(), counts.tolist(), strict=True), key=lambda one: (-one[1], one[0])))
    judged = {value: rows for value, rows in sizes.items() if rows >= min_rows}
    if len(judged) > MAX_GROUPS:
        raise DataError(
            f"evaluation.fairness.groups: column {column!r} has {len(judged)} groups with {min_rows} rows or more",
            expected=f"at most {MAX_GROUPS}",
            hint="Group its values in the reader, or raise evaluation.fairness.min_rows.",
        )
    return judged, [SmallGroup(column=column, value=value, rows=sizes[value]) for value in sizes if value not in judged]


class _Column:
    """The groups of one column."""

    def __init__(
        self,
        column: str,
        judged: Mapping[str, int],
        named: NDArray[Any],
        predictions: Predictions,
        bootstrap: Bootstrap,
    ) -> None:
        self.column, self.judged, self.named, self.predictions, self.bootstrap = (
            column,
            judged,
            named,
            predictions,
            bootstrap,
        )

    def measured(self, metrics: Sequence[str], gaps: Sequence[str], seed: int) -> tuple[list[Group], list[Gap]]:
        """Return the groups and the gaps between them."""
        if why := broken(self.predictions) or self._too_few():
            return [], [Gap(column=self.column, gap=gap, value=None, why=why) for gap in gaps]
        rates = _rates_of(self.predictions, gaps)
        frame = self._metric_frame(metrics, rates)
        groups, reasons = [], {}
        statistics: dict[Any, Statistic] = {}
        for value in self.judged:
            rows = (self.named == value).nonzero()[0]
            part = self.predictions.take(rows)
            own = statistics_of(metrics, part) | {
                name: mean_of(rate.values[rows], rate.among[rows]) for name, rate in rates.items()
            }
            statistics |= {(value, name): one.among(rows) for name, one in own.items()}
            reasons[value] = {name: undefined(name, part) for name in metrics}
            reasons[value] |= {name: None if rate.among[rows].any() else rate.of for name, rate in rates.items()}
        # All groups on the same resamples: a customer, or a day, may have rows in several.
        drawn = resample(statistics, self.predictions.drawn, self.bootstrap.resamples, seed)
        for value, size in self.judged.items():
            measured = {
                name: self._metric(frame.by_group.at[value, name], drawn[value, name], why)
                for name, why in reasons[value].items()
            }
            groups.append(Group(column=self.column, value=value, rows=size, metrics=measured))
        return groups, [self._gap(gap, frame, groups, drawn) for gap in gaps]

    def _too_few(self) -> str | None:
        return None if len(self.judged) > 1 else f"{len(self.judged)} groups of {self.column} have enough rows"

    def _metric_frame(self, metrics: Sequence[str], rates: Mapping[str, _Rate]) -> Any:
        """Return Fairlearn's frame. Metrics get positions of rows: some need what a frame does not pass on."""
        import numpy as np
        from fairlearn.metrics import MetricFrame

        positions = np.isin(self.named, list(self.judged)).nonzero()[0]
        functions = {name: _measured(name, self.predictions) for name in metrics}
        functions |= {name: _mean(rate) for name, rate in rates.items()}
        return MetricFrame(
            metrics=functions, y_true=positions, y_pred=positions, sensitive_features=self.named[positions]
        )

    def _metric(self, value: float, drawn: Draws, why: str | None) -> GroupMetric:
        if why is not None or not math.isfinite(value):
            return GroupMetric(value=None, why=why or f"it is {value}")
        found = interval(drawn, self.bootstrap.confidence)
        return GroupMetric(value=float(value), low=found.low, high=found.high, why=found.why)

    def _gap(self, gap: str, frame: Any, groups: list[Group], drawn: Mapping[Any, Draws]) -> Gap:
        names = [name for name in groups[0].metrics if name.partition("[")[0] in _RATES[gap]]
        for group in groups:
            for name in names:
                if group.metrics[name].value is None:
                    why = f"{name} of {self.column}={group.value} is undefined: {group.metrics[name].why}"
                    return Gap(column=self.column, gap=gap, value=None, why=why)
        differences = frame.difference(method="between_groups")[names]
        worst = str(differences.idxmax())
        values = frame.by_group[worst]
        spread = widest([[drawn[group.value, name] for group in groups] for name in names])
        found = interval(spread, self.bootstrap.confidence)
        return Gap(
            column=self.column,
            gap=gap,
            value=float(differences[worst]),
            low=found.low,
            high=found.high,
            why=found.why,
            metric=worst,
            highest=str(values.idxmax()),
            lowest=str(values.idxmin()),
        )


# ---------------------------------------------------------------- metrics of a group


def _measured(name: str, predictions: Predictions) -> Callable[..., float]:
    def metric(positions: Any, _: Any) -> float:
        value = measure(name, predictions.take(positions)).value
        return math.nan if value is None else value

    return metric


def _mean(rate: _Rate) -> Callable[..., float]:
    def mean(positions: Any, _: Any) -> float:
        chosen = rate.values[positions][rate.among[positions]]
        return float(chosen.mean()) if len(chosen) else math.nan

    return mean


def _rates_of(predictions: Predictions, gaps: Sequence[str]) -> dict[str, _Rate]:
    """Return the rates that the gaps are differences in."""
    wanted = {rate for gap in gaps for rate in _RATES[gap]}
    known = _of_numbers(predictions) if predictions.task == "regression" else _of_classes(predictions)
    return {name: rate for name, rate in known.items() if name.partition("[")[0] in wanted}


def _of_numbers(predictions: Predictions) -> dict[str, _Rate]:
    import numpy as np

    error, every = predictions.scores - predictions.truth, np.ones(predictions.rows, dtype=bool)
    values = {"mean_prediction": predictions.scores, "mean_error": error, "mae": np.abs(error)}
    return {name: _Rate(of, every, "no rows") for name, of in values.items()}


def _of_classes(predictions: Predictions) -> dict[str, _Rate]:
    import numpy as np

    every = np.ones(predictions.rows, dtype=bool)
    rates = {"error_rate": _Rate((predictions.labels != predictions.truth).astype(float), every, "no rows")}
    binary = len(predictions.classes) == 2
    for index in [1] if binary else range(len(predictions.classes)):
        label, name = predictions.classes[index], "" if binary else f"[{predictions.classes[index]}]"
        chosen, positive = (predictions.labels == index).astype(float), predictions.truth == index
        rates |= {
            f"selection_rate{name}": _Rate(chosen, every, "no rows"),
            f"true_positive_rate{name}": _Rate(chosen, positive, f"no rows of class {label}"),
            f"false_positive_rate{name}": _Rate(chosen, ~positive, f"all rows are of class {label}"),
        }
    return rates
