"""The pipeline file as one frozen model: one YAML file is one model's whole life.

`pipelines.py` reads the files; nothing here touches a disk or imports a heavy library.
"""

from __future__ import annotations

import re
from typing import Annotated, get_args

from pydantic import Field, model_validator

from airflow_mlops_provider.spec.card import Card
from airflow_mlops_provider.spec.data import Data
from airflow_mlops_provider.spec.evaluation import Evaluation
from airflow_mlops_provider.spec.frozen import PIPELINE_NAME, Frozen, Moment, Task
from airflow_mlops_provider.spec.gates import ChampionGate, Gate, SliceGate
from airflow_mlops_provider.spec.judgement import check_judgement
from airflow_mlops_provider.spec.metrics import DEFAULT_METRICS, CustomMetric, check_metrics, custom_among, label_of
from airflow_mlops_provider.spec.notifications import Notifications
from airflow_mlops_provider.spec.operations import Monitoring, Scoring
from airflow_mlops_provider.spec.preparation import Preparation, split_problem
from airflow_mlops_provider.spec.promotion import Promotion
from airflow_mlops_provider.spec.runtime import COMPUTING, InProcess, Runtime, check_runtimes
from airflow_mlops_provider.spec.tasks import TaskName, TaskSettings
from airflow_mlops_provider.spec.trackers import Tracker
from airflow_mlops_provider.spec.training import Candidate, Training, with_metric
from airflow_mlops_provider.spec.validation import Validation


class Schedule(Frozen):
    """When training and scoring run without an event that starts them. Each run covers one cron interval."""

    cron: str = Field("@daily", max_length=150, description="Cron expression, or a preset such as `@daily`.")
    timezone: str = Field("UTC", description="Time zone of the cron expression, such as `Europe/Berlin`.")
    start: Moment | None = Field(
        None, description="The first interval starts no earlier than this moment. Defaults to 2020-01-01."
    )
    end: Moment | None = Field(
        None, description="The last interval starts no later than this moment. Defaults to no end."
    )
    catchup: bool = Field(
        False, description="Whether to run all past intervals too. Otherwise only the latest one is run."
    )


#: The columns of predictions, besides keys and timestamp.
_PREDICTION = re.compile(r"prediction|p_\d+|imputed|model_version|as_of")


