"""What is measured on the winner itself, as it is stored: speed, the look of its predictions, importance of columns."""

from __future__ import annotations

from pydantic import Field

from airflow_mlops_provider.documents import Document
from airflow_mlops_provider.spec.frozen import Finite, Frozen


class Latency(Document):
    """How fast a model predicts on this machine, on one thread: of each row the fastest of several rounds.

    :param p50_ms: median over one-row predictions, milliseconds, without the time that other processes took.
    :param p95_ms: their 95th percentile.
    :param wall_p95_ms: the same by the clock on the wall, with that time; null of an older measurement.
    :param rows_per_second: of a prediction of `batch_rows` rows at once.
    :param calls: rows that were timed one by one, in each of the rounds.
    :param model: sha256 of the model file; null of an older measurement.
    """

    p50_ms: Finite
    p95_ms: Finite
    wall_p95_ms: Finite | None = None
    rows_per_second: Finite
    calls: int
    batch_rows: int
    rounds: int = 1
    model: str | None = None


class PredictionStats(Frozen):
    """What the winner's predictions look like beside the target of the training rows, and of the held-out ones.

    :param shares: share of the rows for which each class is predicted.
    :param expected_shares: mean predicted probability of each class.
    :param target_shares: share of each class in the training target.
    :param held_out_shares: share of each class in the held-out rows.
    :param shift: total variation distance of `expected_shares` from `target_shares`; for a regression the
        Wasserstein distance of predictions and training target over the target's standard deviation.
    :param target_shift: the same distance, of the held-out target from the training target: what time changed.
    :param unexplained_shift: the part of `shift` that lies outside of both targets; null of an older evaluation.
    """

    rows: int
    nulls: int
    shares: dict[str, Finite] = Field(default_factory=dict)
    expected_shares: dict[str, Finite] = Field(default_factory=dict)
    target_shares: dict[str, Finite] = Field(default_factory=dict)
    held_out_shares: dict[str, Finite] = Field(default_factory=dict)
    mean: Finite | None = None
    sd: Finite | None = None
    target_mean: Finite | None = None
    target_sd: Finite | None = None
    shift: Finite | None = None
    target_shift: Finite | None = None
    unexplained_shift: Finite | None = None
    why: str | None = None

    @property
    def judged_shift(self) -> float | None:
        """What a gate holds against its bound."""
        return self.shift if self.unexplained_shift is None else self.unexplained_shift

    def share_left(self, label: str) -> float:
        """Return how much of a class's training share the held-out rows have; 1 when they have more."""
        trained, held_out = self.target_shares.get(label), self.held_out_shares.get(label)
        return 1.0 if not trained or held_out is None else min(1.0, held_out / trained)


class ImportanceOf(Frozen):
    """How much the first metric falls when a column is shuffled: positive is important."""

    mean: Finite
    sd: Finite


class Importances(Frozen):
    """Permutation importance of each raw column, for the first metric.

    :param in_sample: True after a cross-validation: the model was then fitted on these rows as well.
    """

    metric: str
    rows: int
    repeats: int
    in_sample: bool = False
    columns: dict[str, ImportanceOf] = Field(default_factory=dict)
    why: str | None = None
