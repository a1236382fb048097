"""Candidates of a churn pipeline, trained by real steps on a real store and published to a real MLflow database."""

from __future__ import annotations

import csv
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider import effects
from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.registry import Registry
from airflow_mlops_provider.runner import run_step

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_mlops_provider.effects import PromotionResult
    from airflow_mlops_provider.results import StepResult
    from airflow_mlops_provider.storage import ArtifactStore

CHURN = "churn"
BETTER = {"kind": "champion"}
CANDIDATES = {
    "good": {"estimator": "sklearn.linear_model.LogisticRegression"},
    "poor": {"estimator": "sklearn.dummy.DummyClassifier"},
    "calibrated": {
        "estimator": "sklearn.calibration.CalibratedClassifierCV",
        "params": {"estimator": {"estimator": "sklearn.linear_model.LogisticRegression"}, "cv": 2},
    },
}


@dataclass
class World:
    """Real steps on a real store, published to a real MLflow database."""

    store: ArtifactStore
    registry: Registry
    customers: Path
    timestamp: str | None = None
    allow_list: AllowList = field(default_factory=AllowList)

    def step(self, name: str, section: dict[str, Any], **inputs: list[StepResult]) -> StepResult:
        as_of = datetime(2013, 3, 1, tzinfo=UTC)
        request = StepRequest(
            step=name, pipeline=CHURN, as_of=as_of, section=section, inputs=inputs, allow_list=self.allow_list
        )
        return run_step(request, self.store)

    def trained(self, candidate: str, **preparation: Any) -> StepResult:
        columns = {"target": "left", "numeric": ["age"], "keys": ["customer"], "timestamp": self.timestamp}
        data = {"source": {"uri": str(self.customers)}, "columns": columns}
        dataset = [self.step("ingest", {"task": "binary", "data": data})]
        split = [self.step("prepare", {"split": {"by": "random", "holdout": 0.5}, **preparation}, dataset=dataset)]
        section = {"name": candidate, "candidate": CANDIDATES[candidate]}
        return self.step("train", section, dataset=dataset, split=split)

    def published(self, model: StepResult, metrics: tuple[str, ...] = ("log_loss",), **evaluation: Any) -> StepResult:
        """Evaluate and publish as if there were no champion yet."""
        return effects.publish(
            self.registry, self.store, self.evaluated(model, metrics, **evaluation), model=CHURN, tags={}
        )

    def evaluated(self, model: StepResult, metrics: tuple[str, ...] = ("log_loss",), **evaluation: Any) -> StepResult:
        inputs = effects.evaluation_inputs(self.store, [model])
        section = {"metrics": list(metrics), "candidates": [model.facts["candidate"]], "evaluation": evaluation}
        return effects.compared(self.step("evaluate", section, **inputs), None)

    def refit(self, evaluation: StepResult, gate: StepResult, refit: str = "all") -> StepResult:
        section, inputs = effects.refit_work(self.store, evaluation, gate, refit=refit)
        return self.step("refit", section, **inputs)

    def refitted(self, model: StepResult, *gates: dict[str, Any], refit: str = "all") -> tuple[StepResult, StepResult]:
        """Return what is published of a model that its gates let pass, fitted anew, and what the gates said."""
        evaluation = self.evaluated(model)
        gate = self.gate(evaluation, *gates)
        ready = effects.with_refit(evaluation, self.refit(evaluation, gate, refit))
        return effects.publish(self.registry, self.store, ready, model=CHURN, tags={}, gate=gate), gate

    def gate(self, evaluation: StepResult, *gates: dict[str, Any]) -> StepResult:
        return self.step("gate", {"gates": list(gates)}, evaluation=[evaluation])

    def promote(self, evaluation: StepResult, gate: StepResult, approval: StepResult | None = None) -> PromotionResult:
        caller = ("churn_training", str(evaluation.facts["version"]), "promote", "-1")
        return effects.promote(
            self.registry, self.store, evaluation, gate,
            model=CHURN, caller=caller, approval=approval, allow_list=self.allow_list,
        )  # fmt: skip

    def question(self, evaluation: StepResult, gate: StepResult) -> Any:
        return effects.question(self.registry, self.store, evaluation, gate, model=CHURN, caller=("by", "hand"))

    def answer(self, evaluation: StepResult, reply: Any, **who: str) -> StepResult:
        return effects.answer(self.registry, evaluation, model=CHURN, caller=("by", "hand"), reply=reply, **who)

    def make_champion(self, candidate: str, **preparation: Any) -> None:
        """Make a candidate champion while another is between its gates and its promotion."""
        evaluation = self.published(self.trained(candidate, **preparation))
        assert not self.promote(evaluation, self.gate(evaluation)).skipped


def write_customers(folder: Path) -> Path:
    """Write 400 customers, who leave the sooner the older they are."""
    chance = random.Random(7)
    file = folder / "customers.csv"
    with file.open("w", newline="") as text:
        rows = csv.writer(text)
        rows.writerow(["customer", "age", "left"])
        for customer in range(400):
            age = chance.randint(18, 80)
            rows.writerow([f"c{customer}", age, int(age + chance.gauss(0, 15) > 50)])
    return file


def churn_world(store: ArtifactStore, mlflow_uri: str, folder: Path) -> World:
    """Return the world of 400 customers."""
    return World(store, Registry.connect(mlflow_uri), write_customers(folder))
