"""How far a metric may fall below what the holdout promised."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.evaluation.metrics import gain

if TYPE_CHECKING:
    from airflow_mlops_provider.spec.operations import Estimated, Live


def allowed_fall(settings: Live | Estimated, metric: str, holdout: float, dummy: float | None) -> float:
    """Return the largest fall that is no decay, in units of the metric.

    A share of the value means little: a tenth of a roc_auc of 0.95 is a fifth of what the model is better by than a
    coin, and a tenth of an r2 of 0.05 next to nothing. A share of the skill means the same of each metric (Murphy,
    Monthly Weather Review 116, 1988).

    >>> from airflow_mlops_provider.spec.operations import Live
    >>> round(allowed_fall(Live(), "roc_auc", 0.95, 0.5), 3)
    0.095
    >>> round(allowed_fall(Live(margin_of="skill"), "roc_auc", 0.95, 0.5), 3)
    0.045

    :param holdout: the champion's metric there.
    :param dummy: a dummy's; None of an old evaluation: then the share is that of the value.
    """
    if settings.margin_of == "value" or dummy is None:
        return settings.margin * abs(holdout)
    return settings.margin * max(gain(metric, holdout, dummy), 0.0)
