"""The gates: what a challenger must reach before it may be promoted."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from airflow_mlops_provider.spec.frozen import Finite, Frozen, OpenShare, Share

OnFail = Literal["fail", "skip"]


class _Gate(Frozen):
    name: str | None = Field(None, description="Shown in the table; the kind when left out.")
    on_fail: OnFail = "fail"

    @property
    def label(self) -> str:
        """The name that people see."""
        return self.name or str(getattr(self, "kind", ""))


class AbsoluteGate(_Gate):
    """The metric is at least `min`, or at most `max`."""

    kind: Literal["absolute"]
    metric: str
    min: Finite | None = None
    max: Finite | None = None

    @model_validator(mode="after")
    def _bounded(self) -> AbsoluteGate:
        if self.min is None and self.max is None:
            raise ValueError("name min or max")
        return self


class ChampionGate(_Gate):
    """The challenger is better than the champion on the same holdout, or not worse by more than a margin."""

    kind: Literal["champion"]
    metric: str | None = None
    rule: Literal["better", "not_worse"] = "better"
    margin: Finite = Field(0.0, ge=0)
    confidence: OpenShare = 0.95
    on_fail: OnFail = "skip"


class BaselineGate(_Gate):
    """The challenger beats a dummy that knows only the training target."""

    kind: Literal["baseline"]
    metric: str | None = None
    min_gain: Finite = Field(0.0, ge=0)


class SliceGate(_Gate):
    """The worst slice still reaches the bound."""

    kind: Literal["worst_slice"]
    metric: str | None = None
    min: Finite | None = None
    max: Finite | None = None

    @model_validator(mode="after")
    def _bounded(self) -> SliceGate:
        if self.min is None and self.max is None:
            raise ValueError("name min or max")
        return self


class LatencyGate(_Gate):
    """The model answers fast enough on this machine."""

    kind: Literal["latency"]
    max_p95_ms: Finite = Field(100.0, gt=0, description="95th percentile of a one-row predict, milliseconds.")
    min_rows_per_second: Finite | None = Field(None, gt=0)


class PredictionsGate(_Gate):
    """Predictions are complete and look like the training target."""

    kind: Literal["predictions"]
    min_class_share: Share = Field(0.05, description="Each class must be at least this share of the predictions.")
    max_shift: Finite = Field(
        0.25,
        gt=0,
        description="Total variation distance of class shares; for regression, Wasserstein distance over the "
        "standard deviation of the training target.",
    )


class SizeGate(_Gate):
    """The stored model is not too large."""

    kind: Literal["model_size"]
    max_mb: Finite = Field(500.0, gt=0)


class ChampionAgeGate(_Gate):
    """The champion has served at least this long (in data time), so that models do not churn."""

    kind: Literal["champion_age"]
    min: timedelta = Field(ge=timedelta(0))
    on_fail: OnFail = "skip"


Gate = Annotated[
    AbsoluteGate | ChampionGate | BaselineGate | SliceGate | LatencyGate | PredictionsGate | SizeGate | ChampionAgeGate,
    Field(discriminator="kind"),
]
