"""The card of a version: what it was made of, what it is worth, where it fails, what it is for.

Its parts follow Mitchell et al., "Model Cards for Model Reporting" (2019).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from airflow_mlops_provider.as_of import as_of_text
from airflow_mlops_provider.evaluation.card_limits import measured_limits
from airflow_mlops_provider.evaluation.card_sections import (
    LONG,
    SHOWN,
    STORED,
    gates_line,
    gates_section,
    interval,
    name_cell,
    number,
    slice_name,
)
from airflow_mlops_provider.evaluation.error_sections import (
    calibration_bins,
    calibration_curves,
    confusion_matrix,
    residual_sections,
)
from airflow_mlops_provider.evaluation.judgement_page import explanation_sections, fairness_sections
from airflow_mlops_provider.evaluation.metrics import gain
from airflow_mlops_provider.evaluation.plausibility import too_good
from airflow_mlops_provider.exceptions import shorten
from airflow_mlops_provider.reports import Cell, facts, page, points, share_bar, shown_of, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_mlops_provider.evaluation.card_facts import CardFacts, ServingFacts
    from airflow_mlops_provider.evaluation.probe_report import Latency
    from airflow_mlops_provider.evaluation.report import EvaluationReport, Slice
    from airflow_mlops_provider.evaluation.verdicts import Verdicts
    from airflow_mlops_provider.modeling.splits import SplitPlan

_NOT_SAID = "Not stated. Add it to section card of the pipeline file."
_VALUE = 200
_FOOTER = (
    "Calibration error: mean distance between predicted probability and observed share over bins of equal size "
    "(Naeini et al. 2015). Importance: how much the first metric drops when a feature is shuffled (Breiman 2001)."
)


def model_card(card: CardFacts, report: EvaluationReport, verdicts: Verdicts) -> str:
    """Return the page. Nothing in it but the latency depends on when or where it is made."""
    lines = [
        Cell(
            f"{report.winner} ({card.estimator}) for {shorten(card.target, LONG)}, trained on data known at "
            f"{as_of_text(report.as_of)}: {report.rows.training:,} rows, measured on {report.rows.holdout:,} "
            "held-out rows."
        ),
        *([] if card.refitted is None else [Cell(_refitted(card.refitted, card, report))]),
        gates_line(verdicts.verdicts),
        *(Cell(f"{remark}.", "warn") for remark in too_good(report)),
    ]
    sections = [
        *_purpose(card, report),
        _data(card),
        _features(card, report),
        _metrics(report),
        *_errors(report),
        *_slices(report),
        gates_section(verdicts.verdicts),
        *fairness_sections(report.fairness),
        *explanation_sections(report.explanation),
        _model(card, report, verdicts.latency),
        _lineage(card, report),
    ]
    return page(
        f"Model card: {card.model}, version {card.version}", lines, sections, f"{report.intervals_by} {_FOOTER}"
    )


def _refitted(serves: ServingFacts, card: CardFacts, report: EvaluationReport) -> str:
    to = "" if card.trained_to is None else f", the last from {card.trained_to}"
    return (
        f"The serving model was then refitted on all {serves.rows:,} rows{to}. All figures are those of the judged "
        f"model, which was fitted on {report.rows.training:,}: no rows are left to measure the serving model on."
    )


def _purpose(card: CardFacts, report: EvaluationReport) -> list[str]:
    about = card.about
    predictions = [
        ("Intended use", about.intended_use or _NOT_SAID),
        ("Out of scope", about.out_of_scope or _NOT_SAID),
        ("Ethics", about.ethics or None),
        ("Contact", about.contact or None),
    ]
    return [
        facts("Intended use", predictions),
        points("Limits", [*about.limits, *measured_limits(card, report)]),
    ]


def _data(card: CardFacts) -> str:
    data, split = card.data, card.split
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in data.excluded.items() if count)
    shares = ", ".join(f"{shorten(name, LONG)} {share:.1%}" for name, share in list(split.class_shares.items())[:20])
    more = len(split.class_shares) - 20
    return facts(
        "Data",
        [
            ("Source", shorten(data.source, 500)),
            ("Rows", f"{data.rows:,}" + (f"; left out: {left_out}" if left_out else "")),
            ("Time", None if data.first is None else f"{data.first} to {data.last}"),
            ("Window", data.window),
            ("Label delay", data.label_delay),
            ("Digest", f"sha256 {data.digest}"),
            ("Target", shorten(card.target, LONG)),
            ("Classes", f"{shares}{f' and {more} more' if more > 0 else ''}" if shares else None),
            ("Held out", _split(split)),
            (
                "Personal data",
                _several([f"{name}: {predictions}" for name, predictions in data.privacy.items()]) or None,
            ),
        ],
    )


def _split(split: SplitPlan) -> str:
    how = {"time": "the latest rows", "random": "rows at random", "cross_validation": f"each of {split.folds} folds"}
    predictions = [f"{how[split.by]}: {split.rows_holdout:,} rows"]
    if split.kind is not None:
        predictions.append(f"by {split.kind.replace('_', ' ')}")
    if split.group is not None:
        predictions.append(f"with rows of the same {shorten(split.group, LONG)} together")
    if split.boundary is not None:
        predictions.append(f"from {split.boundary} on")
    if split.rows_embargoed:
        predictions.append(f"after an embargo of {split.rows_embargoed:,} rows")
    return ", ".join(predictions)


def _features(card: CardFacts, report: EvaluationReport) -> str:
    kinds = report.features
    measured = {} if report.importance is None else report.importance.columns
    ordered = sorted(kinds, key=lambda name: -measured[name].mean if name in measured else float("inf"))
    shown, note = shown_of(ordered, SHOWN, "features, by importance", STORED)
    top = max((one.mean for one in measured.values()), default=0.0) or 1.0
    rows = []
    for name in shown:
        cells = [name_cell(name), Cell(kinds[name], "whole")]
        if (one := measured.get(name)) is None:
            rows.append([*cells, Cell("–", "number"), Cell("")])
            continue
        bar = share_bar(one.mean / top, f"{one.mean:.3g}")
        rows.append([*cells, Cell(f"{one.mean:.3g} ± {one.sd:.1g}", "number"), Cell("", figure=bar)])
    about = "Importance" if report.importance is None else f"Importance: drop in {report.importance.metric}"
    if report.importance is not None and report.importance.in_sample:
        about += ", on its training rows"
    return table(f"Features: {len(kinds)}", ["Feature", "Kind", about, ""], rows, note)


def _metrics(report: EvaluationReport) -> str:
    rows = []
    confidence = {span.confidence for span in report.intervals.values()}
    for name in report.metrics:
        worst = report.worst_slices.get(name)
        where = "" if worst is None else slice_name(worst.column, worst.value)
        rows.append(
            [
                Cell(name, "whole"),
                number(report.challenger.metrics.get(name)),
                interval(report.intervals.get(name)),
                number(report.baseline.metrics.get(name)),
                Cell("–" if worst is None else f"{worst.metric:.4g} ({where}, {worst.rows:,} rows)", "text"),
            ]
        )
    span = f"{confidence.pop():.0%} interval" if len(confidence) == 1 else "Interval"
    return table("Metrics", ["Metric", "Value", span, "Dummy", "Worst slice"], rows, _beside(report))


def _beside(report: EvaluationReport) -> str:
    if report.champion is None:
        return "There was no champion to compare it with."
    return f"It was compared with version {report.champion.version}, the champion at that time, on a separate page."


def _errors(report: EvaluationReport) -> list[str]:
    found: list[str] = []
    if (calibration := report.challenger.calibration) is not None:
        found += [*calibration_curves({"observed": calibration}), calibration_bins(calibration)]
    if report.confusion is not None:
        found.append(confusion_matrix(report.confusion))
    if report.residuals is not None:
        found += residual_sections(report.residuals)
    return found


def _slices(report: EvaluationReport) -> list[str]:
    if not report.slices:
        return []
    metric = report.metrics[0]

    def badness(one: Slice) -> float:
        value = one.metrics.get(metric)
        return float("-inf") if value is None else gain(metric, value, 0.0)

    shown, note = shown_of(sorted(report.slices, key=badness), SHOWN, f"slices, the worst by {metric} first", STORED)
    rows = [
        [
            name_cell(slice_name(one.column, one.value)),
            Cell(f"{one.rows:,}", "number"),
            *(number(one.metrics.get(name)) for name in report.metrics),
        ]
        for one in shown
    ]
    return [table("Slices", ["Slice", "Rows", *report.metrics], rows, note)]


def _model(card: CardFacts, report: EvaluationReport, latency: Latency | None) -> str:
    params = [f"{name} = {shorten(json.dumps(value), _VALUE)}" for name, value in card.params.items()]
    return facts(
        "Model",
        [
            ("Estimator", card.estimator),
            ("Parameters", _several(params) or "the estimator's defaults"),
            ("Threshold", None if card.threshold is None else f"{card.threshold:.4g}"),
            ("Trained to", card.trained_to),
            ("Judged model", None if card.refitted is None else f"sha256 {card.refitted.judged}"),
            ("Size", f"{card.size / 1e6:,.2f} MB"),
            *_speed(latency),
            ("Others", _others(report)),
            ("Requirements", _several(card.requirements)),
        ],
    )


def _others(report: EvaluationReport) -> str:
    names = _several(sorted(report.candidates))
    if (held := report.held_back) is None:
        return f"the best of {len(report.candidates)}: {names}"
    return f"the champion's recipe, while {held.candidate}, the best of {names}, is not proven better"


def _speed(latency: Latency | None) -> list[tuple[str, str]]:
    if latency is None:
        return []
    return [
        ("Latency", f"one row in {latency.p50_ms:.2f} ms (median), {latency.p95_ms:.2f} ms (95th percentile)"),
        ("Throughput", f"{latency.rows_per_second:,.0f} rows per second, on one thread"),
    ]


def _lineage(card: CardFacts, report: EvaluationReport) -> str:
    return facts(
        "Lineage",
        [
            ("1. Dataset", f"sha256 {card.data.digest}"),
            ("2. Training", f"candidate {report.winner}, step key {card.training}"),
            ("3. Evaluation", f"step key {card.evaluation}"),
            ("4. MLflow run", f"{card.run_id} of experiment {card.experiment_id}"),
            ("5. Version", f"{card.model}, version {card.version}"),
            ("Model's digest", card.digest),
            ("Pipeline", f"{card.pipeline}, airflow-mlops-provider {card.package}"),
        ],
    )


def _several(texts: Sequence[str]) -> str:
    more = len(texts) - SHOWN
    return ", ".join(shorten(text, _VALUE + LONG) for text in texts[:SHOWN]) + (f" and {more} more" if more > 0 else "")
