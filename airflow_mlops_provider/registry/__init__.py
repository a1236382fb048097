"""The only code that talks to MLflow: runs, versions, the ledger of champions and its alias, decisions.

Importing this imports no MLflow; the first call does.
"""

from __future__ import annotations

from airflow_mlops_provider.registry.approvals import Approval
from airflow_mlops_provider.registry.decisions import DecisionEntry
from airflow_mlops_provider.registry.files import evaluation_file
from airflow_mlops_provider.registry.ledger import LedgerEntry, former_champion, former_champions, made_champion
from airflow_mlops_provider.registry.model_format import MODEL_FILE
from airflow_mlops_provider.registry.pages import VersionPage
from airflow_mlops_provider.registry.promotion import PromotionOutcome, PromotionRequest, Reconciliation
from airflow_mlops_provider.registry.publication import (
    CandidateRun,
    DatasetInfo,
    Publication,
    Published,
    PublishedModel,
    TrialRun,
)
from airflow_mlops_provider.registry.rollback import Target, resolve, rollback_targets
from airflow_mlops_provider.registry.service import Registry
from airflow_mlops_provider.registry.state import ModelState
from airflow_mlops_provider.registry.versions import RegisteredVersion, VersionRun

__all__ = [
    "MODEL_FILE",
    "Approval",
    "CandidateRun",
    "DatasetInfo",
    "DecisionEntry",
    "LedgerEntry",
    "PublishedModel",
    "ModelState",
    "PromotionOutcome",
    "PromotionRequest",
    "Publication",
    "Published",
    "Reconciliation",
    "RegisteredVersion",
    "Registry",
    "Target",
    "TrialRun",
    "VersionPage",
    "VersionRun",
    "evaluation_file",
    "former_champion",
    "former_champions",
    "made_champion",
    "resolve",
    "rollback_targets",
]
