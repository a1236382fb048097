"""Readable HTML: one self-contained page, everything escaped, no script, nothing from elsewhere."""

from airflow_mlops_provider.reports.charts import (
    difference_bar,
    histogram,
    line_chart,
    share_bar,
    two_histograms,
    xy_chart,
)
from airflow_mlops_provider.reports.page import (
    Cell,
    facts,
    heat_table,
    page,
    points,
    shown_of,
    table,
    with_headline,
)

__all__ = [
    "Cell",
    "difference_bar",
    "facts",
    "heat_table",
    "histogram",
    "line_chart",
    "page",
    "points",
    "share_bar",
    "shown_of",
    "table",
    "two_histograms",
    "with_headline",
    "xy_chart",
]
