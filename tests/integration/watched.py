"""Pipelines whose world turns, or does not: what monitoring is tested on."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import yaml
from runs import Run, registry, until
from small_pipeline import small_pipeline

from airflow_mlops_provider.effects.watching import champion_pair
from airflow_mlops_provider.job import StepRequest
from airflow_mlops_provider.monitoring.governor import Decision
from airflow_mlops_provider.pipelines import load_pipeline
from airflow_mlops_provider.runner import run_step
from airflow_mlops_provider.storage import ArtifactStore

if TYPE_CHECKING:
    from pathlib import Path

    from local_airflow import LocalAirflow

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ROWS_A_DAY = 60
#: The first day of another world, where there is one.
TURN = 17
#: The week of which most of the warmth is missing, where it is.
BROKEN = range(14, 21)
#: Tasks of tests that are killed are tried again at once.
AT_ONCE = {"retries": 20, "retry_delay": "00:00:00.1", "max_retry_delay": "00:00:00.1"}
POLICY = {
    "drift": {"min_rows": 50, "numeric_threshold": 0.5, "categorical_threshold": 0.3},
    "live": {"min_rows": 50, "margin": 0.3},
    "retraining": {"after": 2, "cooldown": "7 days", "budget": 2, "period": "30 days", "min_rows": 100},
}


def day(number: int) -> str:
    """Return the date of a day of the data."""
    return (START + number * DAY).date().isoformat()


def write_csv(file: Path, *, days: int, turn: int | None, broken: range = range(0)) -> None:
    """Write sixty rows a day; from `turn` on it is warmer, and what is good is another matter.

    :param broken: days of which most of the warmth is missing.
    """
    chance = random.Random(3)
    lines = ["id,at,warmth,colour,good"]
    for number in range(days * ROWS_A_DAY):
        turned = turn is not None and number // ROWS_A_DAY >= turn
        warmth, colour = chance.gauss(3 if turned else 0, 1), chance.choice(["red", "green"])
        good = int(warmth + chance.gauss(0, 0.5) > (3 if turned else 0))
        at = START + number * DAY / ROWS_A_DAY
        shown = "" if number // ROWS_A_DAY in broken and number % 5 < 3 else f"{warmth:.4f}"
        lines.append(f"{number},{at.isoformat()},{shown},{colour},{good}")
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def pipeline(name: str, csv: Path, **changes: Any) -> dict[str, Any]:
    """Return a pipeline that is watched day by day."""
    sections = {
        "training": {
            "candidates": {
                "good": {"estimator": "sklearn.linear_model.LogisticRegression"},
                "poor": {"estimator": "sklearn.dummy.DummyClassifier"},
            }
        },
        "evaluation": {"metrics": ["log_loss"]},
        "scoring": {"window": "1 day"},
        "monitoring": POLICY,
    }
    return small_pipeline(name, csv, window="14 days", **sections | changes)


def write_watched(folder: Path) -> None:
    """Write worlds that turn, for good or for a month, and that do not; with a bad champion, or with broken data."""
    quickly = {**POLICY, "estimated": {"min_rows": 50}, "retraining": {"after": 1, "cooldown": "7 days", "min_rows": 0}}
    tasks = ("ingest", "score", "watch", "retrain", "roll_back")
    worlds: dict[str, tuple[int, int | None, dict[str, Any]]] = {
        "turning": (30, TURN, {}),
        "stormy": (50, TURN, {}),
        "probed": (30, None, {}),
        "broken": (30, None, {}),
        "mended": (30, TURN, {"monitoring": quickly, "tasks": dict.fromkeys(tasks, AT_ONCE)}),
    }
    for name, (days, turn, changes) in worlds.items():
        write_csv(folder / f"{name}.csv", days=days, turn=turn, broken=BROKEN if name == "broken" else range(0))
        spec = yaml.safe_dump(pipeline(name, folder / f"{name}.csv", **changes), sort_keys=False)
        (folder / f"{name}.yaml").write_text(spec, encoding="utf-8")


def decisions(airflow: LocalAirflow, name: str) -> dict[int, Decision]:
    """Return the decisions by day."""
    stored = [Decision.model_validate(entry.value) for entry in registry(airflow).decisions(name)]
    return {(one.as_of - START) // DAY: one for one in stored}


def decided(airflow: LocalAirflow, name: str, *numbers: int) -> dict[int, Decision]:
    """Wait until days are decided, and return all decisions."""

    def found() -> dict[int, Decision] | None:
        stored = decisions(airflow, name)
        return stored if set(numbers) <= set(stored) else None

    return dict(until(airflow, found, f"{name}: decisions of {numbers}"))


def scored(airflow: LocalAirflow, name: str, number: int) -> dict[str, Any]:
    """Score a window in this process, and return what its event would tell."""
    spec = load_pipeline(airflow.home / "pipelines" / f"{name}.yaml")
    store = ArtifactStore(airflow.artifacts.as_uri())
    pair = champion_pair(registry(airflow).history(name))
    assert pair is not None
    as_of, begin = START + number * DAY, START + (number - 1) * DAY

    def step(kind: str, section: dict[str, Any], champion: Any, **inputs: Any) -> Any:
        request = StepRequest(step=kind, pipeline=name, as_of=as_of, section=section, inputs=inputs, champion=champion)
        return run_step(request, store)

    section = {
        "task": spec.task,
        "data": spec.data.model_dump(mode="json"),
        "purpose": "scoring",
        "start": begin.isoformat(),
    }
    dataset = step("ingest", section, None)
    message = step("score", {}, pair.champion, dataset=[dataset])
    return {
        "as_of": as_of.isoformat(),
        "window_start": begin.isoformat(),
        "rows": dataset.facts["rows"],
        "version": pair.champion.version,
        "dataset": dataset.artifacts["dataset"].model_dump(mode="json"),
        "predictions": message.artifacts["predictions"].model_dump(mode="json"),
    }


def start(airflow: LocalAirflow, name: str, kind: str, number: int, **conf: Any) -> Run:
    """Trigger a run for a day, and do not wait for it."""
    run = Run(airflow, name, f"{kind}-{number}-{len(conf)}", kind=kind)
    airflow.wait_for_dag(run.dag_id)
    body = {"dag_run_id": run.run_id, "logical_date": None, "conf": {"as_of": f"{day(number)}T00:00:00Z", **conf}}
    airflow.post(f"/api/v2/dags/{run.dag_id}/dagRuns", body)
    return run
