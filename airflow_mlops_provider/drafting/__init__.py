"""From a data file to a pipeline file that trains: what `airflow mlops init` writes.

Every choice is made from the data, explained in a comment beside it, and tested: a draft is only returned when the data
passes its own validation and preparation. This package knows no Airflow.
"""

from __future__ import annotations

from airflow_mlops_provider.drafting.draft import Draft, draft_pipeline

__all__ = ["Draft", "draft_pipeline"]
