"""The time machine: a pipeline's past replayed with its own steps, gates and governor, and without any effect.

Pure but for the artifact store: no MLflow, no Airflow task. The ledger is a list.
"""

from __future__ import annotations

from airflow_mlops_provider.backtest.page import replay_page
from airflow_mlops_provider.backtest.replay import replay
from airflow_mlops_provider.backtest.report import POLICY as OWN
from airflow_mlops_provider.backtest.report import Replay, ReplayEvent, Summary
from airflow_mlops_provider.backtest.steps import Steps

__all__ = ["OWN", "ReplayEvent", "Replay", "Steps", "Summary", "replay", "replay_page"]
