"""The reference of a model: a bounded sample of the rows that it was trained on, with what it says of them.

Monitoring compares new rows and new predictions with it. It is kept with the model, so the champion's reference stays
the champion's, whatever is trained later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.data.tables import TableInfo, write_table
from airflow_mlops_provider.evaluation.holdout import tables_of
from airflow_mlops_provider.modeling.predictions import feature_frame, one_thread, predict, prediction_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_mlops_provider.evaluation.holdout import Holdout
    from airflow_mlops_provider.results import ArtifactRef

#: Rows of the sample.
MAX_ROWS = 50_000


def write_reference(holdout: Holdout, pipeline: Any) -> ArtifactRef:
    """Store features and target of a sample of the training rows, and the model's predictions on them.

    Columns: the features that the model uses, the target, then `prediction_columns`. The rows lie evenly spread over
    the training rows in the dataset's order, which is by time where there is one: equal models of equal data have
    equal references. A feature that bears the name of a prediction column gives way to it.

    :param pipeline: the fitted model.
    """
    import pyarrow as pa

    plan = holdout.plan
    names = [*plan.columns.features, plan.columns.target]
    rows = evenly_spread(holdout.training_rows, MAX_ROWS)
    table = pa.concat_tables(tables_of(holdout.store, holdout.dataset, names, rows)).unify_dictionaries()
    with one_thread():
        values = predict(pipeline, feature_frame(table.to_pandas(), plan.columns), plan.task)
    said = prediction_columns(values, plan.classes or ())
    table = table.drop_columns([name for name in said if name in names])
    for name, column in said.items():
        table = table.append_column(name, column)
    roles = {
        "timestamp": None,
        "keys": [],
        "numeric": [name for name in plan.columns.numeric if name not in said],
        "categorical": [name for name in plan.columns.categorical if name not in said],
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
