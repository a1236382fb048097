"""The pages in Airflow's UI with 50 pipelines and 1,000 ledger entries, from a real API server, as a browser asks."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT / "tools"), str(PROJECT / "tests" / "integration")]

from made_up import write_ledger, write_pipeline  # noqa: E402  # once its folder is on the path

from local_airflow import LocalAirflow  # noqa: E402  # once its folder is on the path

PIPELINES, ENTRIES, REQUESTS = 50, 20, 20


def main() -> None:
    """Print how long the first request and the following ones take."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "dags").mkdir()
        (home / "pipelines").mkdir()
        names = [f"pipeline_{number:02d}" for number in range(PIPELINES)]
        for name in names:
            write_pipeline(home / "pipelines", name)
        airflow = LocalAirflow(home, dags=home / "dags", pipelines=home / "pipelines")
        began = datetime.now(UTC) - timedelta(days=ENTRIES)
        with airflow:
            for name in names:
                write_ledger(airflow.mlflow_uri, name, ENTRIES, began)
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


if __name__ == "__main__":
    main()
