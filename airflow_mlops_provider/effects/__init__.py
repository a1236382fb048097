"""What is done to MLflow, between the results of steps and the registry: publish, approve, promote, roll back, score.

Never cached; each may be killed at any line and done again, and ends as if it had been done once.
"""

from __future__ import annotations

from airflow_mlops_provider.effects.approval import NoQuestion, Question, answer, approval_event, question
from airflow_mlops_provider.effects.champions import (
    as_champion,
    champion_to_compare,
    compared,
    find_comparable_champions,
)
from airflow_mlops_provider.effects.gating import champion_gates
from airflow_mlops_provider.effects.promotion import PromotionResult, promote, refuses
from airflow_mlops_provider.effects.publishing import evaluation_inputs, links, publish
from airflow_mlops_provider.effects.refitting import refit_for, refit_work, with_refit
from airflow_mlops_provider.effects.rollback import roll_back
from airflow_mlops_provider.effects.scoring import score
from airflow_mlops_provider.effects.shards import joining
from airflow_mlops_provider.effects.tracking import mirror, runs_to_mirror

__all__ = [
    "PromotionResult",
    "Question",
    "NoQuestion",
    "answer",
    "as_champion",
    "champion_gates",
    "approval_event",
    "compared",
    "evaluation_inputs",
    "find_comparable_champions",
    "joining",
    "links",
    "mirror",
    "promote",
    "publish",
    "question",
    "refit_for",
    "refit_work",
    "refuses",
    "champion_to_compare",
    "roll_back",
    "score",
    "runs_to_mirror",
    "with_refit",
]
