"""A challenger that the real steps have made, and the task that asks about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG
from notified_model import MARCH, World

from airflow_mlops_provider import effects
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.operators.approval import ApproveModelOperator
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from airflow_mlops_provider.results import StepResult


def computed(store: ArtifactStore, step: str, section: dict[str, Any], **inputs: list[StepResult]) -> StepResult:
    return run_step(StepRequest(step=step, pipeline="churn", as_of=MARCH, section=section, inputs=inputs), store)


@dataclass
class QuestionWorld:
    """A challenger that was evaluated and published, and the task that asks about it."""

    world: World
    store: ArtifactStore
    evaluation: StepResult

    @classmethod
    def about(cls, world: World, folder: Path, estimator: str = "linear_model.LogisticRegression") -> QuestionWorld:
        """Train, evaluate and publish one."""
        file, store = folder / "customers.csv", ArtifactStore((folder / "artifacts").as_uri())
        rows = "\n".join(f"{18 + number % 60},{int(number % 60 + number % 7 > 30)}" for number in range(400))
        file.write_text(f"age,left\n{rows}\n")
        columns = {"target": "left", "numeric": ["age"]}
        data = computed(store, "ingest", {"task": "binary", "data": {"source": {"uri": str(file)}, "columns": columns}})
        made = {"dataset": [data]}
        made["split"] = [computed(store, "prepare", {"split": {"by": "random"}}, **made)]
        model = computed(store, "train", {"name": "one", "candidate": {"estimator": f"sklearn.{estimator}"}}, **made)
        evaluated = computed(
            store,
            "evaluate",
            {"metrics": ["log_loss"], "candidates": ["one"], "evaluation": {}},
            **effects.evaluation_inputs(store, [model]),
        )
        published = effects.publish(world.registry, store, effects.compared(evaluated, None), model="churn", tags={})
        return cls(world, store, published)

    def gate(self, *gates: dict[str, Any]) -> StepResult:
        return computed(
            self.store, "gate", {"gates": list(gates), "metrics": ["log_loss"]}, evaluation=[self.evaluation]
        )

    def ask(self, *notifiers: dict[str, Any], gates: Sequence[dict[str, Any]] = ({"kind": "champion"},)) -> Any:
        """Run the task."""
        with DAG("churn_training", schedule=None):
            task = ApproveModelOperator(
                task_id="approve",
                pipeline="churn",
                evaluation=self.evaluation.xcom(),
                gate=self.gate(*gates).xcom(),
                response_timeout=timedelta(hours=12),
                approvers=["anna", "ben"],
                event_notifiers=list(notifiers),
            )
        return self.world.worker.run(task)
