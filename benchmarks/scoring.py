"""Scoring by row group: wall time and peak memory for a growing number of rows, each in a process of its own."""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from airflow_mlops_provider.data.tables import ROW_GROUP_ROWS, TableInfo, write_table
from airflow_mlops_provider.job import Champion, StepRequest
from airflow_mlops_provider.results import StepResult
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.spec import Columns
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from collections.abc import Iterator

AS_OF = datetime(2013, 7, 1, tzinfo=UTC)
NUMBERS = [f"n{index}" for index in range(6)]
COLUMNS = Columns(target="y", timestamp="t", keys=["id"], numeric=NUMBERS, categorical=["c1", "c2"])
MODELS: dict[str, dict[str, Any]] = {
    "logistic": {"estimator": "sklearn.linear_model.LogisticRegression"},
    "boosting": {"estimator": "sklearn.ensemble.HistGradientBoostingClassifier", "encode": "ordinal"},
}


def tables(rows: int) -> Iterator[pa.Table]:
    source = np.random.default_rng(rows)
    for start in range(0, rows, ROW_GROUP_ROWS):
        count = min(ROW_GROUP_ROWS, rows - start)
        numbers = source.normal(size=(len(NUMBERS), count))
        yield pa.table(
            {
                "id": [f"k{number:09d}" for number in range(start, start + count)],
                "t": pa.array(np.arange(start, start + count) * 1_000_000, pa.timestamp("us", "UTC")),
                **dict(zip(NUMBERS, numbers, strict=True)),
                **{name: pa.array(source.choice(list("abcdefgh"), count)).dictionary_encode() for name in ("c1", "c2")},
                "y": ((numbers[0] + numbers[1] + source.normal(size=count)) > 0).astype("int64"),
            }
        )


def dataset(store: ArtifactStore, rows: int) -> StepResult:
    schema = next(tables(1)).schema
    ref = write_table(store, tables(rows), schema, TableInfo(task="binary", columns=COLUMNS))
    return StepResult(step="ingest", pipeline="bench", key="0" * 64, as_of=AS_OF, artifacts={"dataset": ref})


def step(store: ArtifactStore, name: str, section: dict[str, Any], **inputs: StepResult) -> StepResult:
    results = {role: [result] for role, result in inputs.items()}
    return run_step(StepRequest(step=name, pipeline="bench", as_of=AS_OF, section=section, inputs=results), store)


def requests(store: ArtifactStore, sizes: list[int]) -> Iterator[tuple[str, int, str]]:
    training = dataset(store, 50_000)
    split = step(store, "prepare", {"split": {"by": "time", "holdout": 0.2}}, dataset=training)
    for name, candidate in MODELS.items():
        model = step(store, "train", {"name": name, "candidate": candidate}, dataset=training, split=split)
        digest, ref = str(model.facts["digest"]), model.artifacts["model"]
        champion = Champion(seq=1, version=1, digest=digest, model=ref, order_key=AS_OF)
        for rows in sizes:
            request = StepRequest(
                step="score",
                pipeline="bench",
                as_of=AS_OF,
                section={},
                inputs={"dataset": [dataset(store, rows)]},
                champion=champion,
            )
            yield name, rows, request.model_dump_json()


def score(root: str) -> None:
    request = StepRequest.model_validate_json(sys.stdin.read())
    started = time.perf_counter()
    run_step(request, ArtifactStore(root))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([time.perf_counter() - started, peak]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 4_000_000])
    parser.add_argument("--score", metavar="STORE", help="score the request on standard input, and say what it took")
    options = parser.parse_args()
    if options.score:
        score(options.score)
        return
    print("| model | rows | wall | peak memory |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="mlops-bench-") as root:
        for name, rows, request in requests(ArtifactStore(root), options.rows):
            command = [sys.executable, __file__, "--score", root]
            done = subprocess.run(command, input=request, capture_output=True, text=True, check=True)
            seconds, peak = json.loads(done.stdout.splitlines()[-1])
            print(f"| {name} | {rows:,} | {seconds:.1f} s | {peak:.0f} MiB |", flush=True)


if __name__ == "__main__":
    main()
