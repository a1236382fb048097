"""Where a model is wrong, as it is stored: the confusion matrix of a classifier, the residuals of a regression."""

from __future__ import annotations

from pydantic import Field

from airflow_mlops_provider.spec.frozen import Finite, Frozen

#: Shares of the rows below each quantile of residuals.
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


class Confusion(Frozen):
    """Held-out rows by true and predicted class, under the model's own threshold.

    :param classes: in the order of lines and columns, as text.
    :param counts: a line for each true class, in it a number for each predicted class.
    :param others: how many classes, the rarest, the last line and column hold together; 0 when every class is there.
    """

    classes: list[str]
    counts: list[list[int]]
    others: int = 0


class ResidualBin(Frozen):
    """Some of the held-out rows, next to each other by prediction.

    :param predicted: mean prediction.
    :param observed: mean of the target.
    :param quantiles: of the residuals, at `LEVELS`.
    """

    predicted: Finite
    observed: Finite
    quantiles: list[Finite] = Field(min_length=len(LEVELS), max_length=len(LEVELS))
    rows: int


class Residuals(Frozen):
    """True values minus predicted values, in units of the target.

    :param quantiles: at `LEVELS`.
    :param edges: of the histogram, ascending; its outermost bins hold what lies beyond as well.
    :param counts: rows between each edge and the next.
    :param bins: from the lowest predictions to the highest.
    """

    mean: Finite
    sd: Finite
    quantiles: list[Finite] = Field(min_length=len(LEVELS), max_length=len(LEVELS))
    edges: list[Finite]
    counts: list[int]
    bins: list[ResidualBin]
