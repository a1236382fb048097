"""How often the labels confirm what was estimated without them: the flights of 2013, day by day.

On the first of each month, from February on, one candidate is trained by the pipeline's own steps on what was known,
and evaluated; then every day until the next is scored, estimated (CBPE) and, at last, held against its labels:

    python benchmarks/estimated_performance.py [--candidate boosting] [--days 1] [--confidence 0.95] [--frames FOLDER]

`--days 7` takes windows of a week, as the pipeline does. `--frames` writes what is needed to make the same figures by
other means: `reference_MM.parquet` and `window_MM.parquet`, with `day`, `y_true`, `y_pred`, `y_pred_proba` and, in the
windows, the estimates.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from airflow_mlops_provider.allow_list import AllowList
from airflow_mlops_provider.backtest.steps import Steps
from airflow_mlops_provider.data.tables import read_table
from airflow_mlops_provider.evaluation.metrics import measure_all, predictions_of
from airflow_mlops_provider.job import Champion
from airflow_mlops_provider.monitoring.estimated_performance import Reference, Unlabelled, estimate
from airflow_mlops_provider.monitoring.held_out_reference import read_reference
from airflow_mlops_provider.pipelines import load_pipeline
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_mlops_provider.monitoring.estimate_report import Estimate

ROOT = Path(__file__).resolve().parents[1]
METRICS = ["roc_auc", "log_loss", "brier", "accuracy", "average_precision", "f1"]


@dataclass
class Tally:
    """What came of the days."""

    inside: dict[str, list[bool]] = field(default_factory=lambda: {name: [] for name in METRICS})
    by_chance: dict[str, list[bool]] = field(default_factory=lambda: {name: [] for name in METRICS})
    errors: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in METRICS})
    halves: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in METRICS})

    def add(self, found: dict[str, Estimate], realised: dict[str, Any]) -> None:
        """Count one window."""
        for name in METRICS:
            one, truth = found[name], realised[name].value
            if (held := one.holds(truth)) is None or one.value is None or one.chance is None:
                continue
            self.inside[name].append(held)
            self.by_chance[name].append(abs(one.value - truth) <= 1.96 * one.chance)
            self.errors[name].append(abs(one.value - truth))
            self.halves[name].append(((one.high or 0.0) - (one.low or 0.0)) / 2)

    def lines(self) -> list[str]:
        """Return the table."""
        return [
            f"| {name} | {len(self.inside[name])} | {np.mean(self.inside[name]):.1%} | "
            f"{np.mean(self.by_chance[name]):.1%} | {np.mean(self.errors[name]):.4f} | "
            f"{np.mean(self.halves[name]):.4f} |"
            for name in METRICS
        ]


def main() -> None:
    """Replay the year, and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--candidate", default="boosting")
    parser.add_argument("--days", type=int, default=1)
    parser.add_argument("--confidence", type=float, default=0.95)
    parser.add_argument("--frames", type=Path)
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT / "plugins"))
    pipeline = load_pipeline(ROOT / "config" / "pipelines" / "flight_delays.yaml")
    pipeline = pipeline.model_copy(
        update={
            "evaluation": pipeline.evaluation.model_copy(update={"metrics": METRICS, "importance": None, "slices": []})
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        allowed = AllowList(plugins_folder=str(ROOT / "plugins"))
        steps = Steps(pipeline, ArtifactStore(folder), allowed)
        tally = Tally()
        for month in range(2, 13):
            replay_month(steps, month, arguments, tally)
            share = {name: round(float(np.mean(tally.inside[name])), 3) for name in METRICS}
            print(f"until the end of month {month}: {json.dumps(share)}", flush=True)
    print(f"\n{arguments.candidate}, windows of {arguments.days} day(s), stated at {arguments.confidence:.0%}\n")
    print("| Metric | Windows | Inside the interval | Inside chance alone | Mean error | Mean half width |")
    print("| --- | --- | --- | --- | --- | --- |")
    print("\n".join(tally.lines()))


def replay_month(steps: Steps, month: int, arguments: argparse.Namespace, tally: Tally) -> None:
    """Train at the first of a month, score the month, and estimate each of its days as the estimate step does."""
    as_of = datetime(2013, month, 1, tzinfo=UTC)
    champion = trained(steps, as_of, arguments.candidate)
    reference, _ = read_reference(steps.store, champion)
    if reference is None:
        raise SystemExit("the champion has no reference")
    end = datetime(2013, month + 1, 1, tzinfo=UTC) if month < 12 else datetime(2014, 1, 1, tzinfo=UTC)
    rows, scores = scored(steps, end, as_of, champion)
    frames = []
    day = as_of + timedelta(days=arguments.days)
    while day <= end:
        inside = rows["at"].between(day - timedelta(days=arguments.days), day, inclusive="left").to_numpy()
        truth, chosen = rows["late"].to_numpy()[inside], scores[inside]
        found = estimate(
            METRICS,
            Unlabelled("binary", (0, 1), chosen),
            reference,
            confidence=arguments.confidence,
            rows=len(chosen),
            holdout={},
            seed=steps.pipeline.seed,
        )
        realised = measure_all(METRICS, predictions_of("binary", truth, chosen, (0, 1)))
        tally.add(found, realised)
        frames.append(frame_of(day, truth, chosen, found))
        day += timedelta(days=1)
    if arguments.frames is not None:
        write_frames(month, reference, frames, arguments.frames)


def scored(steps: Steps, end: datetime, start: datetime, champion: Champion) -> tuple[pd.DataFrame, NDArray[Any]]:
    """Return when the rows of a month were and whether they were late, and the champion's probabilities."""
    window = steps.ingest(end, "scoring", start)
    scored = steps.run("score", as_of=end, section={}, inputs={"dataset": [window]}, champion=champion)
    rows = read_table(steps.store, window.artifacts["dataset"], ["scheduled_departure", "late"])
    scores = read_table(steps.store, scored.artifacts["predictions"], ["p_0", "p_1"]).to_numpy()
    return rows.rename(columns={"scheduled_departure": "at"}), scores


def trained(steps: Steps, as_of: datetime, name: str) -> Champion:
    """Return a candidate trained on what was known, as the ledger would name it."""
    pipeline = steps.pipeline
    dataset = steps.ingest(as_of)
    split = steps.run(
        "prepare", as_of=as_of, section=pipeline.preparation.model_dump(mode="json"), inputs={"dataset": [dataset]}
    )
    candidate = pipeline.training.candidates[name].model_dump(mode="json", exclude_defaults=True)
    inputs = {"dataset": [dataset], "split": [split]}
    model = steps.run("train", as_of=as_of, section={"name": name, "candidate": candidate}, inputs=inputs)
    section = {
        "evaluation": pipeline.evaluation.model_dump(mode="json", exclude_defaults=True),
        "metrics": METRICS,
        "candidates": [name],
    }
    evaluation = steps.run("evaluate", as_of=as_of, section=section, inputs={**inputs, "models": [model]})
    return Champion(
        seq=as_of.month,
        version=as_of.month,
        digest=str(model.facts["digest"]),
        model=evaluation.artifacts["model"],
        order_key=as_of,
        reference=evaluation.artifacts["reference"],
        evaluation=evaluation.artifacts["evaluation"],
    )


def frame_of(day: datetime, truth: NDArray[Any], scores: NDArray[Any], found: dict[str, Estimate]) -> pd.DataFrame:
    """Return a window's rows, with its estimates."""
    frame = pd.DataFrame({"y_true": truth, "y_pred_proba": scores[:, 1], "y_pred": (scores[:, 1] > 0.5).astype(int)})
    return frame.assign(day=day, **{name: one.value for name, one in found.items()})


def write_frames(month: int, reference: Reference, windows: list[pd.DataFrame], folder: Path) -> None:
    """Write the rows that a month's estimates come from, and those that they are of."""
    folder.mkdir(parents=True, exist_ok=True)
    score = reference.unlabelled.scores[:, 1]
    rows = pd.DataFrame({"y_true": reference.truth, "y_pred_proba": score, "y_pred": (score > 0.5).astype(int)})
    rows.to_parquet(folder / f"reference_{month:02}.parquet")
    pd.concat(windows).to_parquet(folder / f"window_{month:02}.parquet")


if __name__ == "__main__":
    main()
