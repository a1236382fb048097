"""What commands and pages tell of pipelines: where each stands, what came to pass, how two versions differ.

Reads the registry and stored evaluations, writes nothing, knows no Airflow.
"""

from __future__ import annotations

from airflow_mlops_provider.overview.comparison import (
    ComparedMetric,
    ComparedSlice,
    Measure,
    VersionComparison,
    VersionSheet,
    compare,
    version_sheet,
)
from airflow_mlops_provider.overview.standing import ChampionSheet, PipelineOverview, pipeline_overviews
from airflow_mlops_provider.overview.timeline import StoredVerdict, Tenure, timeline

__all__ = [
    "ChampionSheet",
    "ComparedMetric",
    "ComparedSlice",
    "VersionComparison",
    "Measure",
    "PipelineOverview",
    "Tenure",
    "StoredVerdict",
    "VersionSheet",
    "compare",
    "pipeline_overviews",
    "timeline",
    "version_sheet",
]
