"""The assets of a pipeline. Every event carries `as_of` in its extra.

Each is made once: several DAGs name it, and thousands are parsed again and again.
"""

from __future__ import annotations

from functools import cache

from airflow.sdk import Asset, AssetAlias


@cache
def dataset_asset(pipeline: str) -> Asset:
    """Return what changes when ingest has read a new snapshot."""
    return Asset(name=f"{pipeline}.dataset", uri=f"mlops://{pipeline}/dataset")


@cache
def champion_asset(model: str) -> Asset:
    """Return what changes when the ledger names another champion."""
    return Asset(name=f"{model}.champion", uri=f"mlops://{model}/champion")


@cache
def champion_alias(model: str) -> AssetAlias:
    """Return the outlet through which the champion event is emitted, only when there is one."""
    return AssetAlias(name=f"{model}.champion")


@cache
def predictions_asset(pipeline: str) -> Asset:
    """Return what changes when a window has been scored."""
    return Asset(name=f"{pipeline}.predictions", uri=f"mlops://{pipeline}/predictions")


@cache
def retrain_asset(pipeline: str) -> Asset:
    """Return the asset whose events request a run of the training DAG."""
    return Asset(name=f"{pipeline}.retrain", uri=f"mlops://{pipeline}/retrain")


@cache
def retrain_alias(pipeline: str) -> AssetAlias:
    """Return the alias through which an event is sent, only when a retraining is requested."""
    return AssetAlias(name=f"{pipeline}.retrain")
