"""The only code that talks to MLflow: runs, versions, the ledger of champions and its alias, decisions.

Importing this imports no MLflow; the first call does.
"""

from __future__ import annotations

from airflow_mlops_provider.registry.approvals import Approval
from airflow_mlops_provider.registry.decisions import DecisionEntry
from airflow_mlops_provider.registry.ledger import LedgerEntry, former_champion, made_champion
from airflow_mlops_provider.registry.pages import VersionPage
from airflow_mlops_provider.registry.promotion import PromotionOutcome, PromotionRequest, Reconciliation
from airflow_mlops_provider.registry.publication import (
    CandidateRun,
    DatasetInfo,
    ModelInfo,
    Publication,
    Published,
    TrialRun,
)
from airflow_mlops_provider.registry.rollback import Target
from airflow_mlops_provider.registry.service import Registry
from airflow_mlops_provider.registry.state import ModelState
from airflow_mlops_provider.registry.versions import RegisteredVersion, VersionRun

__all__ = [
    "Approval",
    "CandidateRun",
    "DatasetInfo",
    "DecisionEntry",
    "LedgerEntry",
    "ModelInfo",
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
    "former_champion",
    "made_champion",
]
