"""A bayesian search of the flights' boosting: what it finds, and what it costs beside the same trials by hand.

Each contestant is a process of its own, timed whole, imports included, with one OpenMP thread:

- `search`: the step `train` with a search.
- `by hand`: the parameters of the same trials, one after another through scikit-learn's `cross_val_score` on a plain
  Pipeline of the same parts, then the best of them fitted and asked for the holdout, as `train` does.
- `two shards`: the same search spread over two `search` steps at once, then `train`, which takes their trials.

Then the trials are published to an empty MLflow on SQLite, as many again and again up to 200.

Usage: python benchmarks/search.py [--as-of 2013-09-12] [--trials 30] [--method bayesian]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "plugins")]

BENCH = PROJECT / ".bench" / "search"
SPACE: dict[str, Any] = {
    "learning_rate": {"low": 0.02, "high": 0.3, "log": True},
    "max_iter": [50, 100, 200],
    "max_leaf_nodes": {"low": 8, "high": 128, "log": True, "int": True},
    "min_samples_leaf": {"low": 10, "high": 1000, "log": True, "int": True},
    "l2_regularization": {"low": 0.001, "high": 30, "log": True},
    "max_features": {"low": 0.3, "high": 1.0},
}


def steps(store: str) -> Any:
    from airflow_mlops_provider.allow_list import AllowList
    from airflow_mlops_provider.backtest.steps import Steps
    from airflow_mlops_provider.pipelines import load_pipeline
    from airflow_mlops_provider.storage import ArtifactStore

    pipeline = load_pipeline(PROJECT / "config" / "pipelines" / "flight_delays.yaml")
    return Steps(pipeline, ArtifactStore(store), AllowList(plugins_folder=str(PROJECT / "plugins")))


def prepare(as_of: datetime) -> dict[str, Any]:
    """Return dataset and split, made in a store of their own."""
    running = steps(str(BENCH / "data"))
    dataset = running.ingest(as_of)
    section = running.pipeline.preparation.model_dump(mode="json")
    split = running.run("prepare", as_of=as_of, section=section, inputs={"dataset": [dataset]})
    return {"dataset": [dataset], "split": [split]}


def candidate(search: dict[str, Any] | None) -> dict[str, Any]:
    chosen = steps(str(BENCH / "data")).pipeline.training.candidates["boosting"].model_dump(exclude_defaults=True)
    return {**chosen, "search": search} if search else chosen


def contestant(name: str, order: dict[str, Any]) -> dict[str, Any]:
    """Run one contestant in here."""
    if name == "by_hand":
        return by_hand(order)
    from airflow_mlops_provider.results import StepResult

    inputs = {role: [StepResult.model_validate(value)] for role, value in order["inputs"].items()}
    as_of = datetime.fromisoformat(order["as_of"])
    running = steps(order["store"])
    step = "search" if "shard" in order["section"] else "train"
    result = running.run(step, as_of=as_of, section=order["section"], inputs=inputs)
    value: dict[str, Any] = result.model_dump(mode="json")
    return value


def by_hand(order: dict[str, Any]) -> dict[str, Any]:
    """Fit the trials as one would without any of this."""
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.model_selection import TimeSeriesSplit, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder
    from threadpoolctl import threadpool_limits

    numeric, categorical = order["numeric"], order["categorical"]
    frame = pd.read_parquet(order["dataset"]).sort_values("scheduled_departure", kind="stable")
    boundary = pd.Timestamp(order["boundary"])
    train = frame[frame["scheduled_departure"] < boundary]
    held = frame[frame["scheduled_departure"] >= boundary]

    def pipeline(params: dict[str, Any]) -> Any:
        texts = make_pipeline(
            SimpleImputer(strategy="constant", fill_value="missing"),
            OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        )
        columns = ColumnTransformer([("n", "passthrough", numeric), ("c", texts, categorical)])
        return make_pipeline(columns, HistGradientBoostingClassifier(random_state=42, **params))

    with threadpool_limits(1):
        scores = [
            -cross_val_score(
                pipeline(params), train, train["late"], cv=TimeSeriesSplit(order["cv"]), scoring="neg_log_loss"
            ).mean()
            for params in order["trials"]
        ]
        best = pipeline(order["trials"][min(range(len(scores)), key=scores.__getitem__)])
        best.fit(train, train["late"]).predict_proba(held)
    return {"best": min(scores)}


def run(name: str, order: dict[str, Any]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, __file__, "--contestant", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    if process.stdin is not None:
        process.stdin.write(json.dumps(order))
        process.stdin.close()
        process.stdin = None
    return process


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"a contestant failed with {process.returncode}")
    answer: dict[str, Any] = json.loads(out.splitlines()[-1])
    return answer


def store(name: str) -> str:
    """Return a store with the data and without a trial."""
    target = BENCH / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(BENCH / "data", target)
    return str(target)


def holdout(where: str, inputs: dict[str, Any], trained: dict[str, Any], as_of: datetime) -> dict[str, float]:
    """Return the metrics of a trained candidate on the holdout."""
    from airflow_mlops_provider.results import StepResult

    running = steps(where)
    section = {
        "evaluation": {"importance": None, "bootstrap": {"resamples": 20}},
        "metrics": running.pipeline.metrics,
        "candidates": ["boosting"],
    }
    every = {**inputs, "models": [StepResult.model_validate(trained)]}
    metrics: dict[str, float] = running.run("evaluate", as_of=as_of, section=section, inputs=every).facts["metrics"]
    return metrics


def publishing(report: Any) -> None:
    """Time how long the trials take into an empty MLflow."""
    from airflow_mlops_provider.effects.publishing import _files, _trials
    from airflow_mlops_provider.registry import CandidateRun
    from airflow_mlops_provider.registry.client import Connection
    from airflow_mlops_provider.registry.files import keep_files
    from airflow_mlops_provider.registry.trials import write_trials
    from airflow_mlops_provider.registry.write_once import experiment_id

    folder = BENCH / "mlflow"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    connection = Connection(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = experiment_id(connection, "flights")
    parent = connection.once("creating a run", lambda client: client.create_run(experiment))
    runs = (_trials(report) * 200)[:200]
    many = [trial.model_copy(update={"number": number}) for number, trial in enumerate(runs)]
    started, worked = time.monotonic(), time.process_time()
    keep_files(connection, parent, _files(report))
    write_trials(connection, parent, CandidateRun(name="boosting", step_key="key", trials=many))
    wall, cpu = time.monotonic() - started, time.process_time() - worked
    print(f"publishing 200 trials to MLflow on SQLite: {wall:.1f} s wall, {cpu:.1f} s of CPU")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--as-of", default="2013-09-12")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--method", default="bayesian")
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        print(json.dumps(contestant(options.contestant, json.load(sys.stdin))))
        return
    shutil.rmtree(BENCH, ignore_errors=True)
    as_of = datetime.fromisoformat(options.as_of).replace(tzinfo=UTC)
    compare(prepare(as_of), as_of, options)


def compare(inputs: dict[str, Any], as_of: datetime, options: argparse.Namespace) -> None:
    from airflow_mlops_provider.modeling.splits import SplitPlan
    from airflow_mlops_provider.search.report import SearchReport
    from airflow_mlops_provider.storage import ArtifactStore

    search = {"method": options.method, "space": SPACE, "trials": options.trials, "metric": "log_loss", "cv": 3}
    given = {role: result.model_dump(mode="json") for role, [result] in inputs.items()}
    common = {"inputs": given, "as_of": as_of.isoformat()}
    plain = ended(run("train", {**common, "store": store("plain"), "section": section(None)}))
    timed: dict[str, tuple[float, float]] = {}
    where = store("search")
    trained = timing(timed, "search", [("train", {**common, "store": where, "section": section(search)})])
    report = SearchReport.model_validate(
        json.loads(ArtifactStore(where).fetch(result_ref(trained, "search")).read_bytes())
    )
    cores = len(os.sched_getaffinity(0))
    print(f"{cores} cores, as of {options.as_of}, {report.rows} training rows, {options.method}")
    print(report.reason)
    print("importance:", report.importance)
    for name, result, folder in (("default", plain, str(BENCH / "plain")), ("searched", trained, where)):
        print(f"{name:<9} holdout: {holdout(folder, inputs, result, as_of)}", flush=True)
    data = ArtifactStore(where)
    plan = SplitPlan.model_validate(data.read_json(inputs["split"][0].artifacts["split"]))
    default = candidate(None)["params"]
    order = {
        "numeric": plan.columns.numeric,
        "categorical": plan.columns.categorical,
        "boundary": plan.boundary,
        "dataset": str(data.fetch(inputs["dataset"][0].artifacts["dataset"])),
        "cv": 3,
        "trials": [{**default, **trial.params} for trial in report.trials],
    }
    timing(timed, "by hand", [("by_hand", order)])
    spread = {**search, "shards": 2}
    where_shards = store("shards")
    parts = [
        ("search", {**common, "store": where_shards, "section": {**section(spread), "shard": index}})
        for index in (0, 1)
    ]
    timing(timed, "two shards", parts, [("train", {**common, "store": where_shards, "section": section(spread)})])
    hand = timed["by hand"]
    for name, (wall, cpu) in timed.items():
        print(f"{name:<11} wall {wall:7.1f} s ({wall / hand[0]:.2f}x)  CPU {cpu:7.1f} s ({cpu / hand[1]:.2f}x)")
    publishing(report)


def result_ref(result: dict[str, Any], name: str) -> Any:
    from airflow_mlops_provider.results import ArtifactRef

    return ArtifactRef.model_validate(result["artifacts"][name])


def section(search: dict[str, Any] | None) -> dict[str, Any]:
    return {"name": "boosting", "candidate": candidate(search)}


def timing(timed: dict[str, tuple[float, float]], name: str, *rounds: list[tuple[str, Any]]) -> dict[str, Any]:
    """Run processes, each round's at once, and keep their wall and CPU time together."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    answers = [ended(process) for each in rounds for process in [run(*order) for order in each]]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    timed[name] = (time.monotonic() - started, cpu)
    print(f"{name}: {timed[name][0]:.1f} s wall, {cpu:.1f} s CPU", flush=True)
    return answers[-1]


if __name__ == "__main__":
    main()
