"""Scoring as an effect: real models, a real store, a real MLflow database."""

from __future__ import annotations

import csv
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider import effects
from airflow_mlops_provider.data.tables import read_table
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.modeling.splits import read_split
from airflow_mlops_provider.registry import PromotionRequest, Registry
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.storage import ArtifactStore, local_path

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mlops_provider.job import Champion
    from airflow_mlops_provider.results import StepResult

AS_OF = datetime(2013, 3, 1, tzinfo=UTC)
MODEL = "churn"
CANDIDATES = {
    "binary": ("sklearn.linear_model.LogisticRegression", "sklearn.naive_bayes.GaussianNB"),
    "regression": ("sklearn.linear_model.Ridge", "sklearn.dummy.DummyRegressor"),
}


@dataclass
class World:
    """Champions trained by the real steps, and customers to score."""

    folder: Path
    registry: Registry
    task: str = "binary"
    as_of: datetime = AS_OF
    feature: str = "age"
    results: list[StepResult] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = ArtifactStore(str(self.folder / "artifacts"))
        chance = random.Random(7)
        for name in ("old", "new"):
            with (self.folder / f"{name}.csv").open("w", newline="") as text:
                rows = csv.writer(text)
                rows.writerow(["customer", "age", "left"])
                for customer in range(300):
                    age = chance.randint(18, 80)
                    left = age + chance.gauss(0, 15)
                    rows.writerow([f"c{customer}", age, int(left > 50) if self.task == "binary" else left])

    def step(
        self, name: str, section: dict[str, Any], champion: Champion | None = None, **inputs: list[StepResult]
    ) -> StepResult:
        request = StepRequest(
            step=name, pipeline=MODEL, as_of=self.as_of, section=section, inputs=inputs, champion=champion
        )
        return run_step(request, self.store)

    def ingest(self, name: str, purpose: str = "scoring") -> StepResult:
        columns = {"target": "left", "numeric": [self.feature], "keys": ["customer"]}
        data = {"source": {"uri": str(self.folder / f"{name}.csv")}, "columns": columns}
        return self.step("ingest", {"task": self.task, "data": data, "purpose": purpose})

    def register(self, candidate: int, *, promote: bool = True) -> StepResult:
        """Train, evaluate and register one of the candidates; make it champion."""
        dataset = [self.ingest("old", "training")]
        split = [self.step("prepare", {"split": {"by": "random", "holdout": 0.5}}, dataset=dataset)]
        section = {"name": f"c{candidate}", "candidate": {"estimator": CANDIDATES[self.task][candidate]}}
        model = self.step("train", section, dataset=dataset, split=split)
        inputs = effects.evaluation_inputs(self.store, [model])
        metric = "log_loss" if self.task == "binary" else "rmse"
        evaluation = self.step("evaluate", {"metrics": [metric], "candidates": [f"c{candidate}"]}, **inputs)
        evaluation = effects.publish(self.registry, self.store, evaluation, model=MODEL, tags={})
        if promote:
            self._promote(evaluation)
        self.results.append(evaluation)
        return evaluation

    def _promote(self, evaluation: StepResult) -> None:
        facts: Any = evaluation.facts
        compared = self.registry.champion_to_beat(MODEL, as_of=self.as_of, lineage=facts["lineage"])
        outcome = self.registry.promote(
            PromotionRequest(
                model=MODEL,
                idem=f"promote {facts['version']}",
                version=facts["version"],
                digest=self.store.read_json(evaluation.artifacts["model_info"])["digest"],
                sha256=evaluation.artifacts["model"].sha256,
                artifact=evaluation.artifacts["model"],
                lineage=facts["lineage"],
                order_key=self.as_of,
                compared_with=None if compared is None else compared.seq,
                reference=evaluation.artifacts["reference"],
                evaluation=evaluation.artifacts["evaluation"],
            )
        )
        assert outcome.status == "promoted"

    def mean_in_training(self) -> float:
        dataset = [self.ingest("old", "training")]
        split = self.step("prepare", {"split": {"by": "random", "holdout": 0.5}}, dataset=dataset)
        trains = read_split(self.store, split.artifacts["split"], split.artifacts["assignment"]).train_mask(1)
        return float(read_table(self.store, dataset[0].artifacts["dataset"])["left"][trains].mean())

    def score(self, name: str = "new", **settings: Any) -> StepResult:
        dataset = [self.ingest(name)]
        scored = effects.score(
            self.registry,
            self.store,
            model=MODEL,
            score_with=lambda section, champion: self.step("score", section, champion, dataset=dataset),
            **settings,
        )
        assert scored is not None
        return scored

    def damage(self, evaluation: StepResult, artifact: str = "model", *, everywhere: bool = True) -> None:
        """Change an artifact; with everywhere, MLflow's copy of a model as well."""
        file = self.store.fetch(evaluation.artifacts[artifact])
        if artifact == "model" and everywhere:
            for copy in (self.folder / "mlflow").rglob("model.skops"):
                if copy.read_bytes() == file.read_bytes():
                    copy.write_bytes(b"?")
        file.write_bytes(b"?" * file.stat().st_size)
        self.store = ArtifactStore(self.store.root)  # as in another process, which has checked no file yet

    def remove_everywhere(self, evaluation: StepResult) -> None:
        file = self.store.fetch(evaluation.artifacts["model"])
        for copy in (self.folder / "mlflow").rglob("model.skops"):
            if copy.read_bytes() == file.read_bytes():
                copy.unlink()
        file.unlink()
        self.store = ArtifactStore(self.store.root)

    def partition(self, scored: StepResult) -> Path:
        return local_path(str(scored.facts["partition"]))
