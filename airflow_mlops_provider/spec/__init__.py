"""The pipeline file as frozen models: unknown keys are errors, every section stands alone."""

from airflow_mlops_provider.spec.card import Card
from airflow_mlops_provider.spec.data import Columns, Csv, Data, Source
from airflow_mlops_provider.spec.evaluation import Bootstrap, Evaluation, Importance
from airflow_mlops_provider.spec.expectations import Expectation
from airflow_mlops_provider.spec.frozen import Frozen, Task
from airflow_mlops_provider.spec.gates import (
    AbsoluteGate,
    BaselineGate,
    ChampionAgeGate,
    ChampionGate,
    GapGate,
    Gate,
    GroupMetricGate,
    ImportanceGate,
    LatencyGate,
    OnFail,
    PredictionsGate,
    SizeGate,
    SliceGate,
)
from airflow_mlops_provider.spec.judgement import Explanation, Fairness
from airflow_mlops_provider.spec.metrics import (
    CLASSIFICATION_METRICS,
    DEFAULT_METRICS,
    LOSSES,
    REGRESSION_METRICS,
    CustomMetric,
    check_metrics,
)
from airflow_mlops_provider.spec.notifications import EVENT_KINDS, EventKind, EventNotifier, Notifications, Notifier
from airflow_mlops_provider.spec.operations import Drift, Estimated, Live, Monitoring, Probation, Retraining, Scoring
from airflow_mlops_provider.spec.pipeline import Pipeline, Schedule
from airflow_mlops_provider.spec.preparation import Leakage, Missing, Overlap, Preparation, Split
from airflow_mlops_provider.spec.privacy import Privacy
from airflow_mlops_provider.spec.promotion import Promotion
from airflow_mlops_provider.spec.runtime import Docker, InProcess, Mount, Runtime
from airflow_mlops_provider.spec.search import Range, Search
from airflow_mlops_provider.spec.tasks import TaskName, TaskSettings
from airflow_mlops_provider.spec.training import Candidate, Costs, Refit, ThresholdRule, Training
from airflow_mlops_provider.spec.validation import Validation

__all__ = [
    "AbsoluteGate",
    "BaselineGate",
    "Bootstrap",
    "CLASSIFICATION_METRICS",
    "Candidate",
    "Card",
    "ChampionAgeGate",
    "ChampionGate",
    "Columns",
    "Costs",
    "CustomMetric",
    "Csv",
    "DEFAULT_METRICS",
    "Data",
    "Docker",
    "Drift",
    "EVENT_KINDS",
    "Estimated",
    "Evaluation",
    "EventKind",
    "EventNotifier",
    "Expectation",
    "Explanation",
    "Fairness",
    "Frozen",
    "GapGate",
    "Gate",
    "GroupMetricGate",
    "Importance",
    "ImportanceGate",
    "InProcess",
    "LOSSES",
    "LatencyGate",
    "Leakage",
    "Live",
    "Missing",
    "Monitoring",
    "Mount",
    "Notifications",
    "Notifier",
    "OnFail",
    "Overlap",
    "Pipeline",
    "PredictionsGate",
    "Preparation",
    "Privacy",
    "Probation",
    "Promotion",
    "REGRESSION_METRICS",
    "Range",
    "Refit",
    "Retraining",
    "Runtime",
    "Schedule",
    "Scoring",
    "Search",
    "SizeGate",
    "SliceGate",
    "Source",
    "Split",
    "Task",
    "TaskName",
    "TaskSettings",
    "ThresholdRule",
    "Training",
    "Validation",
    "check_metrics",
]
