"""A champion's predictions for rows that it was not fitted on, when it and its challenger were both cross-validated.

A model that was fitted on all rows can be judged on none of them. But the predictions of each of its folds for the rows
that were held out from that fold lie in the champion's reference, beside the rows' features and target. Rows of both
datasets that are equal in all of these are the same rows, so the two procedures are compared on them, paired.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_mlops_provider.data.tables import read_table, table_info, table_schema
from airflow_mlops_provider.modeling.predictions import probability_columns
from airflow_mlops_provider.modeling.splits import row_hashes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.holdout import Holdout
    from airflow_mlops_provider.evaluation.report import EvaluationReport
    from airflow_mlops_provider.job import Champion
    from airflow_mlops_provider.results import ArtifactRef

#: Of the rows that may be the same, at least this share has to be: fewer are another population.
_LEAST_COMMON = 0.5
#: Fewer rows say nothing.
_FEWEST = 30


class OutOfFold(NamedTuple):
    """The predictions of a champion's folds.

    :param rows: which of the held-out rows are known to it.
    :param scores: of these, as `Predictions` has them.
    :param threshold: of these, one that gives each row the class that it was given; None where there is none to choose.
    """

    rows: NDArray[Any]
    scores: NDArray[Any]
    threshold: NDArray[Any] | None


def out_of_fold(champion: Champion, then: EvaluationReport, holdout: Holdout) -> OutOfFold | None:
    """Return the predictions of the champion's folds for rows that are held out now; None where too few are the same.

    :param then: the champion's own evaluation.
    """
    import numpy as np

    reference = champion.reference
    both = holdout.cross_validated and then.split is not None and then.split.by == "cross_validation"
    if not both or reference is None or then.classes != list(holdout.plan.classes or ()):
        return None
    present = table_schema(holdout.store, reference).names
    answers = ["prediction"] if holdout.plan.task == "regression" else probability_columns(len(then.classes))
    if not {*answers, "prediction"} <= {*present}:
        return None
    names = _identity(holdout, reference, {*answers, "prediction"})
    if names is None:
        return None
    table = read_table(holdout.store, reference, list(dict.fromkeys([*answers, "prediction"])))
    theirs, known = _once(row_hashes(holdout.store, reference, names), table.notna().all(axis=1).to_numpy())
    ours, rows = _once(row_hashes(holdout.store, holdout.dataset, names)[holdout.rows])
    found, there, here = np.intersect1d(theirs, ours, assume_unique=True, return_indices=True)
    if len(found) < max(_FEWEST, _LEAST_COMMON * min(len(theirs), len(ours))):
        return None
    order = np.argsort(rows[here])
    common = np.zeros(len(holdout.rows), bool)
    common[rows[here]] = True
    table = table.iloc[known[there][order]]
    values = table[answers].to_numpy(np.float64)
    scores = values.reshape(-1) if holdout.plan.task == "regression" else values
    return OutOfFold(common, scores, _thresholds(table["prediction"], then, holdout))


def _once(hashes: NDArray[Any], usable: NDArray[Any] | None = None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the hashes that occur once, ascending, and where they do: of equal rows nobody knows which is which."""
    import numpy as np

    values, first, counts = np.unique(hashes, return_index=True, return_counts=True)
    alone = counts == 1 if usable is None else (counts == 1) & usable[first]
    return values[alone], first[alone]


def _identity(holdout: Holdout, reference: ArtifactRef, answers: set[str]) -> list[str] | None:
    """Return the columns by which a row of one dataset is known in the other; None when a feature is in one only.

    By a part of its features a row would be another one, and by its target it would get a prediction that knows it.
    """
    there, here = table_info(holdout.store, reference).columns, holdout.plan.columns
    if not {*there.features} <= {*here.features} or not there.features:
        return None
    moments = [here.timestamp] if here.timestamp is not None and here.timestamp == there.timestamp else []
    return [name for name in [*there.features, here.target, *moments] if name not in answers]


def _thresholds(prediction: Any, then: EvaluationReport, holdout: Holdout) -> NDArray[Any] | None:
    """Return a threshold for each row that puts it on its side: folds chose their own, and only its class is kept."""
    import numpy as np

    if then.challenger.threshold is None:
        return None
    _, second = holdout.plan.classes or ("", "")
    return np.where((prediction == second).to_numpy(bool), -1.0, 2.0)
