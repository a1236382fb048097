"""What a cross-validation says beyond one number: each fold, their mean, and how far that mean can be trusted.

Folds share training rows, so their scores are not independent, and the interval of an ordinary t-test is too narrow.
The variance of the mean is taken as (1/k + n_test/n_train) s² with k - 1 degrees of freedom: Nadeau & Bengio,
"Inference for the Generalization Error", Machine Learning 52 (2003), the corrected resampled t-test. No estimate of
that variance is unbiased for k-fold (Bengio & Grandvalet, JMLR 5, 2004); this one errs on the careful side. For a time
series, whose training grows from fold to fold, the ratio is the mean of the folds' own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.evaluation.bootstrap import interval, resample
from airflow_mlops_provider.evaluation.metrics import measure_all
from airflow_mlops_provider.evaluation.report import FoldMean, FoldScores
from airflow_mlops_provider.evaluation.resampled_metrics import statistics_of
from airflow_mlops_provider.reports import Cell, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.evaluation.holdout import Holdout
    from airflow_mlops_provider.evaluation.metrics import Predictions
    from airflow_mlops_provider.evaluation.report import EvaluationReport, Interval
    from airflow_mlops_provider.spec import Bootstrap

_FEWEST = 2


def fold_scores(metrics: Sequence[str], holdout: Holdout, predictions: Predictions, confidence: float) -> FoldScores:
    """Return the metrics of each fold, and of each metric the mean over the folds; nothing of a single holdout."""
    if not holdout.cross_validated:
        return FoldScores()
    numbers = range(1, holdout.plan.folds + 1)
    measured = [measure_all(metrics, holdout.of_fold(predictions, number)) for number in numbers]
    values = {name: [part[name].value for part in measured] for name in metrics}
    ratios = [float((holdout.fold == number).sum() / holdout.trained_on(number).sum()) for number in numbers]
    ratio = sum(ratios) / len(ratios)
    return FoldScores(
        folds=values, fold_means={name: mean_of_folds(found, ratio, confidence) for name, found in values.items()}
    )


def mean_of_folds(values: Sequence[float | None], ratio: float, confidence: float) -> FoldMean:
    """Return the mean of the folds on which a metric is defined, with its corrected interval.

    >>> found = mean_of_folds([0.70, 0.74, 0.72, 0.76, 0.73], 0.25, 0.95)
    >>> round(found.mean, 3), round(found.low, 4), round(found.high, 4)
    (0.73, 0.6884, 0.7716)

    :param ratio: held-out rows over training rows.
    """
    import numpy as np
    from scipy.stats import t

    defined = np.array([value for value in values if value is not None])
    known: dict[str, Any] = {"confidence": confidence, "folds": len(defined)}
    if len(defined) < _FEWEST:
        return FoldMean(**known, why=f"the metric is defined on {len(defined)} of {len(values)} folds")
    mean, sd = float(defined.mean()), float(defined.std(ddof=1))
    half = float(t.ppf((1 + confidence) / 2, len(defined) - 1)) * sd * (1 / len(defined) + ratio) ** 0.5
    return FoldMean(**known, mean=mean, sd=sd, low=mean - half, high=mean + half)


def fold_intervals(
    metrics: Sequence[str], holdout: Holdout, predictions: Predictions, settings: Bootstrap, seed: int
) -> dict[str, list[Interval]]:
    """Return the bootstrap interval of each metric on each fold's rows alone; nothing of a single holdout."""
    if not holdout.cross_validated:
        return {}
    found: dict[str, list[Interval]] = {name: [] for name in metrics}
    for number in range(1, holdout.plan.folds + 1):
        part = holdout.of_fold(predictions, number)
        undefined = {name: why for name, (_, why) in measure_all(metrics, part).items() if why is not None}
        resampled = resample(statistics_of(metrics, part), part.drawn, settings.resamples, seed)
        for name in metrics:
            found[name].append(interval(resampled.get(name), settings.confidence, undefined.get(name)))
    return found


# ---------------------------------------------------------------- on the page


def fold_tables(report: EvaluationReport) -> list[str]:
    """Return what a page shows of a cross-validation: the candidates' means, and the winner fold by fold."""
    if not report.challenger.folds:
        return []
    return [*(_means(report, metric) for metric in report.metrics), _winner(report)]


def _means(report: EvaluationReport, metric: str) -> str:
    rows = []
    for name, scores in report.candidates.items():
        found = scores.fold_means[metric]
        rows.append(
            [
                Cell(name, "good" if name == report.winner else ""),
                Cell(_number(found.mean), "number"),
                Cell(_span(found.low, found.high) or found.why or "", "whole"),
                Cell(_number(found.sd), "number"),
                Cell(_number(scores.metrics[metric]), "number"),
            ]
        )
    confidence = report.challenger.fold_means[metric].confidence
    headers = ["Candidate", "Mean of folds", f"{confidence:.0%} interval", "SD of folds", "All held-out rows"]
    return table(f"{metric} over {report.folds} folds", headers, rows)


def _winner(report: EvaluationReport) -> str:
    rows = [
        [
            Cell(str(number + 1), "number"),
            *(
                Cell(f"{_number(values[number])}  {_span(span.low, span.high)}", "whole")
                for values, span in (
                    (report.challenger.folds[metric], report.fold_intervals[metric][number])
                    for metric in report.metrics
                )
            ),
        ]
        for number in range(report.folds)
    ]
    return table(f"{report.winner}, fold by fold", ["Fold", *report.metrics], rows)


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.5g}"


def _span(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.5g} to {high:.5g}"
