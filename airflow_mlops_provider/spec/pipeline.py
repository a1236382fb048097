"""The pipeline file as one frozen model: one YAML file is one model's whole life.

`pipelines.py` reads the files; nothing here touches a disk or imports a heavy library.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import Field, model_validator

from airflow_mlops_provider.spec.frozen import DottedName, Frozen, Task
from airflow_mlops_provider.spec.gates import Gate
from airflow_mlops_provider.spec.metrics import DEFAULT_METRICS, check_metrics
from airflow_mlops_provider.spec.sections import Data, Evaluation, Preparation, Training, Validation


class Schedule(Frozen):
    """When training runs by itself, besides retrain requests. Each run covers one cron interval."""

    cron: str = "@daily"
    timezone: str = "UTC"
    start: datetime | None = None
    end: datetime | None = None
    catchup: bool = False


class Promotion(Frozen):
    """Where the champion lives."""

    model: str | None = Field(None, description="Registered model in MLflow; the pipeline's name when left out.")
    conn_id: str = Field("mlflow_default", description="Airflow connection of the MLflow server or database.")


class Notifier(Frozen):
    """An Airflow notifier and its arguments."""

    notifier: DottedName
    params: dict[str, Any] = Field(default_factory=dict)


class Notifications(Frozen):
    """Who is told."""

    on_failure: list[Notifier] = Field(default_factory=list)


class TaskSettings(Frozen):
    """Airflow's own settings of one step's task."""

    pool: str | None = None
    queue: str | None = None
    executor: str | None = None
    executor_config: dict[str, Any] | None = None
    retries: int | None = Field(None, ge=0)
    execution_timeout: timedelta | None = None


TaskName = Literal["ingest", "validate", "prepare", "train", "evaluate", "gate", "promote"]


class Pipeline(Frozen):
    """One model's whole life."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    task: Task
    description: str = ""
    owner: str = "airflow"
    tags: list[str] = Field(default_factory=list)
    seed: int = Field(0, ge=0, lt=2**32)
    schedule: Schedule | None = None
    data: Data
    validation: Validation = Validation()
    preparation: Preparation = Preparation()
    training: Training
    evaluation: Evaluation = Evaluation()
    gates: list[Gate] = Field(default_factory=list)
    promotion: Promotion = Promotion()
    notifications: Notifications = Notifications()
    tasks: dict[TaskName, TaskSettings] = Field(default_factory=dict)

    @property
    def model_name(self) -> str:
        """The registered model in MLflow."""
        return self.promotion.model or self.name

    @property
    def metrics(self) -> list[str]:
        """Metric names; the first decides."""
        return self.evaluation.metrics or list(DEFAULT_METRICS[self.task])

    @model_validator(mode="after")
    def _sections_agree(self) -> Pipeline:
        columns = self.data.columns
        check_metrics(self.task, self.metrics, "evaluation.metrics")
        gate_metrics = [metric for gate in self.gates if (metric := getattr(gate, "metric", None)) is not None]
        if missing := sorted(set(gate_metrics) - set(self.metrics)):
            raise ValueError(f"gates use {missing}, which evaluation.metrics does not list: {self.metrics}")
        if self.preparation.split.by == "time" and columns.timestamp is None:
            raise ValueError("a split by time needs data.columns.timestamp; else set preparation.split.by to random")
        if unknown := sorted(set(self.evaluation.slices) - set(columns.categorical)):
            raise ValueError(f"evaluation.slices names {unknown}, not among data.columns.categorical")
        labels = [gate.label for gate in self.gates]
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise ValueError(f"gates with the same name: {twice}; give each a name of its own")
        return self
