"""What the step `refit` did: which model serves, which one was judged, and what either of them saw."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.results import ArtifactRef
from airflow_mlops_provider.spec.frozen import Finite, Frozen, Share


class Beside(Frozen):
    """The refitted model beside the judged one, on the holdout. The refitted one was fitted on these rows.

    :param metric: the one that decides.
    :param gain: by how much the refitted one is better; with the ends of its interval, or why there is none.
    :param moved: how far apart two predictions of a row are: the mean; `moved_p95` is the 95th percentile.
    :param changed: share of the rows with another predicted class; None of a regression.
    """

    metric: str
    judged: Finite | None
    refitted: Finite | None
    gain: Finite | None = None
    low: Finite | None = None
    high: Finite | None = None
    why: str | None = None
    moved: Finite
    moved_p95: Finite
    changed: Share | None = None


class RefitReport(Document):
    """The model that serves, and the one that was judged: the same one when nothing was fitted anew.

    :param reason: why nothing was fitted anew, or on what it was, in words.
    :param model: what serves, with its `model_info`.
    :param judged: what the gates judged, which never saw the holdout.
    :param rows: that the serving model saw; `judged_rows` that the judged one did.
    :param trained_to: last row that the serving model saw, data time; None without a timestamp. `judged_to` likewise.
    :param reference: the reference with what the serving model says of its rows; None when nothing was fitted anew.
    :param beside: None when nothing was fitted anew, or the new predictions cannot be measured.
    """

    SCHEMA = 2  # 2: the reference

    candidate: str
    refitted: bool
    reason: str
    model: ArtifactRef
    model_info: ArtifactRef
    judged: ArtifactRef
    rows: int = Field(ge=1)
    judged_rows: int = Field(ge=1)
    trained_to: datetime | None = None
    judged_to: datetime | None = None
    beside: Beside | None = None
    reference: ArtifactRef | None = None
