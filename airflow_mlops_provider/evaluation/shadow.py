"""How far two models disagree on the same rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.data.tables import iter_tables, table_schema
from airflow_mlops_provider.modeling.predictions import probability_columns

if TYPE_CHECKING:
    from airflow_mlops_provider.results import ArtifactRef
    from airflow_mlops_provider.storage import ArtifactStore


def compare_predictions(store: ArtifactStore, champion: ArtifactRef, shadow: ArtifactRef) -> dict[str, Any]:
    """Compare two scorings of one dataset, a row group at a time.

    :return: `mean_difference`: of two numbers the mean absolute difference; of two rows of probabilities the mean
        total variation distance, which for two classes is the difference of either's probability.
        `different_share`: share of rows with another class. Or `why` there is no comparison.
    """
    import numpy as np

    classes = [
        json.loads((table_schema(store, ref).metadata or {}).get(b"classes", b"[]")) for ref in (champion, shadow)
    ]
    if classes[0] != classes[1]:
        return {"why": "the two models have different classes"}
    columns = probability_columns(len(classes[0])) or ["prediction"]
    labels = ["prediction"] if classes[0] else []
    rows, distance, different = 0, 0.0, 0
    wanted = [*columns, *labels]
    for pair in zip(iter_tables(store, champion, wanted), iter_tables(store, shadow, wanted), strict=True):
        mine, theirs = (np.column_stack([table[name].to_numpy() for name in columns]) for table in pair)
        rows += len(mine)
        distance += float(np.abs(mine - theirs).sum())
        for name in labels:  # as they were predicted, each by its own model's threshold
            predictions = [table[name].to_pandas().astype(object).to_numpy() for table in pair]
            different += int((predictions[0] != predictions[1]).sum())
    if not classes[0]:
        return {"rows": rows, "mean_difference": distance / rows}
    return {"rows": rows, "mean_difference": distance / 2 / rows, "different_share": different / rows}
