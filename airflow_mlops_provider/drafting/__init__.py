"""From a data file to a pipeline file that trains: what `airflow mlops init` writes.

Every choice is made from the data, said in a comment beside it, and tried: a draft is only returned when the data
passes its own validation and preparation. Knows no Airflow.
"""

from __future__ import annotations

from airflow_mlops_provider.drafting.draft import Draft, draft_pipeline

__all__ = ["Draft", "draft_pipeline"]