class Pipeline(Frozen):
    """One model's whole life, from reading its data to watching its predictions."""

    name: str = Field(
        pattern=PIPELINE_NAME,
        description="Name of the pipeline. It must be the name of the file, and the ids of its DAGs begin with it.",
    )
    task: Task = Field(
        description="Kind of target: two classes (`binary`), more classes (`multiclass`) or a number (`regression`)."
    )
    description: str = Field(
        "",
        max_length=5000,
        description="One sentence about the model. Airflow shows it, and so does the model card without "
        "`card.intended_use`.",
    )
    owner: str = Field("airflow", min_length=1, max_length=250, description="Owner of the pipeline's tasks in Airflow.")
    tags: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(
        default_factory=list,
        description="Further tags of the pipeline's DAGs, besides `mlops` and the kind of the DAG, such as `training`.",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of everything random, such as splits and estimators.")
    schedule: Schedule | None = Field(
        None,
        description="When training and scoring run. Without this section, training runs by hand or on a retraining "
        "request, and scoring by hand or for a new champion.",
    )
    data: Data = Field(description="Where the rows come from, and what their columns mean.")
    validation: Validation = Field(Validation(), description="Checks that the training data must pass.")
    preparation: Preparation = Field(
        Preparation(), description="How the data is split and checked before any model is fitted."
    )
    training: Training = Field(description="The candidates to train, and which fitted model serves.")
    evaluation: Evaluation = Field(
        Evaluation(), description="How the candidates are measured. The first metric decides."
    )
    gates: list[Gate] = Field(default_factory=list, description="Conditions for the promotion of a challenger.")
    card: Card = Field(Card(), description="Text for the model card of each version, beside the measured figures.")
    promotion: Promotion = Field(
        Promotion(), description="Where the champion is registered, and who approves a promotion."
    )
    trackers: list[Tracker] = Field(
        default_factory=list,
        description="Other experiment trackers, to which functions of your own mirror what is published in MLflow.",
    )
    scoring: Scoring | None = Field(
        None, description="How the champion scores new rows. Without this section, there is no scoring DAG."
    )
    monitoring: Monitoring | None = Field(
        None,
        description="How scored windows are watched, and when the model is retrained or rolled back. Without this "
        "section, there is no monitoring DAG. It needs `scoring`.",
    )
    notifications: Notifications = Field(
        Notifications(), description="Messages about failed runs, and about events such as a promotion or drift."
    )
    runtime: Runtime = Field(
        InProcess(), description="Where tasks compute: in the Airflow worker, which is the default, or in containers."
    )
    tasks: dict[TaskName, TaskSettings] = Field(
        default_factory=dict,
        description="Airflow's own settings for single tasks, by task id: " + ", ".join(get_args(TaskName)) + ".",
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
    def measured(self) -> list[str | CustomMetric]:
        """The metrics: names, and functions of the user's; the first decides."""
        return self.evaluation.metrics or list(DEFAULT_METRICS[self.task])

    @property
    def metrics(self) -> list[str]:
        """Metric names; the first decides."""
        return [label_of(one) for one in self.measured]

    @property
    def candidates(self) -> dict[str, Candidate]:
        """The candidates, each search with the metric that decides."""
        return {name: with_metric(each, self.measured) for name, each in self.training.candidates.items()}

    @property
    def may_lose(self) -> float | None:
        """What a gate `champion` lets a challenger lose of the live metric; None where no gate says so."""
        metric = (self.monitoring and self.monitoring.live.metric) or self.metrics[0]
        margins = [
            gate.margin
            for gate in self.gates
            if isinstance(gate, ChampionGate)
            and (gate.rule == "not_worse" or gate.refresh)
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
        self._check_metrics()
        gate_metrics = [metric for gate in self.gates if (metric := getattr(gate, "metric", None)) is not None]
        if missing := sorted(set(gate_metrics) - set(self.metrics)):
            raise ValueError(f"gates use {missing}, which evaluation.metrics does not list: {self.metrics}")
        for gate in self.gates:
            if isinstance(gate, SliceGate) and gate.judged_by != "point" and gate.metric not in (None, self.metrics[0]):
                raise ValueError(
                    f"gate {gate.label!r} judges {gate.metric} of slices by {gate.judged_by}: only the first of "
                    f"evaluation.metrics, {self.metrics[0]}, has intervals for slices; use that one, or judge by point"
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

    def _check_metrics(self) -> None:
        check_metrics(self.task, self.measured, "evaluation.metrics")
        custom = {one.label: one for one in custom_among(self.measured)}
        for one in custom.values():
            self._check_columns(one)
        for name, candidate in self.training.candidates.items():
            metric = None if candidate.search is None else candidate.search.metric
            if metric is None or (isinstance(metric, str) and metric in custom):
                continue
            where = f"training.candidates.{name}.search.metric"
            check_metrics(self.task, [metric], where)
            if isinstance(metric, str):
                continue
            self._check_columns(metric)
            if custom.get(metric.label, metric) != metric:
                raise ValueError(
                    f"{where} and evaluation.metrics name different metrics {metric.label!r}: give one another `name`"
                )

    def _check_columns(self, metric: CustomMetric) -> None:
        columns, privacy = self.data.columns, self.data.privacy
        known = [*columns.features, *columns.keys, *columns.amounts, columns.timestamp]
        if unknown := sorted(set(metric.columns) - set(known)):
            raise ValueError(
                f"metric {metric.label!r} gets column {unknown[0]!r}, which is not a feature, key, timestamp or "
                "amount: list a number that no model may see under data.columns.amounts"
            )
        if dropped := sorted(set(metric.columns) & set(() if privacy is None else privacy.drop)):
            raise ValueError(f"metric {metric.label!r} gets column {dropped[0]!r}, which data.privacy drops")

    def _check_decisions(self) -> None:
        for name, candidate in self.training.candidates.items():
            for one in candidate.features:
                texts = [column for column in one.columns if column in self.data.columns.categorical]
                if one.impute and texts:
                    raise ValueError(
                        f"candidate {name!r} fills in {texts[0]!r} like a number, but it is categorical: drop impute"
                    )
                if unknown := sorted(set(one.columns) - set(self.data.columns.features)):
                    raise ValueError(
                        f"candidate {name!r} makes features from {unknown[0]!r}, which is not a feature in data.columns"
                    )
            if candidate.threshold is not None and self.task != "binary":
                raise ValueError(f"candidate {name!r} has a threshold, which is for binary tasks; task is {self.task}")
            if candidate.calibrate is not None and self.task == "regression":
                raise ValueError(f"candidate {name!r} has calibrate, which is for classifiers; task is regression")

    def _check_monitoring(self) -> None:
        if self.monitoring is None:
            return
        if self.scoring is None:
            raise ValueError("monitoring needs a section scoring; an empty one is enough")
        features = self.data.columns.features
        if unknown := sorted(set(self.monitoring.drift.ignore) - set(features)):
            raise ValueError(f"monitoring.drift.ignore names {unknown}, not among the features {features}")
        estimated = self.monitoring.estimated
        if estimated is not None and self.task == "regression":
            raise ValueError("monitoring.estimated needs probabilities, which a regression does not have: leave it out")
        for name, part in (("live", self.monitoring.live), ("estimated", estimated)):
            if part is not None and part.metric is not None and part.metric not in self.metrics:
                raise ValueError(f"monitoring.{name}.metric is {part.metric!r}, which evaluation.metrics does not list")
        if estimated is not None and (label := estimated.metric or self.metrics[0]) in [
            one.label for one in custom_among(self.measured)
        ]:
            raise ValueError(
                f"monitoring.estimated cannot estimate {label!r} without labels, only the package's own metrics: "
                "set monitoring.estimated.metric to one of them"
            )

    @model_validator(mode="after")
    def _predictions_have_names_of_their_own(self) -> Pipeline:
        if self.scoring is None:
            return self
        if taken := [name for name in self.data.columns.all if _PREDICTION.fullmatch(name)]:
            raise ValueError(f"data.columns has {taken[0]!r}, the name of a prediction column; rename it")
        return self
