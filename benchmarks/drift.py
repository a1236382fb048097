"""Our drift step beside Evidently on all rows, in one run: time, peak memory, and whether they say the same.

Each contestant is a process of its own, timed whole, imports included; its peak is the largest resident memory that
the kernel saw. The data are 8 features, 6 of them numbers, in row groups as ingest writes them.

- Ours is the drift step: the window and its predictions beside the champion's reference (50,000 of the training rows),
  checks of every row, verdicts, report and page.
- `preset` is Evidently's `DataDriftPreset` with the same methods and thresholds, on all rows of the window and of the
  training data, of which there are as many.
- `kind` is the least that can be asked of Evidently: one `ValueDrift` for each feature, on all rows of the window and
  the 50,000 of the reference.

Usage: python benchmarks/drift.py [--full]

Evidently reads 1 million rows; with `--full` 10 million as well (some minutes, several GiB).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

NUMERIC = [f"x{index}" for index in range(6)]
CATEGORICAL = ["c0", "c1"]
FEATURES = [*NUMERIC, *CATEGORICAL]
REFERENCE_ROWS = 50_000
GROUP = 65_536
AS_OF = datetime(2026, 1, 1, tzinfo=UTC)
CASES = ("stationary", "drifting")
THRESHOLD = 0.1


def tables(rows: int, seed: int, *, drifting: bool = False, predicted: bool = True) -> Iterator[pa.Table]:
    """Yield row groups of a normal, a skewed, a heavy-tailed, a whole, a zero-inflated and a uniform number, a category
    of 6 and one of 40; when drifting, four of the eight have moved."""
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng(seed)
    few, many = np.arange(6, 0, -1) / 21, np.arange(40, 0, -1) / 820
    moved = 1.0 if drifting else 0.0
    for start in range(0, rows, GROUP):
        size = min(GROUP, rows - start)
        numbers = [
            rng.normal(0.3 * moved, 1, size),
            rng.lognormal(0, 0.5 + 0.2 * moved, size),
            rng.standard_t(5, size),
            rng.poisson(20 + 2 * moved, size).astype(float),
            rng.exponential(size=size) * (rng.random(size) < 0.1),
            rng.random(size),
        ]
        shares = (1 - 0.4 * moved) * few + 0.4 * moved * few[::-1]
        texts = [rng.choice(len(one), size, p=one / one.sum()).astype(np.int32) for one in (shares, many)]
        columns: dict[str, Any] = {name: pa.array(values) for name, values in zip(NUMERIC, numbers, strict=True)}
        for name, codes, count in zip(CATEGORICAL, texts, (6, 40), strict=True):
            names = pa.array([f"{name}-{index}" for index in range(count)])
            columns[name] = pa.DictionaryArray.from_arrays(pa.array(codes), names)
        columns["target"] = pa.array((rng.random(size) < 0.3).astype(np.int64))
        if predicted:
            chance = rng.beta(2, 5, size)
            columns |= {"p_0": pa.array(1 - chance), "p_1": pa.array(chance)}
            columns["prediction"] = pa.array((chance > 0.5).astype(np.int64))
        yield pa.table(columns)


def write(folder: Path, name: str, rows: int, seed: int, **settings: bool) -> Any:
    from airflow_mlops_provider.data.tables import TableInfo, write_table
    from airflow_mlops_provider.spec import Columns
    from airflow_mlops_provider.storage import ArtifactStore

    columns = Columns(target="target", numeric=NUMERIC, categorical=CATEGORICAL)
    batches = tables(rows, seed, **settings)
    first = next(batches)
    ref = write_table(
        ArtifactStore(str(folder)), chain_of(first, batches), first.schema, TableInfo(task="binary", columns=columns)
    )
    (folder / f"{name}.json").write_text(ref.model_dump_json())
    return ref


def chain_of(first: pa.Table, others: Iterator[pa.Table]) -> Iterator[pa.Table]:
    yield first
    yield from others


def path_of(folder: Path, name: str) -> str:
    return str(json.loads((folder / f"{name}.json").read_text())["uri"]).removeprefix("file://")


# ---------------------------------------------------------------- the contestants, each in its own process


def ours(folder: Path, window: str, _: str) -> dict[str, bool]:
    from airflow_mlops_provider.job import Champion, StepRequest
    from airflow_mlops_provider.results import ArtifactRef, StepResult
    from airflow_mlops_provider.runner import run_step
    from airflow_mlops_provider.storage import ArtifactStore

    def ref(name: str) -> ArtifactRef:
        return ArtifactRef.model_validate_json((folder / f"{name}.json").read_text())

    def given(role: str) -> StepResult:
        return StepResult(step=role, pipeline="bench", key="0" * 64, as_of=AS_OF, artifacts={role: ref(window)})

    reference = ref("reference")
    store = ArtifactStore(str(folder))
    request = StepRequest(
        step="drift",
        pipeline="bench",
        as_of=AS_OF,
        section={"numeric_threshold": THRESHOLD, "categorical_threshold": THRESHOLD},
        inputs={role: [given(role)] for role in ("dataset", "predictions")},
        champion=Champion(seq=1, version=1, digest="d", model=reference, order_key=AS_OF, reference=reference),
        recompute=True,
    )
    report = store.read_json(run_step(request, store).artifacts["drift"])
    return {column["column"]: column["drifted"] for column in report["columns"] if column["role"] == "feature"}


def preset(folder: Path, window: str, against: str) -> dict[str, bool]:
    from evidently.presets import DataDriftPreset

    drift = DataDriftPreset(
        num_method="wasserstein", cat_method="jensenshannon", num_threshold=THRESHOLD, cat_threshold=THRESHOLD
    )
    return evidently(folder, window, against, [drift])


def kind(folder: Path, window: str, against: str) -> dict[str, bool]:
    from evidently.metrics import ValueDrift

    methods = {name: "wasserstein" if name in NUMERIC else "jensenshannon" for name in FEATURES}
    drift = [ValueDrift(column=name, method=methods[name], threshold=THRESHOLD) for name in FEATURES]
    return evidently(folder, window, against, drift)


def evidently(folder: Path, window: str, against: str, metrics: list[Any]) -> dict[str, bool]:
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report

    definition = DataDefinition(numerical_columns=NUMERIC, categorical_columns=CATEGORICAL)
    current, reference = (
        Dataset.from_pandas(pd.read_parquet(path_of(folder, name), columns=FEATURES), data_definition=definition)
        for name in (window, against)
    )
    found = Report(metrics).run(current, reference).dict()["metrics"]
    values = {metric["config"].get("column"): metric["value"] for metric in found}
    return {name: bool(values[name] >= THRESHOLD) for name in FEATURES}


CONTESTANTS = {"ours": ours, "preset": preset, "kind": kind}


def contend(folder: Path, contestant: str, window: str, against: str) -> None:
    verdicts = CONTESTANTS[contestant](folder, window, against)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"peak": peak, "verdicts": verdicts}))


def measured(folder: Path, contestant: str, window: str, against: str = "reference") -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", __file__, "--contend", str(folder), contestant, window, against]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    found["seconds"] = time.perf_counter() - started
    print(
        f"{contestant:7} {window:14} beside {against:14} {found['seconds']:7.1f} s {found['peak']:7.0f} MiB  "
        f"drifted: {', '.join(name for name, drifted in found['verdicts'].items() if drifted) or 'none'}",
        flush=True,
    )
    return found


def main(*, full: bool) -> None:
    million = 1_000_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, "reference", REFERENCE_ROWS, seed=1)
        write(folder, "training-1m", million, seed=1)
        for case in CASES:
            window = f"{case}-1m"
            write(folder, window, million, seed=2, drifting=case == "drifting")
            mine, theirs = measured(folder, "ours", window), measured(folder, "preset", window, "training-1m")
            agree = [column for column in FEATURES if mine["verdicts"][column] == theirs["verdicts"][column]]
            print(f"verdicts agree on {len(agree)} of {len(FEATURES)} columns", flush=True)
        measured(folder, "kind", "drifting-1m")
        for rows, window in ((3 * million, "drifting-3m"), (10 * million, "drifting-10m")):
            write(folder, window, rows, seed=2, drifting=True)
            mine = measured(folder, "ours", window)
        if full:
            write(folder, "training-10m", 10 * million, seed=1)
            theirs = measured(folder, "preset", "drifting-10m", "training-10m")
            print(f"{theirs['seconds'] / mine['seconds']:.0f} times the time of ours", flush=True)
            theirs = measured(folder, "kind", "drifting-10m")
            print(f"{theirs['seconds'] / mine['seconds']:.0f} times the time of ours", flush=True)


if __name__ == "__main__":
    if "--contend" in sys.argv:
        contend(Path(sys.argv[2]), *sys.argv[3:])
    else:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--full", action="store_true", help="Evidently reads 10 million rows as well")
        main(full=parser.parse_args().full)
