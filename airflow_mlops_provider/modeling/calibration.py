"""What is settled on a validation part of the training rows, once a candidate is fitted on the others.

Its probabilities are calibrated (Platt 1999: sigmoid; Zadrozny & Elkan 2002: isotonic), then its decision threshold
is chosen, both on the same rows: a calibration of two classes keeps the order of the scores, and a threshold divides
nothing but that order. The holdout is never used. What comes out is one Pipeline like any other, `preprocess` →
`model`, with everything that was fitted inside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.data.tables import read_table
from airflow_mlops_provider.exceptions import DataError, ModelError, SpecError
from airflow_mlops_provider.modeling.splits import (
    assign_by_boundaries,
    assign_by_hash,
    microseconds,
    row_hashes,
    time_boundary,
    train_mask,
)
from airflow_mlops_provider.modeling.threshold import choose_threshold, with_threshold
from airflow_mlops_provider.spec.training import ThresholdRule

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from airflow_mlops_provider.modeling.splits import ClassLabel, SplitPlan
    from airflow_mlops_provider.results import ArtifactRef
    from airflow_mlops_provider.spec.training import Candidate
    from airflow_mlops_provider.storage import ArtifactStore

#: Rows of each class that a validation part has at least: with fewer, one row moves a recall by a tenth and more.
MIN_CLASS_ROWS = 10


def needs_validation(candidate: Candidate) -> bool:
    """Return whether something is settled on rows that the candidate is not fitted on."""
    return candidate.calibrate is not None or isinstance(candidate.threshold, ThresholdRule)


def check_task(candidate: Candidate, task: str) -> None:
    """Refuse what a task does not have.

    :raises SpecError: for a regression that is to be calibrated, or a threshold between other than two classes.
    """
    if candidate.calibrate is not None and task == "regression":
        raise SpecError("calibrate is for classifiers", got="task: regression", hint="Leave it out.")
    if candidate.threshold is not None and task != "binary":
        raise SpecError("a threshold is for binary tasks", got=f"task: {task}", hint="Leave it out.")


def fitted_and_validation_rows(
    candidate: Candidate,
    store: ArtifactStore,
    dataset: ArtifactRef,
    plan: SplitPlan,
    rows: NDArray[np.bool_],
    seed: int,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which of the rows that train a candidate is fitted on, and which it keeps for validation, if it needs any.

    Kept are the last ones by time where the holdout is the last part too, and then rows under the split's embargo are
    in neither part; else by a hash of their group or keys, so that a row stays on its side from day to day.

    :param rows: which rows of the dataset train, one bool a row.
    :raises DataError: when every row before the validation part is under embargo.
    """
    import numpy as np

    if not needs_validation(candidate):
        return rows, np.zeros(len(rows), bool)
    columns = plan.columns
    if plan.in_time and columns.timestamp is not None:
        moments = microseconds(read_table(store, dataset, [columns.timestamp])[columns.timestamp])[rows]
        boundary = time_boundary(moments, candidate.validation)
        fold, trains_from = assign_by_boundaries(moments, [boundary], plan.embargo)
        trains = train_mask(fold, trains_from, 1)
        if not trains.any():
            raise DataError(
                "no rows are left to fit on: the embargo covers all rows before the validation part",
                got=f"{int((fold == 0).sum())} rows, none more than {plan.embargo} before it",
                hint="Lower the candidate's validation share or preparation.split.embargo, or widen data.window.",
            )
    else:
        hashes = row_hashes(store, dataset, [plan.group] if plan.group else columns.identity)
        # With the seed of the split, those of the lowest numbers would be the holdout's.
        fold = assign_by_hash(hashes[rows], seed=seed + 1, holdout=candidate.validation)
        trains = fold == 0
    places = np.flatnonzero(rows)
    fitted, held_out = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    fitted[places[trains]], held_out[places[fold == 1]] = True, True
    return fitted, held_out


def settle(
    pipeline: Any,
    candidate: Candidate,
    frame: pd.DataFrame,
    target: NDArray[Any],
    classes: list[ClassLabel],
) -> Any:
    """Return a fitted Pipeline with calibrated probabilities and a decision threshold, as the candidate requires.

    :param frame: features of the validation rows; empty when none are needed.
    :param target: their classes.
    :raises ModelError: when a class has too few rows there, or no threshold meets the requirement.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator
    from sklearn.pipeline import Pipeline

    if not needs_validation(candidate) and candidate.threshold is None:
        return pipeline
    preprocess, model = pipeline.named_steps["preprocess"], pipeline.named_steps["model"]
    if needs_validation(candidate):
        _check_rows(target, classes)
    if candidate.calibrate is not None:
        calibrated = CalibratedClassifierCV(FrozenEstimator(model), method=candidate.calibrate)
        model = calibrated.fit(preprocess.transform(frame), target)
    if candidate.threshold is not None:
        model = with_threshold(model, _threshold(candidate.threshold, preprocess, model, frame, target), classes)
    return Pipeline([("preprocess", preprocess), ("model", model)])


def _threshold(
    rule: ThresholdRule | float, preprocess: Any, model: Any, frame: pd.DataFrame, target: NDArray[Any]
) -> float:
    if not isinstance(rule, ThresholdRule):
        return rule
    scores = model.predict_proba(preprocess.transform(frame))[:, 1]
    return choose_threshold(rule, target == model.classes_[1], scores)


def _check_rows(target: NDArray[Any], classes: list[ClassLabel]) -> None:
    counts = {label: int((target == label).sum()) for label in classes}
    if short := [label for label, count in counts.items() if count < MIN_CLASS_ROWS]:
        raise ModelError(
            f"the validation part of the training rows has {counts[short[0]]} rows of class {short[0]!r}",
            got=counts,
            expected=f"at least {MIN_CLASS_ROWS} of each class, to calibrate on or to choose a threshold from",
            hint="Raise the candidate's validation share, or widen data.window.",
        )
