"""What the model that serves is worth on the days after it was trained, with and without a refit.

For each of nine dates, the first of a month from April on, the shipped flights are trained by the package's own steps
on what was known then, without a champion to compare with. What serves, fitted anew on all rows or as it was judged, is
then asked for the flights of the next seven days.

Usage: nice python benchmarks/refit.py [--days 7] [--dates 2013-04-01 2013-07-01 …] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "plugins")]

DATES = [f"2013-{month:02}-01" for month in range(4, 13)]
METRICS = ["roc_auc", "log_loss"]


def main() -> None:
    """Measure each date, and print the means."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--dates", nargs="+", default=DATES)
    parser.add_argument("--store", default=str(PROJECT / ".bench" / "refit"), help="where steps keep their results")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    running = _steps(args.store)
    rows = []
    print(f"{'as of':<11}{'winner':<10}" + "".join(f"{f'{name} {refit}':>16}" for name in METRICS for refit in _BOTH))
    for text in args.dates:
        found = _of(running, datetime.fromisoformat(text).replace(tzinfo=UTC), timedelta(days=args.days))
        rows.append({"as_of": text, **found})
        cells = [f"{found[refit][name]:>16.4f}" for name in METRICS for refit in _BOTH]
        print(f"{text:<11}{found['winner']:<10}" + "".join(cells), flush=True)
    means = {refit: {name: float(np.mean([row[refit][name] for row in rows])) for name in METRICS} for refit in _BOTH}
    cells = [f"{means[refit][name]:>16.4f}" for name in METRICS for refit in _BOTH]
    print(f"{'mean':<21}" + "".join(cells))
    if args.out is not None:
        args.out.write_text(json.dumps({"days": args.days, "dates": rows, "means": means}, indent=1) + "\n")


_BOTH = ("none", "all")


def _steps(store: str) -> Any:
    from airflow_mlops_provider.allow_list import AllowList
    from airflow_mlops_provider.backtest.steps import Steps
    from airflow_mlops_provider.pipelines import load_pipeline
    from airflow_mlops_provider.storage import ArtifactStore

    pipeline = load_pipeline(PROJECT / "config" / "pipelines" / "flight_delays.yaml")
    # What a machine measures is not asked here.
    pipeline = pipeline.model_copy(update={"gates": [gate for gate in pipeline.gates if gate.kind != "latency"]})
    return Steps(pipeline, ArtifactStore(store), AllowList(plugins_folder=str(PROJECT / "plugins")))


def _of(running: Any, as_of: datetime, span: timedelta) -> dict[str, Any]:
    from airflow_mlops_provider.backtest.training import candidates, evaluated, judged
    from airflow_mlops_provider.effects.refitting import refit_work

    evaluation = evaluated(running, as_of, [], candidates(running, as_of))
    gate = judged(running, evaluation)
    after = running.ingest(as_of + span + running.pipeline.data.label_delay, "live", as_of)
    found: dict[str, Any] = {"winner": str(evaluation.facts["winner"]), "passed": gate.facts["passed"]}
    for refit in _BOTH:
        section, inputs = refit_work(running.store, evaluation, gate, refit=refit)
        served = running.run("refit", as_of=as_of, section=section, inputs=inputs)
        found[refit] = {
            "trained_to": served.facts["trained_to"],
            "failure": None if served.failure is None else served.failure.what,
            **_measured(running, served, after),
        }
    return found


def _measured(running: Any, served: Any, after: Any) -> dict[str, float]:
    """Return the metrics of a model on a snapshot of labelled rows."""
    from airflow_mlops_provider.data.tables import read_table, table_info
    from airflow_mlops_provider.evaluation.holdout import predict_rows
    from airflow_mlops_provider.evaluation.metrics import measure_all, predictions_of
    from airflow_mlops_provider.modeling.model_file import load_model

    store, ref = running.store, after.artifacts["dataset"]
    info = table_info(store, ref)
    pipeline = load_model(store, served.artifacts["model"], running.allow_list)
    truth = read_table(store, ref, [info.columns.target])[info.columns.target].to_numpy()
    scores = predict_rows(store, ref, np.arange(len(truth)), pipeline, info.task)
    predictions = predictions_of(info.task, truth, scores, pipeline.classes_.tolist())
    return {name: float(value) for name, (value, _) in measure_all(METRICS, predictions).items() if value is not None}


if __name__ == "__main__":
    main()
