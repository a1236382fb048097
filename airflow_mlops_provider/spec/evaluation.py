"""The section `evaluation`: how candidates are measured."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from airflow_mlops_provider.spec.frozen import Frozen, OpenShare
from airflow_mlops_provider.spec.judgement import Explanation, Fairness
from airflow_mlops_provider.spec.metrics import Metric


class Bootstrap(Frozen):
    """The resampling behind every interval (percentile bootstrap; Efron & Tibshirani 1993, ch. 13)."""

    resamples: int = Field(2000, ge=20, le=10_000, description="Number of times that the held-out rows are resampled.")
    confidence: OpenShare = Field(
        0.95,
        description="Confidence level of the two-sided intervals that are reported, and that gates use by `judged_by`.",
    )


class Importance(Frozen):
    """Permutation importance on a bounded sample of the holdout (Breiman 2001)."""

    repeats: int = Field(3, ge=1, le=100, description="Number of times that each column is shuffled.")
    rows: PositiveInt = Field(2000, description="Largest number of rows to sample from the holdout.")


class Evaluation(Frozen):
    """How the candidates are measured. The first metric decides."""

    metrics: list[Metric] = Field(
        default_factory=list,
        description="Metrics to measure: names, or functions of your own. The first one decides. Defaults to those of "
        "the `task`.",
    )
    slices: list[str] = Field(
        default_factory=list,
        description="Categorical columns by which the winner is measured separately. Each value of a column is a "
        "slice.",
    )
    min_slice_rows: PositiveInt = Field(
        200, description="A slice with fewer held-out rows than this is counted but not measured."
    )
    bootstrap: Bootstrap = Field(Bootstrap(), description="The resampling behind every interval.")
    importance: Importance | None = Field(
        Importance(), description="How permutation importance is measured. `null` turns it off."
    )
    latency_calls: int = Field(
        50,
        ge=10,
        le=10_000,
        description="Number of one-row predictions that a gate `latency` times, five times each.",
    )
    fairness: Fairness | None = Field(
        None,
        description="How the winner is measured on groups of rows, and the gaps between them. Not measured when left "
        "out.",
    )
    explanation: Explanation | None = Field(
        None, description="How to explain which columns the winner relies on. Not explained when left out."
    )
