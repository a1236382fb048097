"""What the winner relies on: over all held-out rows, on the worst slice, and how its answers depend on each column.

On a bounded sample, the same for the same seed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.evaluation.explanation_report import (
    Attribution,
    ColumnImportance,
    Dependence,
    ExplanationReport,
    SliceAttribution,
)
from airflow_mlops_provider.evaluation.holdout import read_held_out, sample_frame
from airflow_mlops_provider.evaluation.probes import measure_importance
from airflow_mlops_provider.evaluation.shapley import NotExplainedError, shapley
from airflow_mlops_provider.evaluation.slices import MISSING
from airflow_mlops_provider.modeling.predictions import one_thread
from airflow_mlops_provider.spec.evaluation import Importance

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.holdout import Holdout
    from airflow_mlops_provider.evaluation.metrics import Predictions
    from airflow_mlops_provider.evaluation.report import WorstSlice
    from airflow_mlops_provider.spec.judgement import Explanation

_GRID = 20
_CATEGORIES = 12
#: Between these the grid lies, as scikit-learn has it: outside there are few rows to have learnt from.
_PERCENTILES = (0.05, 0.95)
#: A slice with fewer rows is too small a sample.
_MIN_SLICE_ROWS = 20


def explain(
    settings: Explanation | None,
    holdout: Holdout,
    predictions: Predictions,
    pipeline: Any,
    *,
    metric: str,
    worst: WorstSlice | None,
    seed: int,
) -> ExplanationReport | None:
    """Return what a fitted Pipeline relies on; None when no explanation is requested.

    :param metric: the metric by which permutation importance is measured.
    :param worst: the slice to explain besides the whole.
    :raises SpecError: shap is needed and not installed.
    """
    return (
        None if settings is None else _Explainer(settings, holdout, predictions, pipeline, metric, seed).explain(worst)
    )


class _Explainer:
    """One fitted Pipeline and the held-out rows."""

    def __init__(
        self, settings: Explanation, holdout: Holdout, predictions: Predictions, pipeline: Any, metric: str, seed: int
    ) -> None:
        self.settings, self.holdout, self.predictions, self.pipeline = settings, holdout, predictions, pipeline
        self.metric, self.seed = metric, seed

    def explain(self, worst: WorstSlice | None) -> ExplanationReport:
        """Return everything."""
        import numpy as np

        with one_thread():
            frame, sampled = self._sample(np.arange(self.predictions.rows))
            overall = self._attribution(frame, sampled)
            top = [one.column for one in overall.columns[: self.settings.top] if one.share > 0]
            dependence = [self._dependence(frame, column) for column in top]
            return ExplanationReport(
                overall=overall,
                worst_slice=None if worst is None else self._slice(worst),
                dependence=[one for one in dependence if one is not None],
            )

    def _sample(self, rows: NDArray[Any]) -> tuple[pd.DataFrame, Predictions]:
        """Return the features and predictions of a sample of these held-out rows, given by their positions there."""
        import numpy as np

        generator = np.random.default_rng(self.seed)
        chosen = generator.choice(rows, size=min(len(rows), self.settings.rows), replace=False)
        chosen.sort()
        return sample_frame(self.holdout, self.holdout.rows[chosen]), self.predictions.take(chosen)

    def _slice(self, worst: WorstSlice) -> SliceAttribution | None:
        named = read_held_out(self.holdout, [worst.column])[worst.column]
        values = named.astype(object).where(named.notna(), MISSING).astype(str).to_numpy()
        rows = (values == worst.value).nonzero()[0]
        if len(rows) < _MIN_SLICE_ROWS:
            return None
        found = self._attribution(*self._sample(rows))
        return SliceAttribution(column=worst.column, value=worst.value, **found.model_dump())

    def _attribution(self, frame: pd.DataFrame, sampled: Predictions) -> Attribution:
        if self.settings.method == "permutation":
            return self._permutation(frame, sampled, None)
        try:
            shuffled = frame.sample(frac=1, random_state=self.seed)  # the first rows are then any rows
            found = shapley(self.pipeline, shuffled)
        except NotExplainedError as error:
            return self._permutation(frame, sampled, str(error))
        return Attribution(method=found.method, rows=found.rows, columns=_ranked(found.values))

    def _permutation(self, frame: pd.DataFrame, sampled: Predictions, why: str | None) -> Attribution:
        found = measure_importance(self.pipeline, frame, sampled, self.metric, Importance(), self.seed)
        columns = _ranked({name: one.mean for name, one in found.columns.items()})
        return Attribution(method="permutation", rows=len(frame), columns=columns, why=found.why or why)

    def _dependence(self, frame: pd.DataFrame, column: str) -> Dependence | None:
        """Return the partial dependence on a column, None when it has a single value."""
        import numpy as np
        from sklearn.inspection import partial_dependence

        numeric = column in self.holdout.plan.columns.numeric
        grid = _numeric_grid(frame[column]) if numeric else _categories(frame[column])
        if len(grid) < 2:
            return None
        plain = frame if numeric else frame.assign(**{column: frame[column].astype(object)})
        found = partial_dependence(
            self.pipeline,
            plain,
            [list(frame.columns).index(column)],
            custom_values={list(frame.columns).index(column): np.asarray(grid, dtype=None if numeric else object)},
            kind="average",
            method="brute",
        )["average"]
        return Dependence(
            column=column,
            kind="numeric" if numeric else "categorical",
            grid=grid,
            answers={name: line.tolist() for name, line in zip(self._answers(), found, strict=True)},
        )

    def _answers(self) -> list[str]:
        if self.predictions.task == "regression":
            return ["prediction"]
        names = [str(label) for label in self.predictions.classes]
        return names[1:] if len(names) == 2 else names


def _ranked(importance: dict[str, float]) -> list[ColumnImportance]:
    """Return columns by importance, with their shares."""
    total = sum(max(0.0, value) for value in importance.values())
    found = [
        ColumnImportance(column=name, importance=value, share=max(0.0, value) / total if total else 0.0)
        for name, value in importance.items()
    ]
    return sorted(found, key=lambda one: (-one.importance, one.column))


def _numeric_grid(column: pd.Series[Any]) -> list[float]:
    import numpy as np

    present = column[np.isfinite(column)].to_numpy()
    values = np.unique(present)
    if len(values) <= _GRID:
        return [float(value) for value in values]
    low, high = np.quantile(present, _PERCENTILES)
    return [float(value) for value in np.unique(np.linspace(low, high, _GRID))]


def _categories(column: pd.Series[Any]) -> list[str]:
    counts = column.dropna().astype(str).value_counts()
    counts = counts[counts > 0]
    return sorted(counts.index, key=lambda name: (-int(counts[name]), name))[:_CATEGORIES]
