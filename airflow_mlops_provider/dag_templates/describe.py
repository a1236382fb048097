"""The documentation of a generated DAG, in Markdown, from its pipeline."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_mlops_provider.redaction import shown
from airflow_mlops_provider.spec import Monitoring

if TYPE_CHECKING:
    from airflow_mlops_provider.spec import Gate, Pipeline


_WHAT_SERVES = ("", "A model that passes the gates is fitted again on all rows, holdout included, and then serves.")


def training_doc(pipeline: Pipeline) -> str:
    """Return what the training DAG's page says."""
    data, split = pipeline.data, pipeline.preparation.split
    place = data.source.uri and shown(data.source.uri)
    source = data.source.reader or place or f"a query through `{data.source.conn_id}`"
    folds = f"{split.folds} folds, {split.kind.replace('_', ' ')}"
    held_out = folds if split.by == "cross_validation" else f"{split.holdout:.0%} held out"
    lines = [
        f"### {pipeline.name}",
        pipeline.description,
        "",
        f"A **{pipeline.task}** model that predicts `{data.columns.target}`, trained on data from `{source}`. "
        f"It uses {len(data.columns.features)} features, and the rows are split by "
        f"{split.by.replace('_', ' ')} ({held_out}). "
        f"The first of the metrics {', '.join(f'`{metric}`' for metric in pipeline.metrics)} decides.",
        "",
        "| candidate | estimator |",
        "|---|---|",
        *(f"| {name} | `{candidate.estimator}` |" for name, candidate in pipeline.training.candidates.items()),
        "",
        "| gate | condition | if not met |",
        "|---|---|---|",
        *(f"| {gate.label} | {_rule(gate)} | {gate.on_fail} |" for gate in pipeline.gates),
        "",
        f"The champion has the alias `champion` of the MLflow model `{pipeline.model_name}`. A challenger that is not "
        "better is not an error: the run is green, and `promote` is skipped with the reason. If a run is red, a person "
        "must act.",
        *(_WHAT_SERVES if pipeline.training.refit == "all" and split.by != "cross_validation" else ()),
    ]
    return "\n".join(lines)


def scoring_doc(pipeline: Pipeline) -> str:
    """Return what the scoring DAG's page says."""
    scoring, timestamp = pipeline.scoring, pipeline.data.columns.timestamp
    window = "all rows" if scoring is None or timestamp is None else f"the rows of the {scoring.window} before `as_of`"
    lines = [
        f"### Predictions of {pipeline.name}",
        "",
        f"Scores {window} with the champion of the MLflow model `{pipeline.model_name}`. It runs at each interval of "
        "the pipeline's schedule, and again whenever the champion changes. While there is no champion, `score` is "
        "skipped.",
        "",
        f"The predictions of each `as_of` are one file in the artifact store, which is replaced as a whole: "
        f"`predictions/{pipeline.name}/as_of=…/predictions.parquet`.",
    ]
    if scoring is not None and scoring.shadow:
        lines += ["", "The alias `challenger` scores the same rows into `predictions_shadow/`, for comparison."]
    return "\n".join(lines)


def rollback_doc(pipeline: Pipeline) -> str:
    """Return what the rollback DAG's page says."""
    model = pipeline.model_name
    lines = [
        f"### Roll {pipeline.name} back to an earlier champion",
        "",
        f"Makes an earlier version of the MLflow model `{model}` its champion again, by adding an entry to the ledger. "
        "The version that serves now goes into quarantine: it is not promoted again unless a training run lifts the "
        "quarantine.",
        "",
        "| to | means |",
        "|---|---|",
        "| `previous` | the champion before this one; each further rollback goes further back |",
        "| `3` | version 3, which must have been champion once |",
        "| `2026-03-01`, `2026-03-01T06:00:00Z` | the version that served at that moment |",
        "",
        "```",
        f'airflow dags trigger {pipeline.name}_rollback --conf \'{{"to": "previous", "reason": "…"}}\'',
        "```",
    ]
    return "\n".join(lines)


def monitoring_doc(pipeline: Pipeline) -> str:
    """Return what the monitoring DAG's page says."""
    policy = pipeline.watched or Monitoring()
    governor, name = policy.retraining, policy.live.metric or pipeline.metrics[0]
    lines = [
        f"### Monitoring of {pipeline.name}",
        "",
        "Decides each scored window once: keep the champion, retrain, or roll back. The decisions and their reasons "
        f"are stored in MLflow's experiment `decisions/{pipeline.model_name}`.",
        "",
        "| rule | when | what follows |",
        "|---|---|---|",
        "| incident | a column that the champion uses is missing, has another type or is stuck at one value "
        "| no retraining |",
        f"| probation | within {_span(policy.probation.length)} of its promotion, `{name}` is worse than the former "
        f"champion's by more than {policy.probation.margin or 0:g}, on the same rows of all windows since then "
        "| roll back, once |",
        f"| decay | `{name}` is worse than on the holdout by more than {policy.live.margin:.0%} of {_share_of(policy)} "
        "| retrain |",
        f"| drift | columns with {policy.drift.share:.0%} of the champion's importance drifted, or its predictions did "
        "| retrain |",
        *([f"| stale | its last row is older than {_span(policy.max_age)} | retrain |"] if policy.max_age else []),
        "",
        f"Monitoring requests a retraining after {governor.after} bad windows in a row, but not within "
        f"{_span(governor.cooldown)} of the last request, not more than {governor.budget} times within "
        f"{_span(governor.period)}, and not with fewer than {governor.min_rows:,} new rows.",
    ]
    return "\n".join(lines)


def _span(span: timedelta) -> str:
    days = span / timedelta(days=1)
    return f"{days:g} day{'' if days == 1 else 's'}"


def _rule(gate: Gate) -> str:
    """Return a gate's settings in a line."""
    settings = gate.model_dump(mode="json", exclude={"kind", "name", "on_fail"}, exclude_none=True)
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in settings.items()) or gate.kind


def _share_of(policy: Monitoring) -> str:
    return "that value" if policy.live.margin_of == "value" else "the champion's advantage over a dummy there"
