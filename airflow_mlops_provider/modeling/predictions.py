"""How a fitted model is asked, and how its answers for the held-out rows are stored.

Evaluation and scoring share this, so that a model sees the same frame wherever it is asked: numeric features as
float64, categories as text with NaN for what is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.data.tables import read_table
from airflow_mlops_provider.exceptions import DataError, ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from airflow_mlops_provider.results import ArtifactRef
    from airflow_mlops_provider.spec.sections import Columns
    from airflow_mlops_provider.storage import ArtifactStore


def feature_frame(frame: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """Return the features as a model takes them: numbers as float64, categories as text or categories.

    >>> import pandas as pd
    >>> from airflow_mlops_provider.spec import Columns
    >>> raw = pd.DataFrame({"late": [0, 1], "origin": ["JFK", None], "distance": [10, 20]})
    >>> feature_frame(raw, Columns(target="late", numeric=["distance"], categorical=["origin"])).values.tolist()
    [[10.0, 'JFK'], [20.0, nan]]

    :raises DataError: names the column that is missing, or is not numeric.
    """
    import pandas as pd

    if missing := [name for name in columns.features if name not in frame.columns]:
        raise DataError(f"feature {missing[0]!r} is missing", got=list(frame.columns), expected=columns.features)
    data: dict[str, Any] = {name: _numbers(frame[name]) for name in columns.numeric}
    data |= {name: _categories(frame[name]) for name in columns.categorical}
    return pd.DataFrame(data, index=frame.index, copy=False)


def read_features(store: ArtifactStore, table: ArtifactRef, columns: Columns) -> pd.DataFrame:
    """Return the features of a stored table as `feature_frame` gives them.

    Read a column at a time, so that memory holds the result and one raw column, not the raw table.
    """
    import pandas as pd

    data = {}
    for name in columns.features:
        column = read_table(store, table, [name])[name]
        data[name] = pd.Series(_numbers(column)) if name in columns.numeric else _categories(column)
    return pd.DataFrame(data, copy=False)


def _numbers(column: pd.Series[Any]) -> NDArray[np.float64]:
    import numpy as np

    try:
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"feature {column.name!r} is not numeric",
            got=f"{column.dtype}: {error}",
            hint="List it under data.columns.categorical, or make it a number in the reader.",
        ) from error


def _categories(column: pd.Series[Any]) -> pd.Series[Any]:
    import numpy as np
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        return column
    texts = column.astype(object)
    return texts.where(texts.notna(), np.nan)


def predict(pipeline: Any, frame: pd.DataFrame, task: str) -> NDArray[np.float64]:
    """Return one row of class probabilities for each row, in the order of `pipeline.classes_`; or one number each.

    :param pipeline: a fitted scikit-learn Pipeline.
    :param frame: the features, as `feature_frame` gives them.
    :raises ModelError: when the model refuses the frame.
    """
    import numpy as np

    try:
        answers = pipeline.predict(frame) if task == "regression" else pipeline.predict_proba(frame)
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelError("the model cannot predict these rows", got=str(error), expected=_known(pipeline)) from error
    values = np.asarray(answers, dtype=np.float64)
    return values.reshape(-1) if task == "regression" else values


def _known(pipeline: Any) -> list[str] | None:
    names = getattr(pipeline, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def write_predictions(
    store: ArtifactStore, rows: NDArray[np.int32], fold: NDArray[np.int8], values: NDArray[np.float64]
) -> ArtifactRef:
    """Store what a candidate said of the held-out rows.

    :param rows: positions in the dataset.
    :param values: `(n,)` numbers, or `(n, classes)` probabilities.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {"row": pa.array(rows, pa.int32()), "fold": pa.array(fold, pa.int8())}
    if values.ndim == 1:
        columns["prediction"] = pa.array(values)
    else:
        columns |= {name: pa.array(values[:, index]) for index, name in enumerate(probability_columns(values.shape[1]))}
    with store.workspace() as folder:
        file = folder / "predictions.parquet"
        pq.write_table(pa.table(columns), file, compression="zstd")
        return store.add(file, ".parquet")


def probability_columns(classes: int) -> list[str]:
    """Return the names of the probability columns: `p_<index in plan.classes>`.

    >>> probability_columns(2)
    ['p_0', 'p_1']
    """
    return [f"p_{index}" for index in range(classes)]


def predictions_frame(store: ArtifactStore, ref: ArtifactRef, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return stored predictions: `row`, `fold`, then `prediction` or `p_0`, `p_1`, …; sorted by `row`."""
    import pyarrow.parquet as pq

    table = pq.read_table(store.fetch(ref), columns=None if columns is None else list(columns), memory_map=False)
    frame: pd.DataFrame = table.to_pandas()
    return frame
