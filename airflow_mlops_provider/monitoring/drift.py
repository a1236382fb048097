"""Compares a window with the champion's reference, column by column: how far it lies, what is usual, what is broken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_mlops_provider.exceptions import shorten
from airflow_mlops_provider.monitoring.drift_report import ColumnDrift, Problem, Side
from airflow_mlops_provider.monitoring.effect_sizes import Scale, categories, distance, numbers
from airflow_mlops_provider.monitoring.ranges import outside
from airflow_mlops_provider.monitoring.sampling import fits
from airflow_mlops_provider.monitoring.usual import ALONE, AMONG_OTHERS, Usual, usual_distance, usual_shift

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from airflow_mlops_provider.monitoring.drift_report import ProblemKind, Role
    from airflow_mlops_provider.monitoring.sampling import Kind, Observed
    from airflow_mlops_provider.monitoring.usual import Stretches
    from airflow_mlops_provider.spec.operations import Drift

_BINS = 20
_LABELS = 10
_NAMED = 5


@dataclass(frozen=True)
class Subject:
    """A column that is compared.

    :param reference: None when the reference has no such column.
    :param current: None when the window cannot be read as `kind`; `problem` says why.
    """

    name: str
    role: Role
    kind: Kind
    reference: Observed
    current: Observed | None
    problem: Problem | None = None


def unreadable(name: str, kind: Kind, schema: pa.Schema) -> Problem | None:
    """Return why a column of a table cannot be read, None when it can."""
    expected = "numbers" if kind == "numeric" else "categories"
    if name not in schema.names:
        return Problem(kind="missing_column", column=name, got="no such column", expected=expected)
    type_ = schema.field(name).type
    if not fits(kind, type_):
        return Problem(kind="wrong_type", column=name, got=str(type_), expected=expected)
    return None


@dataclass(frozen=True)
class Pair:
    """Both sides of a column on one scale.

    :param reference: the bin of each value.
    :param of: the stretch of each value of the reference; None when it knows no time.
    :param threshold: the least distance that matters.
    :param stretches: how many there are, also without a value; None where those with values are all.
    """

    scale: Scale
    reference: NDArray[Any]
    current: NDArray[Any]
    of: NDArray[Any] | None
    threshold: float
    alone: bool = False
    stretches: int | None = None

    @property
    def distance(self) -> float:
        """How far they lie apart."""
        return float(distance(self.scale, *(self.scale.counts(side) for side in (self.reference, self.current))))

    def usual(self, seed: int) -> Usual:
        """Return how far they may lie apart."""
        counts = self.scale.counts(self.reference)
        if self.scale.places is None:
            # Those that are rare on both sides are what makes the distance of small samples large.
            counts = counts + self.scale.counts(self.current)
        return usual_distance(
            self.scale,
            self.reference,
            self.of,
            shares=counts / counts.sum(),
            rows=len(self.current),
            threshold=self.threshold,
            deviations=ALONE if self.alone else AMONG_OTHERS,
            seed=seed,
            stretches=self.stretches,
        )


def pairs_of(subjects: Sequence[Subject], settings: Drift, stretches: Stretches | None) -> dict[str, Pair]:
    """Return both sides of each column that can be compared: those that are not broken, and have values."""
    found = {}
    for subject in subjects:
        if any(problem.broken for problem in _problems(subject, settings)):
            continue
        if (pair := _pair(subject, settings, stretches)) is not None:
            found[subject.name] = pair
    return found


def compare(
    subjects: Sequence[Subject],
    pairs: Mapping[str, Pair],
    usual_of: Callable[[str], Usual],
    settings: Drift,
    stretches: Stretches | None,
    *,
    measure: bool = True,
) -> tuple[list[ColumnDrift], list[Problem]]:
    """Return the verdict on each column, and what is wrong with the data.

    :param pairs: the columns that can be compared.
    :param usual_of: how far each of them may lie from its reference.
    :param measure: False when there are too few rows: only what is broken is reported then.
    """
    columns, problems = [], []
    for subject in subjects:
        wrong = list(_problems(subject, settings))
        pair = pairs.get(subject.name) if measure else None
        columns.append(_verdict(subject, pair, usual_of, settings, wrong, stretches, measure=measure))
        problems.extend(wrong)
    return columns, problems


def _pair(subject: Subject, settings: Drift, stretches: Stretches | None) -> Pair | None:
    """Return both sides on one scale; None when a side has no values."""
    if subject.current is None:
        return None
    reference, current = subject.reference.values(), subject.current.values()
    if not len(reference) or not len(current):
        return None
    alone, present = subject.role == "prediction", subject.reference.present()
    of, count = None, None
    if stretches is not None and alone:
        of = stretches.among(present)
    elif stretches is not None:
        of, count = stretches.of[present], stretches.count
    numeric = subject.kind == "numeric"
    if numeric and reference.min() == reference.max():
        # There are no ranks to measure by: what counts is how many rows differ.
        reference, current = (_same(values, reference[0]) for values in (reference, current))
        numeric = False
    scale = numbers(reference) if numeric else categories(reference, current)
    threshold = settings.numeric_threshold if numeric else settings.categorical_threshold
    return Pair(scale, scale.codes(reference), scale.codes(current), of, threshold, alone, count)


def _same(values: NDArray[Any], constant: Any) -> NDArray[Any]:
    import numpy as np

    return np.where(values == constant, "the same", "another").astype(object)


def _verdict(
    subject: Subject,
    pair: Pair | None,
    usual_of: Callable[[str], Usual],
    settings: Drift,
    problems: Sequence[Problem],
    stretches: Stretches | None,
    *,
    measure: bool,
) -> ColumnDrift:
    numeric = pair.scale.method == "wasserstein" if pair is not None else subject.kind == "numeric"
    threshold = settings.numeric_threshold if numeric else settings.categorical_threshold
    statistic = None if pair is None else pair.distance
    usual = usual_of(subject.name) if statistic is not None and statistic >= threshold else None
    broken = next((problem for problem in problems if problem.broken), None)
    shift = _missing_shift(subject)
    lost = measure and any(problem.kind == "missing_share" for problem in problems)
    lost = lost and shift >= usual_shift(subject.reference.absent(), stretches, settings.categorical_threshold)
    beyond = usual is not None and statistic is not None and statistic > usual.bound
    reference, current, edges, labels = _sides(subject)
    return ColumnDrift(
        column=subject.name,
        role=subject.role,
        kind=subject.kind,
        method=None if pair is None else pair.scale.method,
        statistic=statistic,
        threshold=threshold,
        bound=None if usual is None else usual.bound,
        bound_by=None if usual is None else usual.by,
        missing_shift=shift,
        drifted=broken is not None or beyond or lost,
        broken=broken is not None,
        why=_why(broken, pair, usual, beyond=beyond, lost=lost, measure=measure),
        reference=reference,
        current=current,
        edges=edges,
        labels=labels,
    )


def _why(
    broken: Problem | None, pair: Pair | None, usual: Usual | None, *, beyond: bool, lost: bool, measure: bool
) -> str | None:
    """Return the verdict in words where the distance alone does not explain it."""
    if broken is not None:
        return f"{broken.kind.replace('_', ' ')}: got {broken.got}, expected {broken.expected}"
    if not measure:
        return "too few rows"
    if pair is None:
        return "no values on either side"
    if lost and not beyond:
        return "the share of missing values changed"
    if usual is None or beyond:
        return None
    by_stretches = usual.by == "stretches"
    return "within the range of stretches of the reference" if by_stretches else "within the noise of so few rows"


# ---------------------------------------------------------------- data quality


def _problems(subject: Subject, settings: Drift) -> Iterator[Problem]:
    """Yield what is wrong with a column of the window, whatever its distance."""
    if subject.problem is not None:
        yield subject.problem
    current = subject.current
    if current is None or not current.rows:
        return
    if current.infinite:
        got = f"{current.infinite} of {current.rows} values"
        yield _problem(subject, "infinite", got, "finite numbers")
    if not current.empty and not subject.reference.empty:
        if _missing_shift(subject) >= settings.categorical_threshold:
            usual = f"about {subject.reference.missing_share:.1%}"
            yield _problem(subject, "missing_share", f"{current.missing_share:.1%}", usual)
        yield from _lost_variety(subject, current)
        yield from _new_categories(subject, current) if subject.kind == "categorical" else _outside(subject, current)
    elif not current.empty:
        yield _problem(subject, "no_reference", "values", "none, as in the reference")
    elif not subject.reference.empty:
        yield _problem(subject, "all_missing", f"no value in {current.rows} rows", "values, as in the reference")


def _problem(subject: Subject, kind: ProblemKind, got: str, expected: str) -> Problem:
    return Problem(kind=kind, column=subject.name, got=shorten(got, 200), expected=shorten(expected, 200))


def _lost_variety(subject: Subject, current: Observed) -> Iterator[Problem]:
    if current.constant and not subject.reference.constant:
        yield _problem(subject, "constant", "one value in every row", "several, as in the reference")
    if subject.reference.constant and not current.constant:
        yield _problem(subject, "constant_reference", "several values", "one in every row, as in the reference")


def _new_categories(subject: Subject, current: Observed) -> Iterator[Problem]:
    reference = subject.reference
    new = {name: count for name, count in current.counts.items() if name not in reference.counts}
    if new and not reference.uncounted:
        named = ", ".join(repr(shorten(name, 30)) for name in sorted(new, key=lambda name: -new[name])[:_NAMED])
        got = f"{len(new)} in {sum(new.values()) / current.rows:.2%} of the rows: {named}"
        yield _problem(subject, "new_categories", got, "those of the reference")


def _outside(subject: Subject, current: Observed) -> Iterator[Problem]:
    if (found := outside(subject.reference, current)) is not None:
        yield _problem(subject, "out_of_range", *found)


def _missing_shift(subject: Subject) -> float:
    """Return by how much the share of missing values differs; labels and reference predictions may be incomplete."""
    current = subject.current
    if current is None or not current.rows or subject.role == "target":
        return 0.0
    usual = subject.reference.missing_share if subject.role == "feature" else 0.0
    return abs(current.missing_share - usual)


# ---------------------------------------------------------------- summaries


def _sides(subject: Subject) -> tuple[Side, Side | None, list[float], list[str]]:
    """Return both sides with shares in common bins, and what the bins are."""
    reference, current = subject.reference, subject.current
    samples = [reference.values(), current.values() if current is not None else reference.values()[:0]]
    edges: list[float] = []
    labels: list[str] = []
    shares: list[list[float]]
    if subject.kind == "numeric":
        edges, shares = _histograms(samples)
    else:
        labels, shares = _top_categories(samples)
    return (
        _side(reference, samples[0], shares[0]),
        None if current is None else _side(current, samples[1], shares[1]),
        edges,
        labels,
    )


def _side(observed: Observed, values: NDArray[Any], shares: list[float]) -> Side:
    import numpy as np

    mean = sd = None
    if observed.kind == "numeric" and len(values):
        with np.errstate(over="ignore", invalid="ignore"):
            mean, sd = (float(value) if np.isfinite(value) else None for value in (values.mean(), values.std()))
    return Side(
        rows=observed.rows,
        missing=observed.missing_share,
        low=observed.low,
        high=observed.high,
        mean=mean,
        sd=sd,
        categories=None if observed.kind == "numeric" else len(observed.counts),
        shares=shares,
    )


def _histograms(samples: Sequence[NDArray[Any]]) -> tuple[list[float], list[list[float]]]:
    """Return the edges of common bins over the middle 99 % of both samples, and the share of each in each."""
    import numpy as np

    pooled = np.concatenate(samples)
    low, high = (float(edge) for edge in np.quantile(pooled, [0.005, 0.995])) if len(pooled) else (0.0, 0.0)
    with np.errstate(over="ignore"):
        width = np.float64(high) - low
    if width <= 0 or not np.isfinite(width):
        return [], [[], []]
    shares = []
    for values in samples:
        place = ((np.clip(values, low, high) - low) / width * _BINS).astype(np.int64)
        counts = np.bincount(np.minimum(place, _BINS - 1), minlength=_BINS)
        shares.append([round(float(count) / max(1, len(values)), 5) for count in counts])
    return [float(low + width * (step / _BINS)) for step in range(_BINS + 1)], shares


def _top_categories(samples: Sequence[NDArray[Any]]) -> tuple[list[str], list[list[float]]]:
    """Return the categories that are frequent on either side, and the share of each in each."""
    import pandas as pd

    tables = [pd.Series(values, dtype=object).value_counts(normalize=True).to_dict() for values in samples]
    names = {*tables[0], *tables[1]}
    top = sorted(names, key=lambda name: (-max(table.get(name, 0.0) for table in tables), name))[:_LABELS]
    shares = [[round(float(table.get(name, 0.0)), 5) for name in top] for table in tables]
    return [shorten(name, 60) for name in top], shares
