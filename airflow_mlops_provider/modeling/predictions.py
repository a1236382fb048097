"""How a fitted model predicts, and how its predictions are stored.

Evaluation and scoring share this, so that a model sees the same frame wherever it predicts: numeric features as
float64, categories as text with NaN for what is missing.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.data.tables import read_table
from airflow_mlops_provider.exceptions import DataError, MLOpsError, ModelError
from airflow_mlops_provider.modeling.threshold import labels_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    from airflow_mlops_provider.modeling.splits import ClassLabel
    from airflow_mlops_provider.results import ArtifactRef
    from airflow_mlops_provider.spec.data import Columns
    from airflow_mlops_provider.storage import ArtifactStore


def feature_frame(frame: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """Return the features as a model takes them: numbers as float64, categories as text.

    Text even where pandas has categories: their codes are those of the rows at hand, and another window has others.

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

    texts = column.astype(object)
    if isinstance(column.dtype, pd.CategoricalDtype):
        return texts  # what is missing is NaN already
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
    except (MLOpsError, MemoryError):
        raise
    except Exception as error:  # a plugin's code may raise anything
        got = f"{type(error).__name__}: {error}"
        raise ModelError("the model cannot predict these rows", got=got, expected=_known(pipeline)) from error
    values = np.asarray(answers, dtype=np.float64)
    return values.reshape(-1) if task == "regression" else values


@contextmanager
def one_thread() -> Iterator[None]:
    """Let models predict on one thread: the same answers in each run, and no pools that wait for each other.

    In threads, a forest adds its trees up in any order, and the last digit differs from run to run. The OpenMP threads
    of a boosting, waiting for each other on a busy machine, took 100 times as long. Load the model first: the limit
    holds for the libraries that are loaded.
    """
    from joblib import parallel_config
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), parallel_config(backend="sequential"):
        yield


def fitted_columns(pipeline: Any, data: Columns) -> Columns:
    """Return the columns that a model was fitted on, in the roles that they have in it.

    :param data: the roles of the columns that are at hand.
    :raises DataError: when one is not there, or has another role: an encoder that meets numbers instead of its
        categories would know none of them, and say nothing.
    """
    present = {**dict.fromkeys(data.numeric, "numeric"), **dict.fromkeys(data.categorical, "categorical")}
    fitted: dict[str, list[str]] = {"numeric": [], "categorical": []}
    for role, _, names in pipeline.named_steps["preprocess"].transformers_:
        if role in fitted:
            fitted[role] = [str(name) for name in names]
    for role, names in fitted.items():
        for name in names:
            if present.get(name) != role:
                raise DataError(
                    f"the model needs feature {name!r} as {role}",
                    got=f"{name!r} as {present[name]}" if name in present else f"features {sorted(present)}",
                )
    return data.model_copy(update=fitted)


def _known(pipeline: Any) -> list[str] | None:
    names = getattr(pipeline, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def write_predictions(
    store: ArtifactStore,
    rows: NDArray[np.int32],
    fold: NDArray[np.int8],
    values: NDArray[np.float64],
    thresholds: NDArray[np.float64] | None = None,
) -> ArtifactRef:
    """Store a candidate's predictions for the held-out rows.

    :param rows: positions in the dataset.
    :param values: `(n,)` numbers, or `(n, classes)` probabilities.
    :param thresholds: for each row the decision threshold of the model that predicted it; None without.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {"row": pa.array(rows, pa.int32()), "fold": pa.array(fold, pa.int8())}
    if values.ndim == 1:
        columns["prediction"] = pa.array(values)
    else:
        columns |= {name: pa.array(values[:, index]) for index, name in enumerate(probability_columns(values.shape[1]))}
    if thresholds is not None:
        columns["threshold"] = pa.array(thresholds)
    with store.workspace() as folder:
        file = folder / "predictions.parquet"
        pq.write_table(pa.table(columns), file, compression="zstd")
        return store.add(file, ".parquet")


def prediction_columns(
    values: NDArray[np.float64],
    classes: Sequence[ClassLabel],
    threshold: NDArray[np.float64] | float | None = None,
) -> dict[str, pa.Array]:
    """Return predictions as columns: `prediction`, before it for classes `p_0`, `p_1`, … in their order.

    The predicted class is the most probable one, or that on its side of the threshold. What is not a number is null.

    :param values: `(n,)` numbers, or `(n, classes)` probabilities.
    :param threshold: the model's decision threshold.
    """
    import numpy as np
    import pyarrow as pa

    if values.ndim == 1:
        return {"prediction": pa.array(values, from_pandas=True)}
    columns = {
        name: pa.array(values[:, index], from_pandas=True)
        for index, name in enumerate(probability_columns(values.shape[1]))
    }
    most = pa.array(labels_of(values, threshold), pa.int32(), mask=np.isnan(values).any(axis=1))
    labels = pa.array(list(classes))
    if pa.types.is_string(labels.type):
        return {**columns, "prediction": pa.DictionaryArray.from_arrays(most, labels)}
    return {**columns, "prediction": labels.take(most)}


def probability_columns(classes: int) -> list[str]:
    """Return the names of the probability columns: `p_<index in plan.classes>`.

    >>> probability_columns(2)
    ['p_0', 'p_1']
    """
    return [f"p_{index}" for index in range(classes)]


def predictions_frame(store: ArtifactStore, ref: ArtifactRef, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return stored predictions by `row`: `row`, `fold`, `prediction` or `p_0`, `p_1`, …, and any `threshold`."""
    import pyarrow.parquet as pq

    table = pq.read_table(store.fetch(ref), columns=None if columns is None else list(columns), memory_map=False)
    frame: pd.DataFrame = table.to_pandas()
    return frame
