"""How much wider than independent units say the error of a statistic is, where its units follow each other in time.

The long-run variance of a series over its variance, by several estimates, of which the largest counts, since each is
biased downwards in short series: an autoregression of the first order with its small-sample bias taken out (Kendall
1954), the same seen through noise, one of an order chosen by AIC (the sieve of Bühlmann 1997; prewhitening: Andrews &
Monahan 1992), and means of ever longer batches, where they vary more than chance lets them (Conway 1963).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.evaluation.resampling_report import FEW

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Of the estimated autocorrelation, in its standard errors, that are added: an interval must not be narrow by chance.
_CAREFUL = 0.5
_LARGEST = 0.97
#: Fewest batches whose variance says something.
_BATCHES = 10
#: Standard errors by which the variance of batches, or the first autocorrelation, has to be large.
_SIGNIFICANT, _NOTICED = 1.28, 0.84
_ORDERS = 7
_FEWEST = 4
#: Of few values: standard errors that are added to the correlation, and the largest one; and the same where the
#: difference of two models is judged. The fewest degrees of freedom.
_OF_FEW, _OF_FEW_BETWEEN_MODELS, _FEWEST_FREE = (0.25, 0.5), (1.0, 0.6), 3.0


def long_run_factor(values: NDArray[Any], *, between_models: bool = False) -> tuple[float, float]:
    """Return the long-run variance of a series over its variance, and the degrees of freedom of its estimate.

    Where the series says as much as fewer than `_FEWEST` independent values (a level that wanders, a trend), no model
    of it can be trusted: the means of so many equal parts are taken (Ibragimov & Müller 2010).

    :param values: of one unit after another, in the order of time.
    :param between_models: they are of the difference of two models, of which one may wait for more days.

    >>> import numpy as np
    >>> long_run_factor(np.array([1.0, -1.0] * 20))
    (1.0, 39.0)
    >>> long_run_factor(np.arange(100.0))[1]
    3.0
    """
    import numpy as np

    centred = values - values.mean()
    size, variance = len(values), float(np.square(centred).mean())
    if size < 4 or variance <= 1e-24 * float(np.square(values).mean()):
        return 1.0, float(size - 1)
    orders = min(_ORDERS, size // 8)
    lags = np.array([float((centred[lag:] * centred[: size - lag]).sum()) for lag in range(max(orders, 3) + 1)])
    correlations = lags / (size * variance)
    found = [1.0, _first_order(correlations[1], size, _CAREFUL), _sieve(correlations[: orders + 1], size)]
    if correlations[1] > _NOTICED / size**0.5:
        found.append(_with_noise(correlations, size))
    if (factor := max(*found, *_batches(values, size))) <= size / _FEWEST:
        return _wider((factor, size / factor - 1), _of_few(correlations[1], size, between_models=between_models))
    means = np.array([part.mean() for part in np.array_split(values, _FEWEST)])
    parts = size / _FEWEST * float(means.var(ddof=1) / values.var(ddof=1)), _FEWEST - 1.0
    return _wider(parts, _of_few(correlations[1], size, between_models=between_models))


def _of_few(correlation: float, size: int, *, between_models: bool) -> tuple[float, float]:
    """Return the factor of the largest correlation that so few values do not exclude, and its degrees of freedom.

    Where days share a fifth of a model's error and follow an AR(0.8), 4 to 5 % of equally good models passed after 5 to
    20 days by the smaller bound, and 1.8 to 2.4 % do by the larger one, which makes intervals of 5 to 10 independent
    days two fifths wider, of 20 a sixth. A replacement can wait for more days. A first champion cannot, and noise
    passes in about 1 % by the smaller bound: it holds for all but differences of models. From 60 values on neither
    counts.
    """
    beyond, most = _OF_FEW_BETWEEN_MODELS if between_models else _OF_FEW
    bound = beyond * min(1.0, max(0.0, 2 * FEW / size - 1)) / size**0.5
    largest = min(correlation + (1 + 4 * max(correlation, 0.0)) / size + bound, most)
    factor = max(1.0, float((1 + largest) / (1 - largest))) if bound else 1.0
    return factor, max(size / factor - 1, _FEWEST_FREE)


def _wider(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """Return the one of two that makes the wider interval."""
    from scipy.stats import t

    return max(one, other, key=lambda each: each[0] ** 0.5 * float(t.ppf(0.975, each[1])))


def _first_order(correlation: float, size: int, careful: float) -> float:
    unbiased = correlation + (1 + 4 * max(correlation, 0.0)) / size
    error = (max(1 - unbiased**2, 0.05) / size) ** 0.5 * max(unbiased, 0.0) ** 0.5
    bounded = min(unbiased + careful * error, _LARGEST)
    return max(1.0, float((1 + bounded) / (1 - bounded)))


def _with_noise(correlations: NDArray[Any], size: int) -> float:
    """Return the factor of an autoregression that is seen through noise: its correlations fall by one ratio."""
    first, second, third = (float(one) + 1 / size for one in correlations[1:4])
    ratio = 0.0 if second <= 0 else min(max((second + third) / (first + second), 0.0), 0.95)
    return 1 + 2 * max(first, 0.0) / (1 - ratio)


def _sieve(correlations: NDArray[Any], size: int) -> float:
    """Return the factor of the autoregression whose order AIC chooses, by Levinson's recursion."""
    import numpy as np

    weights, left, best, factor = np.zeros(0), 1.0, 0.0, 1.0
    for order in range(1, len(correlations)):
        partial = (correlations[order] - float((weights * correlations[1:order][::-1]).sum())) / left
        weights = np.append(weights - partial * weights[::-1], partial)
        left = max(left * (1 - partial**2), 1e-12)
        if (criterion := size * np.log(left) + 2 * order) < best:
            best, factor = float(criterion), left / max(1 - float(weights.sum()), 0.05) ** 2
    return factor


def _batches(values: NDArray[Any], size: int) -> list[float]:
    import numpy as np

    found, length = [], 2
    while (count := size // length) >= _BATCHES:
        means = values[size - count * length :].reshape(count, length).mean(axis=1)
        ratio = length * float(means.var(ddof=1)) / float(values.var(ddof=1))
        if ratio > 1 + _SIGNIFICANT * (2 / count) ** 0.5:
            centred = means - means.mean()
            next_to = float((centred[1:] * centred[:-1]).sum() / np.square(centred).sum())
            found.append(ratio * _first_order(next_to, count, 0.0))
        length *= 2
    return found
