"""Times the winner on rows of its dataset. A machine's measure is no content: each measurement has a key of its own."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.data.tables import table_info, table_rows
from airflow_mlops_provider.evaluation.holdout import iter_tables_at
from airflow_mlops_provider.evaluation.latency import measure_latency
from airflow_mlops_provider.evaluation.reference import evenly_spread
from airflow_mlops_provider.job import Outcome
from airflow_mlops_provider.modeling.model_file import load_model
from airflow_mlops_provider.modeling.predictions import feature_frame, fitted_columns
from airflow_mlops_provider.spec import Frozen

if TYPE_CHECKING:
    from airflow_mlops_provider.job import Job

#: Raised when it is measured or stored otherwise than before.
FORMAT = 1
LIBRARIES = ("numpy", "pandas", "sklearn")

_ROWS = 2000


class Section(Frozen):
    """How it is timed.

    :param calls: one-row predictions in each round.
    :param measured_at: wall time: part of the key, so that no measurement is taken for another.
    """

    calls: int
    measured_at: datetime


def run(section: Section, job: Job) -> Outcome:
    """Time the model of an evaluation.

    :raises MLOpsError: when an input is missing.
    :raises DataError: when a column that the model needs is gone.
    :raises ModelError: when the model refuses the rows.
    """
    import numpy as np
    import pyarrow as pa

    dataset, model = job.artifact("dataset", "dataset"), job.artifact("evaluation", "model")
    info, pipeline = table_info(job.store, dataset), load_model(job.store, model, job.allow_list)
    columns = fitted_columns(pipeline, info.columns)
    rows = evenly_spread(np.arange(table_rows(job.store, dataset)), _ROWS)
    table = pa.concat_tables(iter_tables_at(job.store, dataset, columns.features, rows)).unify_dictionaries()
    found = measure_latency(pipeline, feature_frame(table.to_pandas(), columns), info.task, section.calls)
    found = found.model_copy(update={"model": model.sha256})
    facts: dict[str, Any] = {"p95_ms": found.p95_ms, "wall_p95_ms": found.wall_p95_ms}
    return Outcome({"latency": job.store.add_document(found)}, facts)
