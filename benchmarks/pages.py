"""The pages in Airflow's UI with 50 pipelines and 1,000 ledger entries, from a real API server, as a browser asks."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

from airflow_mlops_provider.registry import LedgerEntry
from airflow_mlops_provider.results import ArtifactRef
from local_airflow import LocalAirflow

PIPELINES, ENTRIES, REQUESTS = 50, 20, 20
DAY = timedelta(days=1)


def main() -> None:
    """Print how long the first request and the following ones take."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "dags").mkdir()
        (home / "pipelines").mkdir()
        names = [f"pipeline_{number:02d}" for number in range(PIPELINES)]
        for name in names:
            (home / "pipelines" / f"{name}.yaml").write_text(yaml.safe_dump(pipeline(name)), encoding="utf-8")
        airflow = LocalAirflow(home, dags=home / "dags", pipelines=home / "pipelines")
        with airflow:
            for name in names:
                write_ledger(airflow.mlflow_uri, name)
            token = airflow.get("/auth/token", authenticated=False)["access_token"]
            for page in ("/mlops/models", f"/mlops/models/{names[0]}"):
                first, *others = (round(seconds(f"{airflow.url}{page}", token) * 1000) for _ in range(REQUESTS))
                print(
                    f"{page}: the first {first} ms, then a median of {statistics.median(others):.0f} ms, "
                    f"the slowest of {len(others)} {max(others)} ms",
                    flush=True,
                )


def seconds(url: str, token: str) -> float:
    """Return how long a page takes."""
    request = urllib.request.Request(url, headers={"Cookie": f"_token={token}"})
    started = time.perf_counter()
    with urllib.request.urlopen(request, timeout=60) as response:
        response.read()
    return time.perf_counter() - started


def pipeline(name: str) -> dict[str, object]:
    """Return a small pipeline."""
    return {
        "name": name,
        "task": "binary",
        "data": {"source": {"uri": "rows.csv"}, "columns": {"target": "left", "numeric": ["age"]}},
        "preparation": {"split": {"by": "random"}},
        "training": {"candidates": {"plain": {"estimator": "sklearn.linear_model.LogisticRegression"}}},
        "scoring": {},
        "monitoring": {},
    }


def write_ledger(mlflow_uri: str, model: str) -> None:
    """Write a ledger at once, in the form in which it grows entry by entry."""
    from mlflow import MlflowClient
    from mlflow.entities import Param

    client, began, sha = MlflowClient(mlflow_uri), datetime.now(UTC) - ENTRIES * DAY, "a" * 64
    shared = client.get_experiment_by_name("mlops-ledger")
    run = client.create_run(shared.experiment_id if shared else client.create_experiment("mlops-ledger"))
    client.create_experiment(f"ledger/{model}", tags={"run": run.info.run_id})
    entries = [
        LedgerEntry(
            seq=number,
            idem=str(number),
            version=number,
            digest=f"digest-{number}",
            sha256=sha,
            artifact=ArtifactRef(uri=f"file:///store/{sha}.skops", sha256=sha, size=3),
            lineage=f"lineage-{number}",
            order_key=began + number * DAY,
            at=began + number * DAY,
            metrics={"roc_auc": 0.7, "log_loss": 0.5},
            gates=[["champion", True, "roc_auc 0.7", "better than 0.69"]] * 6,
            reason="all 6 gates passed",
        )
        for number in range(1, ENTRIES + 1)
    ]
    client.log_batch(run.info.run_id, params=[Param(f"seq-{one.seq}", one.render()) for one in entries])


if __name__ == "__main__":
    main()
