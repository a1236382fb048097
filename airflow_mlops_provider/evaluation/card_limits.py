"""What a card warns of by itself: what the evaluation shows to be weak, or does not show at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_mlops_provider.evaluation.card_sections import LONG, slice_name
from airflow_mlops_provider.exceptions import shorten

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_mlops_provider.evaluation.card_facts import CardFacts
    from airflow_mlops_provider.evaluation.report import EvaluationReport
    from airflow_mlops_provider.modeling.splits import SplitPlan

_SHOWN = 10


def measured_limits(card: CardFacts, report: EvaluationReport) -> list[str]:
    """Return what to bear in mind, one sentence each."""
    return [*_of_data(card), *_of_figures(report), *_of_parts(report)]


def _of_data(card: CardFacts) -> Iterator[str]:
    # Of a holdout by time the model is what was fitted before it; of folds, what was fitted on every row.
    if card.split.by == "time" and card.split.boundary is not None:
        yield f"It has not seen data from {card.split.boundary} on."
    elif card.data.last is not None:
        yield f"It has not seen data after {card.data.last}."
    yield from _of_split(card.split)
    for warning in card.split.warnings[:_SHOWN]:
        yield f"Warning from preparation: {shorten(warning, 300)}"


def _of_split(split: SplitPlan) -> Iterator[str]:
    if split.by == "cross_validation":
        yield "It was fitted on every row: the figures come from models that were each fitted without one fold."
    if not split.in_time and split.columns.timestamp is not None:
        yield "Rows were not held out by time, so the figures say little about later data."
    if split.dropped:
        named = [f"{shorten(name, LONG)} ({share:.1%} missing)" for name, share in split.dropped.items()]
        yield f"Dropped features: {_several(named)}."


def _of_figures(report: EvaluationReport) -> Iterator[str]:
    for name, why in report.challenger.undefined.items():
        yield f"{name} is undefined: {why}."
    if (bias := report.optimism) is not None and bias.value > 0:
        yield (
            f"It was chosen as the best of {bias.candidates} on the same rows, so its {bias.metric} looks better "
            f"than it is by about {bias.value:.2g}."
        )
    if (drawn := report.resampled) is not None and drawn.few:
        yield (
            f"Only {drawn.units} groups by {shorten(str(drawn.group), LONG)} are held out: the intervals miss the true "
            "value more often than they state."
        )
    if report.lost:
        yield f"Candidates that did not finish and were not compared: {_several(report.lost)}."
    if (importance := report.importance) is None or importance.why:
        yield f"Feature importance was not measured{'' if importance is None else f': {importance.why}'}."


def _of_parts(report: EvaluationReport) -> Iterator[str]:
    metric = report.metrics[0]
    worst, whole = report.worst_slices.get(metric), report.challenger.metrics.get(metric)
    if worst is not None and whole is not None:
        where = f"{slice_name(worst.column, worst.value)} ({worst.rows:,} rows)"
        yield f"Its {metric} is worst where {where}: {worst.metric:.4g}, against {whole:.4g} overall."
    if not report.slices:
        yield "No slice was measured: it may predict some rows far worse than its figures suggest."
    for column, count in list(report.too_small.items())[:_SHOWN]:
        if count:
            yield f"{count} value{'s' * (count > 1)} of {shorten(column, LONG)} had too few rows to be measured."
    if report.fairness is None:
        yield "Whether it is worse for some groups of people was not evaluated (evaluation.fairness)."


def _several(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
