"""The reference of a model: a bounded sample of the data that it comes from, with its predictions for held-out rows.

Monitoring compares new rows and new predictions with it. A model's predictions for rows that it was trained on are no
measure for new ones: a forest knows its training rows by heart, and would seem to drift on the first new day. The
reference is kept with the model, so the champion's reference stays the champion's, whatever is trained later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.data.tables import TableInfo, write_table
from airflow_mlops_provider.evaluation.holdout import iter_tables_at
from airflow_mlops_provider.modeling.predictions import prediction_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.holdout import Holdout
    from airflow_mlops_provider.evaluation.metrics import Predictions
    from airflow_mlops_provider.results import ArtifactRef

#: Rows of the sample.
MAX_ROWS = 50_000
#: How the columns begin of what the model says that serves, where that is another than the one that was judged.
SERVING = "serving_"


def reference_rows(holdout: Holdout) -> NDArray[Any]:
    """Return the positions of the rows that a reference holds."""
    import numpy as np

    return evenly_spread(np.arange(len(holdout.fold)), MAX_ROWS)


def write_reference(
    holdout: Holdout, predictions: Predictions, serving: tuple[NDArray[Any], float | None] | None = None
) -> ArtifactRef:
    """Store features and target of a sample of the rows, trained on and held out, and predictions of the held-out ones.

    Columns: the features that the model uses, the target, the timestamp, then `prediction_columns`, null where a row
    was not held out. The rows lie evenly spread over the dataset's order, which is by time where there is one: equal
    models of equal data have equal references. A feature that bears the name of a prediction column gives way to it.

    :param predictions: the model's predictions for the held-out rows; under cross-validation those of each fold.
    :param serving: the serving model's predictions for the reference's rows, all of which it was fitted on, and its
        decision threshold. Their columns begin with `SERVING`.
    """
    import numpy as np
    import pyarrow as pa

    plan = holdout.plan
    timestamp = plan.columns.timestamp
    names = [*plan.columns.features, plan.columns.target, *([timestamp] if timestamp else [])]
    rows = reference_rows(holdout)
    table = pa.concat_tables(iter_tables_at(holdout.store, holdout.dataset, names, rows)).unify_dictionaries()
    values = np.full((len(holdout.fold), *predictions.scores.shape[1:]), np.nan)
    values[holdout.rows] = predictions.scores
    threshold = None
    if predictions.threshold is not None:
        threshold = np.full(len(holdout.fold), np.nan)
        threshold[holdout.rows] = predictions.threshold
        threshold = threshold[rows]
    answers = prediction_columns(values[rows], plan.classes or (), threshold)
    if serving is not None:
        of_serving = prediction_columns(serving[0], plan.classes or (), serving[1])
        answers |= {SERVING + name: column for name, column in of_serving.items() if SERVING + name not in names}
    table = table.drop_columns([name for name in answers if name in names])
    for name, column in answers.items():
        table = table.append_column(name, column)
    roles = {
        "timestamp": None if timestamp in answers else timestamp,
        "keys": [],
        "numeric": [name for name in plan.columns.numeric if name not in answers],
        "categorical": [name for name in plan.columns.categorical if name not in answers],
    }
    info = TableInfo(task=plan.task, columns=plan.columns.model_copy(update=roles))
    return write_table(holdout.store, [table], table.schema.remove_metadata(), info)


def evenly_spread(rows: NDArray[Any], limit: int) -> NDArray[Any]:
    """Return at most `limit` of the rows, evenly spread.

    >>> import numpy as np
    >>> evenly_spread(np.arange(10, 20), 4).tolist()
    [10, 12, 15, 17]
    """
    import numpy as np

    size = min(len(rows), limit)
    chosen: NDArray[Any] = rows[np.arange(size) * len(rows) // max(size, 1)]
    return chosen
