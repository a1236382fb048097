"""Windows of rows and predictions that are held against a champion's reference."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from airflow_mlops_provider.data.tables import TableInfo, write_table
from airflow_mlops_provider.job import Champion, StepRequest
from airflow_mlops_provider.monitoring.drift_report import ColumnDrift, DriftReport
from airflow_mlops_provider.results import StepResult
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.spec import Columns

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_mlops_provider.results import ArtifactRef
    from airflow_mlops_provider.storage import ArtifactStore

AS_OF = datetime(2013, 3, 1, tzinfo=UTC)
COLUMNS = {"target": "late", "numeric": ["x", "y"], "categorical": ["c"]}


def frame(rows: int = 2000, *, seed: int = 0, shift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "x": rng.normal(shift, 1, rows),
            "y": rng.normal(size=rows),
            "c": rng.choice(list("abcd"), rows, p=[0.4, 0.3, 0.2, 0.1]),
            "late": rng.integers(0, 2, rows),
            "p_0": (low := rng.beta(2, 5, rows)),
            "p_1": 1 - low,
            "prediction": rng.integers(0, 2, rows),
        }
    )


class Window:
    """A champion with its reference, and windows that are held against it."""

    def __init__(self, store: ArtifactStore) -> None:
        self.store = store
        self.columns: dict[str, Any] = COLUMNS
        self.task = "binary"
        self.importance: dict[str, float] | None = {"x": 0.3, "y": 0.1, "c": 0.1}
        self.section: dict[str, Any] = {}

    def table(self, data: pd.DataFrame) -> ArtifactRef:
        table = pa.Table.from_pandas(data, preserve_index=False).replace_schema_metadata({})
        for index, field in enumerate(table.schema):
            if field.type in (pa.string(), pa.large_string()):
                table = table.set_column(index, field.name, table[field.name].cast(pa.string()).dictionary_encode())
        batches = [table.slice(start, 500) for start in range(0, len(table), 500)]
        info = TableInfo(task=self.task, columns=Columns(**self.columns))
        return write_table(self.store, batches, table.schema, info)

    def champion(self, reference: pd.DataFrame) -> Champion:
        importance = (
            None
            if self.importance is None
            else {
                "metric": "roc_auc",
                "rows": 9,
                "repeats": 3,
                "columns": {name: {"mean": mean, "sd": 0.0} for name, mean in self.importance.items()},
            }
        )
        ref = self.table(reference)
        evaluation = self.store.add_json({"importance": importance})
        return Champion(seq=1, version=3, digest="d", model=ref, order_key=AS_OF, reference=ref, evaluation=evaluation)

    def run(
        self,
        current: pd.DataFrame,
        reference: pd.DataFrame | None = None,
        *,
        predictions: pd.DataFrame | None = None,
        champion: Champion | None = None,
        **section: Any,
    ) -> StepResult:
        message = current if predictions is None else predictions
        message = message[[name for name in ("p_0", "p_1", "prediction", "model_version") if name in message]]
        data = current.drop(columns=["p_0", "p_1", "prediction"], errors="ignore")
        champion = champion or self.champion(frame(seed=1) if reference is None else reference)
        request = StepRequest(
            step="drift",
            pipeline="churn",
            as_of=AS_OF,
            section={**self.section, **section},
            inputs={"dataset": [self.result("dataset", data)], "predictions": [self.result("predictions", message)]},
            champion=champion,
        )
        return run_step(request, self.store)

    def result(self, role: str, data: pd.DataFrame) -> StepResult:
        artifacts = {role: self.table(data)}
        return StepResult(step=role, pipeline="churn", key="0" * 64, as_of=AS_OF, artifacts=artifacts)

    def report(self, result: StepResult) -> DriftReport:
        return DriftReport.model_validate(self.store.read_json(result.artifacts["drift"]))

    def column(self, result: StepResult, name: str) -> ColumnDrift:
        [found] = [column for column in self.report(result).columns if column.column == name]
        return found

    def problems(self, result: StepResult) -> set[tuple[str | None, str]]:
        return {(problem.column, problem.kind) for problem in self.report(result).problems}


def spoilt(column: str, change: Callable[[Any], Any]) -> pd.DataFrame:
    data = frame()
    data[column] = change(data[column])
    return data
