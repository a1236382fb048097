"""The target as numbers, and what makes one unusable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from airflow_mlops_provider.modeling.splits import ClassLabel

_MAX_SHOWN = 20


@dataclass(frozen=True)
class Target:
    """The target as numbers.

    :param values: indices into `classes`, or the values of a regression.
    :param classes: sorted, which is the order that scikit-learn gives them; None for a regression.
    """

    values: NDArray[np.float64]
    classes: list[ClassLabel] | None

    @property
    def class_count(self) -> int:
        """How many classes there are; 0 for a regression."""
        return 0 if self.classes is None else len(self.classes)


def target_of(column: pd.Series[Any], task: str) -> Target:
    """Return a target column as numbers.

    >>> import pandas as pd
    >>> target = target_of(pd.Series(["late", "early", "late"], name="arrival"), "binary")
    >>> target.classes, target.values.tolist()
    (['early', 'late'], [1.0, 0.0, 1.0])

    :raises DataError: when a value is missing or not finite, or there is nothing to tell apart.
    """
    name = column.name
    if (missing := column.isna().to_numpy()).any():
        raise DataError(
            f"target {name!r} is missing in {int(missing.sum())} rows, first in row {int(missing.argmax())}",
            hint="Drop these rows in the reader: a model cannot learn from rows without a label.",
        )
    return _numbers(column) if task == "regression" else _classes(column, task)


def _numbers(column: pd.Series[Any]) -> Target:
    import numpy as np

    name = column.name
    try:
        values = column.to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"target {name!r} is not numeric", got=str(column.dtype), expected="a number") from error
    if (infinite := ~np.isfinite(values)).any():
        raise DataError(
            f"target {name!r} is not finite in {int(infinite.sum())} rows, first in row {int(infinite.argmax())}"
        )
    if values.min() == values.max():
        raise DataError(f"target {name!r} is the same in all {values.size} rows", got=float(values[0]))
    return Target(values, None)


def _classes(column: pd.Series[Any], task: str) -> Target:
    import numpy as np
    import pandas as pd

    labels = sorted(column.unique().tolist())
    if strange := [label for label in labels if not isinstance(label, (bool, int, float, str))]:
        raise DataError(
            f"target {column.name!r} is not a class", got=strange[0], expected="a number, text, true or false"
        )
    if len(labels) < 2:
        raise DataError(
            f"target {column.name!r} has a single class in all {len(column)} rows",
            got=labels,
            expected="at least two classes",
            hint="A longer data.window may contain another class.",
        )
    if task == "binary" and len(labels) > 2:
        raise DataError(
            f"target {column.name!r} of a binary pipeline has {len(labels)} classes",
            got=labels[:_MAX_SHOWN],
            expected="two",
            hint="Set the pipeline's task to multiclass.",
        )
    codes = pd.Categorical(column, categories=labels).codes
    return Target(codes.astype(np.float64), labels)
