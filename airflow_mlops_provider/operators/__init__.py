"""Operators: each parses its dict, runs one step or one effect, and returns a small result.

    from airflow_mlops_provider.operators import ApproveModelOperator

imports the module of that operator alone, and when it is first used: a DAG file pays for nothing else.
"""

from typing import TYPE_CHECKING

from airflow_mlops_provider.lazy_names import lazy_names

if TYPE_CHECKING:
    from airflow_mlops_provider.operators.approval import ApproveModelOperator as ApproveModelOperator
    from airflow_mlops_provider.operators.data import IngestDataOperator as IngestDataOperator
    from airflow_mlops_provider.operators.data import PrepareDataOperator as PrepareDataOperator
    from airflow_mlops_provider.operators.data import ValidateDataOperator as ValidateDataOperator
    from airflow_mlops_provider.operators.decisions import DecideOperator as DecideOperator
    from airflow_mlops_provider.operators.decisions import EvaluateLiveOperator as EvaluateLiveOperator
    from airflow_mlops_provider.operators.gates import QualityGateOperator as QualityGateOperator
    from airflow_mlops_provider.operators.monitoring import DetectDriftOperator as DetectDriftOperator
    from airflow_mlops_provider.operators.monitoring import EstimatePerformanceOperator as EstimatePerformanceOperator
    from airflow_mlops_provider.operators.notify import NotifyOperator as NotifyOperator
    from airflow_mlops_provider.operators.promotion import PromoteModelOperator as PromoteModelOperator
    from airflow_mlops_provider.operators.publishing import PublishModelOperator as PublishModelOperator
    from airflow_mlops_provider.operators.refit import RefitModelOperator as RefitModelOperator
    from airflow_mlops_provider.operators.rollback import RollbackModelOperator as RollbackModelOperator
    from airflow_mlops_provider.operators.scoring import ScoreBatchOperator as ScoreBatchOperator
    from airflow_mlops_provider.operators.scoring import ScoreShardOperator as ScoreShardOperator
    from airflow_mlops_provider.operators.search import SearchShardOperator as SearchShardOperator
    from airflow_mlops_provider.operators.tracking import MirrorRunsOperator as MirrorRunsOperator
    from airflow_mlops_provider.operators.training import EvaluateModelOperator as EvaluateModelOperator
    from airflow_mlops_provider.operators.training import FindChampionOperator as FindChampionOperator
    from airflow_mlops_provider.operators.training import TrainModelOperator as TrainModelOperator
    from airflow_mlops_provider.operators.watching import RetrainOnDecisionOperator as RetrainOnDecisionOperator
    from airflow_mlops_provider.operators.watching import RollbackOnDecisionOperator as RollbackOnDecisionOperator
    from airflow_mlops_provider.operators.watching import WatchPredictionsOperator as WatchPredictionsOperator

#: In which module each is.
_MODULES = {
    "ApproveModelOperator": "approval",
    "DecideOperator": "decisions",
    "DetectDriftOperator": "monitoring",
    "EstimatePerformanceOperator": "monitoring",
    "EvaluateLiveOperator": "decisions",
    "EvaluateModelOperator": "training",
    "FindChampionOperator": "training",
    "IngestDataOperator": "data",
    "MirrorRunsOperator": "tracking",
    "NotifyOperator": "notify",
    "PrepareDataOperator": "data",
    "PromoteModelOperator": "promotion",
    "PublishModelOperator": "publishing",
    "QualityGateOperator": "gates",
    "RefitModelOperator": "refit",
    "RetrainOnDecisionOperator": "watching",
    "RollbackModelOperator": "rollback",
    "RollbackOnDecisionOperator": "watching",
    "ScoreBatchOperator": "scoring",
    "ScoreShardOperator": "scoring",
    "SearchShardOperator": "search",
    "TrainModelOperator": "training",
    "ValidateDataOperator": "data",
    "WatchPredictionsOperator": "watching",
}

__all__ = list(_MODULES)

__getattr__ = lazy_names(__name__, _MODULES)
