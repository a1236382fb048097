"""The pipeline file as one frozen model: one YAML file is one model's whole life.

`pipelines.py` reads the files; nothing here touches a disk or imports a heavy library.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from airflow_mlops_provider.spec.card import Card
from airflow_mlops_provider.spec.frozen import PIPELINE_NAME, Frozen, ModelName, Moment, Span, Task
from airflow_mlops_provider.spec.gates import ChampionGate, Gate, SliceGate
from airflow_mlops_provider.spec.judgement import check_judgement
from airflow_mlops_provider.spec.metrics import DEFAULT_METRICS, check_metrics
from airflow_mlops_provider.spec.notifications import Notifications
from airflow_mlops_provider.spec.operations import Monitoring, Scoring
from airflow_mlops_provider.spec.preparation import Preparation, split_problem
from airflow_mlops_provider.spec.runtime import COMPUTING, InProcess, Runtime, check_runtimes
from airflow_mlops_provider.spec.sections import Candidate, Data, Evaluation, Training, with_metric
from airflow_mlops_provider.spec.validation import Validation


class Schedule(Frozen):
    """When training runs by itself, besides retrain requests. Each run covers one cron interval."""

    cron: str = Field("@daily", max_length=150, description="Cron expression, or a preset such as `@daily`.")
    timezone: str = Field("UTC", description="Zone that the cron expression is read in.")
    start: Moment | None = Field(None, description="No interval before; 2020-01-01 when left out.")
    end: Moment | None = Field(None, description="No interval after.")
    catchup: bool = Field(False, description="Also run the intervals that are over already.")


class Promotion(Frozen):
    """Where the champion lives, and who has the last word."""

    model: ModelName | None = Field(None, description="Registered model in MLflow; the pipeline's name when left out.")
    conn_id: str = Field("mlflow_default", description="Airflow connection of the MLflow server or database.")
    approval: Literal["human"] | None = Field(
        None, description="`human`: a challenger that passed its gates waits until a person approves it in Airflow."
    )
    approvers: list[str] = Field(
        default_factory=list,
        description="Ids of the Airflow users who may answer; whoever may act on the DAG when left out.",
    )
    response_timeout: Span | None = Field(
        None,
        gt=timedelta(0),
        description="No answer within this is a rejection; half the schedule's interval when left out, or a day.",
    )

    @model_validator(mode="after")
    def _somebody_is_asked(self) -> Promotion:
        if self.approval is None and (self.approvers or self.response_timeout is not None):
            raise ValueError("approvers and response_timeout need approval: human")
        return self


class TaskSettings(Frozen):
    """Airflow's own settings of one step's task."""

    # As long as the columns of Airflow's database: a longer one would stop the scheduler, or the saving of every DAG.
    pool: str | None = Field(None, min_length=1, max_length=256, description="Airflow pool.")
    queue: str | None = Field(None, min_length=1, max_length=256, description="Queue of the executor.")
    executor: str | None = Field(
        None, min_length=1, max_length=256, description="Name of one of Airflow's configured executors."
    )
    executor_config: dict[str, Any] | None = Field(None, description="What the executor is told.")
    retries: int | None = Field(None, ge=0, le=1000, description="After an error that may pass; 3 when left out.")
    retry_delay: Span | None = Field(None, description="Before the first retry; each further one doubles it.")
    max_retry_delay: Span | None = Field(None, description="Longest time between two tries.")
    execution_timeout: Span | None = Field(None, gt=timedelta(0), description="A try that takes longer fails.")
    runtime: Runtime | None = Field(None, description="Where the step computes, when not as the pipeline says.")


TaskName = Literal[
    "champion",
    "ingest",
    "validate",
    "prepare",
    "search",
    "train",
    "evaluate",
    "gate",
    "refit",
    "publish",
    "approve",
    "promote",
    "score_shard",
    "score",
    "watch",
    "retrain",
    "roll_back",
    "notify",
]


#: The columns of predictions, besides keys and timestamp.
_PREDICTION = re.compile(r"prediction|p_\d+|imputed|model_version|as_of")


class Pipeline(Frozen):
    """One model's whole life."""

    name: str = Field(pattern=PIPELINE_NAME, description="Begins the DAG ids; also the file's name.")
    task: Task = Field(description="What kind of target is predicted.")
    description: str = Field("", max_length=5000, description="One sentence, shown in Airflow.")
    owner: str = Field("airflow", min_length=1, max_length=250, description="Owner of the DAG's tasks.")
    tags: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(
        default_factory=list, description="Tags of the DAG, besides `mlops` and `training`."
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of everything random.")
    schedule: Schedule | None = Field(None, description="When training runs by itself; by hand or on request without.")
    data: Data = Field(description="What is read, and what its columns mean.")
    validation: Validation = Field(Validation(), description="What must be true of the data.")
    preparation: Preparation = Field(Preparation(), description="What is decided before anything is fitted.")
    training: Training = Field(description="The candidates.")
    evaluation: Evaluation = Field(Evaluation(), description="How candidates are measured.")
    gates: list[Gate] = Field(default_factory=list, description="What a challenger must reach.")
    card: Card = Field(Card(), description="What the card of each version says besides what was measured.")
    promotion: Promotion = Field(Promotion(), description="Where the champion lives, and who has the last word.")
    scoring: Scoring | None = Field(None, description="What the champion predicts by itself; nothing without.")
    monitoring: Monitoring | None = Field(None, description="What of the scored is watched; nothing without.")
    notifications: Notifications = Field(Notifications(), description="Who is told.")
    runtime: Runtime = Field(InProcess(), description="Where steps compute: in the worker, or in a container.")
    tasks: dict[TaskName, TaskSettings] = Field(
        default_factory=dict, description="Airflow's own settings, by task id: " + ", ".join(get_args(TaskName)) + "."
    )

    @property
    def model_name(self) -> str:
        """The registered model in MLflow."""
        return self.promotion.model or self.name

    @property
    def watched(self) -> Monitoring | None:
        """The section monitoring; what it leaves to `preparation` and to the gate `champion` is filled in."""
        if self.monitoring is None:
            return None
        return self.monitoring.prepared(self.preparation.missing.max_share).losing(self.may_lose or 0.0)

    @property
    def metrics(self) -> list[str]:
        """Metric names; the first decides."""
        return self.evaluation.metrics or list(DEFAULT_METRICS[self.task])

    @property
    def candidates(self) -> dict[str, Candidate]:
        """The candidates, each search with the metric that decides."""
        return {name: with_metric(each, self.metrics[0]) for name, each in self.training.candidates.items()}

    @property
    def may_lose(self) -> float | None:
        """What a gate `champion` lets a challenger lose of the live metric; None where no gate says so."""
        metric = (self.monitoring and self.monitoring.live.metric) or self.metrics[0]
        margins = [
            gate.margin
            for gate in self.gates
            if isinstance(gate, ChampionGate)
            and gate.rule == "not_worse"
            and (gate.metric or self.metrics[0]) == metric
        ]
        return min(margins, default=None)

    def runtime_of(self, task: TaskName) -> Runtime | None:
        """Return where a task computes; None for one that computes nothing."""
        own = settings.runtime if (settings := self.tasks.get(task)) else None
        if own is None and task == "score_shard":  # what it computes, `score` finds by its key, which holds the image
            return self.runtime_of("score")
        if own is None and task == "search":  # what it computes, `train` finds, which may be here or there
            return self.runtime_of("train")
        return own or (self.runtime if task in COMPUTING else None)

    @model_validator(mode="after")
    def _sections_agree(self) -> Pipeline:
        columns = self.data.columns
        check_metrics(self.task, self.metrics, "evaluation.metrics")
        for name, candidate in self.training.candidates.items():
            if candidate.search is not None and candidate.search.metric is not None:
                check_metrics(self.task, [candidate.search.metric], f"training.candidates.{name}.search.metric")
        gate_metrics = [metric for gate in self.gates if (metric := getattr(gate, "metric", None)) is not None]
        if missing := sorted(set(gate_metrics) - set(self.metrics)):
            raise ValueError(f"gates use {missing}, which evaluation.metrics does not list: {self.metrics}")
        for gate in self.gates:
            if isinstance(gate, SliceGate) and gate.judged_by != "point" and gate.metric not in (None, self.metrics[0]):
                raise ValueError(
                    f"gate {gate.label!r} judges {gate.metric} of slices by {gate.judged_by}: slices have intervals of "
                    f"the first of evaluation.metrics alone, {self.metrics[0]}; name that one, or judge by point"
                )
        if (problem := split_problem(self.preparation.split, columns, self.task)) is not None:
            raise ValueError(problem)
        if unknown := sorted(set(self.evaluation.slices) - set(columns.categorical)):
            raise ValueError(f"evaluation.slices names {unknown}, not among data.columns.categorical")
        check_judgement(self.task, self.metrics, self.evaluation, columns, self.gates)
        labels = [gate.label for gate in self.gates]
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise ValueError(f"gates with the same name: {twice}; give each a name of its own")
        self._check_decisions()
        self._check_monitoring()
        check_runtimes({task: self.runtime_of(task) for task in get_args(TaskName)}, self.data.conn_ids)
        return self

    def _check_decisions(self) -> None:
        for name, candidate in self.training.candidates.items():
            if candidate.threshold is not None and self.task != "binary":
                raise ValueError(f"candidate {name!r} has a threshold, which divides two classes; task is {self.task}")
            if candidate.calibrate is not None and self.task == "regression":
                raise ValueError(f"candidate {name!r} has calibrate, which is for classifiers; task is regression")

    def _check_monitoring(self) -> None:
        if self.monitoring is None:
            return
        if self.scoring is None:
            raise ValueError("monitoring watches what is scored: add a section scoring, an empty one will do")
        features = self.data.columns.features
        if unknown := sorted(set(self.monitoring.drift.ignore) - set(features)):
            raise ValueError(f"monitoring.drift.ignore names {unknown}, not among the features {features}")
        estimated = self.monitoring.estimated
        if estimated is not None and self.task == "regression":
            raise ValueError("monitoring.estimated needs probabilities, which a regression does not have: leave it out")
        for name, part in (("live", self.monitoring.live), ("estimated", estimated)):
            if part is not None and part.metric is not None and part.metric not in self.metrics:
                raise ValueError(f"monitoring.{name}.metric is {part.metric!r}, which evaluation.metrics does not list")

    @model_validator(mode="after")
    def _predictions_have_names_of_their_own(self) -> Pipeline:
        if self.scoring is None:
            return self
        if taken := [name for name in self.data.columns.all if _PREDICTION.fullmatch(name)]:
            raise ValueError(f"data.columns has {taken[0]!r}, a column that predictions get; give it another name")
        return self
