"""Every task is killed with SIGKILL at every named point, and Airflow's own retry goes on from there."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from generated import write_pipelines
from runs import Run, mlflow_state

from airflow_mlops_provider.storage import sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local_airflow import LocalAirflow

PROJECT = Path(__file__).resolve().parents[2]
COMPUTING = ("ingest", "validate", "prepare", "train", "evaluate", "gate", "score")
#: What only monitoring passes.
OTHERS = {"decision.write.before", "decision.write.after"}


def points() -> list[str]:
    """Return every failpoint of training and scoring: those of receipts for each step, the others by name."""
    source = "".join(file.read_text(encoding="utf-8") for file in (PROJECT / "airflow_mlops_provider").rglob("*.py"))
    named = set(re.findall(r'failpoint\("([a-z.]+)"\)', source))
    receipts = {f"{step}.receipt.{when}" for step in COMPUTING for when in ("before", "after")}
    return sorted(named - OTHERS | receipts)


@pytest.fixture(scope="module")
def dying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAirflow]:
    """An Airflow whose tasks are killed once at each point."""
    from local_airflow import LocalAirflow

    home = tmp_path_factory.mktemp("dying")
    pipelines, killed = home / "pipelines", home / "killed"
    pipelines.mkdir()
    killed.mkdir()
    shutil.copytree(PROJECT / "dags", home / "dags")
    write_pipelines(pipelines)
    settings = {
        "MLOPS_FAILPOINTS": f"{killed}:{','.join(points())}",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
    }
    with LocalAirflow(home, dags=home / "dags", pipelines=pipelines, environment=settings) as running:
        yield running


def test_killed_at_every_point_a_run_ends_as_if_it_had_run_once(dying: LocalAirflow) -> None:
    assert {"publish.register.after", "ledger.write.before", "alias.write.after"} <= set(points())
    run = Run.of(dying, "killed", "2024-02-01", seconds=420)
    assert run.state == "success", run.states
    scoring = Run.triggered(dying, "killed", "scoring")
    assert scoring.state == "success", scoring.states
    assert sorted(file.name for file in (dying.home / "killed").iterdir()) == points(), "each point was reached"
    tries = {(run.dag_id, name): task["try_number"] for run in (run, scoring) for name, task in run.tasks.items()}
    assert sum(tries.values()) - len(tries) == len(points()), tries
    assert mlflow_state(dying, "killed") == {
        "runs": ["killed 2024-02-01", "logistic", "tree"],
        "unfinished": [],
        "versions": [1],
        "aliases": {"champion": 1, "challenger": 1},
        "ledger": [("promote", 1)],
    }
    objects = [file for file in (dying.artifacts / "objects").rglob("*") if file.is_file()]
    assert objects
    assert all(sha256_of(file) == file.name.split(".")[0] for file in objects), "no object is half-written"
    events = dying.get("/api/v2/assets/events?limit=100")["asset_events"]
    assert len([event for event in events if event["name"] == "killed.champion"]) == 1
    assert len([event for event in events if event["name"] == "killed.predictions"]) == 1
    predictions = dying.artifacts / "predictions" / "killed" / "as_of=2024-02-01"
    assert [file.name for file in predictions.iterdir()] == ["predictions.parquet"]
    assert (
        sha256_of(predictions / "predictions.parquet") == scoring.value("score")["artifacts"]["predictions"]["sha256"]
    )
