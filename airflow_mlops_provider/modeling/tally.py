"""What is counted while a model answers: small, and to be added up over parts of the rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from airflow_mlops_provider.exceptions import DataError
from airflow_mlops_provider.modeling.splits import ClassLabel
from airflow_mlops_provider.modeling.threshold import labels_of
from airflow_mlops_provider.results import text_within

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

_MAX_SHOWN, _NAME_BYTES = 20, 40
#: So many values of a category, none of them known to the model, are no chance: the column was retyped or renamed.
_STRANGERS = 100


class Values(BaseModel):
    """What was seen of a categorical column.

    :param such_as: some of the values that the model knows.
    :param familiar: whether one of the values seen is known to it.
    """

    such_as: list[str]
    seen: int = 0
    familiar: bool = False


class Tally(BaseModel):
    """What was seen of rows and answers.

    :param imputed: rows that lack a feature, which the model filled in.
    :param counts: rows by index of the predicted class.
    :param values: by categorical column.
    :param threshold: decision threshold of the model, None when it predicts the most probable class.
    """

    version: int
    classes: list[ClassLabel]
    rows: int = 0
    imputed: int = 0
    total: float = 0.0
    squares: float = 0.0
    counts: dict[int, int] = Field(default_factory=dict)
    values: dict[str, Values] = Field(default_factory=dict)
    threshold: float | None = None

    @classmethod
    def of(
        cls,
        version: int,
        classes: list[ClassLabel],
        known: dict[str, frozenset[str]],
        threshold: float | None = None,
    ) -> Tally:
        """Return one that has seen nothing yet.

        :param known: the categories that the model knows, by column.
        """
        values = {name: Values(such_as=sorted(each)[:5]) for name, each in known.items()}
        return cls(version=version, classes=classes, values=values, threshold=threshold)

    def see(self, group: pa.Table, known: dict[str, frozenset[str]]) -> None:
        """Look at the categories of a row group."""
        import pyarrow.compute as pc

        for name, values in self.values.items():
            column = group[name]
            values.seen += len(column) - column.null_count
            if not values.familiar:
                values.familiar = not known[name].isdisjoint(pc.unique(column.unify_dictionaries()).to_pylist())

    def count(self, answers: NDArray[Any], *, imputed: int = 0) -> None:
        """Count the answers to a row group: `(n,)` numbers, or `(n, classes)` probabilities.

        :param imputed: rows that lack a feature.
        """
        import numpy as np

        self.rows += len(answers)
        self.imputed += imputed
        if answers.ndim == 1:
            self.total += float(answers.sum())
            self.squares += float(np.square(answers).sum())
            return
        labels = labels_of(answers, self.threshold)
        for index, count in enumerate(np.bincount(labels, minlength=answers.shape[1]).tolist()):
            self.counts[index] = self.counts.get(index, 0) + count

    def add(self, other: Tally) -> None:
        """Add what was seen of other rows, with the same model."""
        self.rows += other.rows
        self.imputed += other.imputed
        self.total += other.total
        self.squares += other.squares
        for index, count in other.counts.items():
            self.counts[index] = self.counts.get(index, 0) + count
        for name, values in other.values.items():
            self.values[name].seen += values.seen
            self.values[name].familiar |= values.familiar

    def refuse_strangers(self) -> None:
        """Refuse a column of which the model knows no value. Call it once all rows are counted.

        :raises DataError: names the column.
        """
        for name, values in self.values.items():
            if values.seen >= _STRANGERS and not values.familiar:
                raise DataError(
                    f"the model knows none of the values of column {name!r}",
                    got=f"{values.seen} values, none of them seen in training",
                    expected=f"such as {values.such_as}",
                    hint="Check whether the column was retyped or renamed at its source.",
                )

    def facts(self) -> dict[str, Any]:
        """Return what is worth telling of all rows."""
        facts: dict[str, Any] = {"rows": self.rows, "version": self.version, "nulls": 0, "imputed": self.imputed}
        if not self.classes:
            mean = self.total / self.rows
            return {**facts, "mean": mean, "sd": math.sqrt(max(self.squares / self.rows - mean * mean, 0.0))}
        if self.threshold is not None:
            facts["threshold"] = self.threshold
        most = sorted(self.counts, key=lambda index: -self.counts[index])[:_MAX_SHOWN]
        names = {index: text_within(str(self.classes[index]), _NAME_BYTES) for index in most}
        return {**facts, "shares": {names[index]: self.counts[index] / self.rows for index in most}}
