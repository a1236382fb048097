"""Percentile bootstrap of the metrics, fast enough to be on in every training.

A resample with replacement is a vector of counts, one a row (Efron & Tibshirani 1993, ch. 6 and 13). A metric is
prepared once, with its sorting, and is then a function of counts: 200 resamples of 65,000 rows take tenths of a
second. Two models share the counts, so their difference is paired.

Rows are resampled as if they were independent. Where they are not (many rows of one day, one customer), the
intervals are narrower than the truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.evaluation.report import Interval

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.resampled_metrics import Statistic


#: Counts held at once: 4 MB, which stays in a processor's cache.
_CHUNK = 1_000_000
#: Below this share of defined resamples the interval would be one of another population.
_MIN_DEFINED = 0.5
_MAX_QUANTILES = 1001


def resample(statistics: Mapping[Any, Statistic], rows: int, resamples: int, seed: int) -> dict[Hashable, NDArray[Any]]:
    """Return each statistic on the same resamples, one value a resample."""
    import numpy as np
    from threadpoolctl import threadpool_limits

    values: dict[Hashable, list[NDArray[Any]]] = {key: [] for key in statistics}
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"), threadpool_limits(limits=1):
        for counts in _counts(rows, resamples, seed):
            for key, statistic in statistics.items():
                values[key].append(statistic(counts))
    return {key: np.concatenate(parts) for key, parts in values.items()}


def interval(values: NDArray[Any] | None, confidence: float, why: str | None = None) -> Interval:
    """Return the two-sided percentile interval of resampled values; `why` says why there are none."""
    import numpy as np

    if values is None or why is not None:
        return Interval(low=None, high=None, confidence=confidence, resamples=0, why=why)
    defined = values[np.isfinite(values)]
    if why := _too_few(len(defined), len(values)):
        return Interval(low=None, high=None, confidence=confidence, resamples=len(defined), why=why)
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(low=float(low), high=float(high), confidence=confidence, resamples=len(defined))


def quantiles(values: NDArray[Any]) -> tuple[list[float], str | None]:
    """Return resampled values in ascending order (at most 1,001 quantiles of them), or why there are too few."""
    import numpy as np

    defined = np.sort(values[np.isfinite(values)])
    if why := _too_few(len(defined), len(values)):
        return [], why
    if len(defined) > _MAX_QUANTILES:
        defined = np.quantile(defined, np.linspace(0, 1, _MAX_QUANTILES))
    return [float(value) for value in defined], None


def _too_few(defined: int, resamples: int) -> str | None:
    if defined >= max(2, _MIN_DEFINED * resamples):
        return None
    return f"the metric is defined on {defined} of {resamples} resamples: too few rows, or too few of a class"


def _counts(rows: int, resamples: int, seed: int) -> Iterator[NDArray[Any]]:
    import numpy as np

    generator = np.random.default_rng(seed)
    size = max(1, _CHUNK // rows)
    for start in range(0, resamples, size):
        chunk = np.empty((min(size, resamples - start), rows), dtype=np.int32)
        for line in chunk:
            line[:] = np.bincount(generator.integers(rows, size=rows), minlength=rows)
        yield chunk
