"""A small dataset, and candidates that the real steps train on it and judge."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.data.tables import TableInfo, read_table, write_table
from airflow_mlops_provider.evaluation.report import EvaluationReport
from airflow_mlops_provider.job import Champion, StepRequest
from airflow_mlops_provider.modeling.predictions import predictions_frame, write_predictions
from airflow_mlops_provider.results import StepResult
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.spec import Columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.storage import ArtifactStore

AS_OF = datetime(2013, 6, 1, tzinfo=UTC)
LOGISTIC = {"estimator": "sklearn.linear_model.LogisticRegression"}
STUMP = {"estimator": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 1}, "encode": "ordinal"}
RIDGE = {"estimator": "sklearn.linear_model.Ridge"}
MEAN = {"estimator": "sklearn.dummy.DummyRegressor"}
QUICK = {
    "bootstrap": {"resamples": 40},
    "importance": {"repeats": 2, "rows": 100},
    "min_slice_rows": 20,
}


def rows_of(task: str, rows: int = 400, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    height = generator.normal(size=rows)
    frame = pd.DataFrame(
        {
            "key": np.arange(rows),
            "height": height,
            "noise": generator.normal(size=rows),
            "town": pd.Categorical(generator.choice(["Ams", "Ber", "Cph"], size=rows, p=[0.6, 0.35, 0.05])),
        }
    )
    signal = height + generator.normal(scale=0.7, size=rows)
    if task == "binary":
        frame["target"] = (signal > 0.4).astype("int64")
    elif task == "multiclass":
        frame["target"] = pd.cut(signal, [-9, -0.5, 0.5, 9], labels=["low", "mid", "top"]).astype(str)
    else:
        frame["target"] = 10 + 3 * signal
    return frame


@dataclass
class World:
    """A dataset, its split, and candidates trained on it by the real steps."""

    store: ArtifactStore
    task: str = "binary"
    dataset: list[StepResult] = field(default_factory=list)
    split: list[StepResult] = field(default_factory=list)
    allow_list: AllowList = AllowList()

    def load(
        self,
        frame: pd.DataFrame,
        split: str | dict[str, Any] = "random",
        roles: dict[str, Any] | None = None,
        **preparation: Any,
    ) -> World:
        self.ingest(frame, roles or {})
        requested = {"by": split, "holdout": 0.4, "folds": 4} if isinstance(split, str) else split
        section = {"split": requested, **preparation}
        self.split = [self.run("prepare", section, dataset=self.dataset)]
        return self

    def ingest(self, frame: pd.DataFrame, roles: dict[str, Any]) -> None:
        usual = {"target": "target", "numeric": ["height", "noise"], "categorical": ["town"], "keys": ["key"]}
        table = pa.Table.from_pandas(frame, preserve_index=False)
        info = TableInfo(task=self.task, columns=Columns(**usual | roles))
        ref = write_table(self.store, [table.slice(0, 250), table.slice(250)], table.schema, info)
        self.dataset = [self.result("ingest", {"dataset": ref})]

    def train(self, **candidates: dict[str, Any]) -> list[StepResult]:
        return [
            self.run("train", {"name": name, "candidate": candidate}, dataset=self.dataset, split=self.split)
            for name, candidate in candidates.items()
        ]

    def evaluate(
        self, models: list[StepResult], metrics: Sequence[Any], *, champion: Champion | None = None, **changes: Any
    ) -> StepResult:
        recompute = changes.pop("recompute", False)
        requested = changes.pop("candidates", [str(model.facts["candidate"]) for model in models])
        section = {"evaluation": QUICK | changes, "metrics": metrics, "candidates": requested}
        inputs = {"dataset": self.dataset, "split": self.split, "models": models}
        return self.run("evaluate", section, champion=champion, recompute=recompute, **inputs)

    def report(self, *args: Any, **kwargs: Any) -> EvaluationReport:
        return self.read(self.evaluate(*args, **kwargs))

    def read(self, result: StepResult) -> EvaluationReport:
        return EvaluationReport.model_validate(self.store.read_json(result.artifacts["evaluation"]))

    def run(
        self,
        step: str,
        section: dict[str, Any],
        champion: Champion | None = None,
        recompute: bool = False,
        **inputs: Any,
    ) -> StepResult:
        request = StepRequest(
            step=step,
            pipeline="towns",
            as_of=AS_OF,
            seed=3,
            section=section,
            inputs=inputs,
            champion=champion,
            recompute=recompute,
            allow_list=self.allow_list,
        )
        return run_step(request, self.store)

    def result(self, step: str, artifacts: dict[str, Any]) -> StepResult:
        key = hashlib.sha256(step.encode()).hexdigest()
        return StepResult(step=step, pipeline="towns", key=key, as_of=AS_OF, artifacts=artifacts)

    def held_out(self, model: StepResult) -> tuple[np.ndarray, np.ndarray]:
        """Return the truth and the stored scores of the held-out rows."""
        truth, scores, _ = self.held_out_rows(model)
        return truth, scores

    def held_out_rows(self, model: StepResult) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the truth and the stored scores of the held-out rows, and their positions in the dataset."""
        stored = predictions_frame(self.store, model.artifacts["predictions"])
        rows = stored["row"].to_numpy()
        return self.column("target")[rows], stored.drop(columns=["row", "fold"]).to_numpy(), rows

    def column(self, name: str) -> np.ndarray:
        """Return a column of every row."""
        return read_table(self.store, self.dataset[0].artifacts["dataset"], [name])[name].to_numpy()

    def saying(self, model: StepResult, scores: np.ndarray) -> StepResult:
        """Return the model's result with other stored predictions."""
        message = predictions_frame(self.store, model.artifacts["predictions"])
        ref = write_predictions(
            self.store, message["row"].to_numpy(np.int32), message["fold"].to_numpy(np.int8), np.asarray(scores, float)
        )
        return model.model_copy(update={"artifacts": {**model.artifacts, "predictions": ref}})


def champion_of(model: StepResult, **changes: Any) -> Champion:
    values: dict[str, Any] = {"seq": 1, "version": 7, "digest": "d", "model": model.artifacts["model"]}
    return Champion(**values | {"order_key": AS_OF, "metrics": {}} | changes)


METRICS = ["roc_auc", "log_loss", "brier"]
