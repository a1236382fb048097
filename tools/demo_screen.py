"""What the demo prints: runs as they go, tables, sentences in short lines."""

from __future__ import annotations

import textwrap
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local_airflow import LocalAirflow

WIDTH = 104
_SHOWN = ("success", "failed", "skipped", "up_for_retry", "upstream_failed")


def heading(title: str) -> None:
    """Print the title of a chapter."""
    print(f"\n{title}\n{'-' * len(title)}", flush=True)


def say(text: str) -> None:
    """Print a paragraph."""
    print(textwrap.fill(text, WIDTH), flush=True)


def note(lead: str, text: str) -> None:
    """Print a paragraph beside its lead."""
    print(textwrap.fill(text, WIDTH, initial_indent=lead, subsequent_indent=" " * len(lead)), flush=True)


def table(rows: Iterable[tuple[Any, ...]]) -> None:
    """Print rows in aligned columns."""
    rows = list(rows)
    widths = [max(len(str(cell)) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  " + "  ".join(f"{cell!s:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def follow(airflow: LocalAirflow, dag_id: str, run_id: str, seconds: float = 300) -> None:
    """Print each task as it ends, until the run succeeds.

    :raises RuntimeError: when it fails, or takes longer; names the logs.
    """
    logs = f"{airflow.home}/logs/dag_id={dag_id}"
    seen: set[tuple[str, int, str]] = set()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        state: str = airflow.get(f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id)}")["state"]
        tasks = airflow.tasks(dag_id, quote(run_id))
        for task in sorted(tasks, key=lambda task: task["end_date"] or "9"):
            mark = (task["task_id"], task["map_index"], task["state"])
            if task["state"] in _SHOWN and mark not in seen:
                seen.add(mark)
                name = f"{task['task_id']} {task['rendered_map_index'] or ''}"
                print(f"  {task['state']:<16} {task['duration'] or 0:6.1f} s  {name}".rstrip(), flush=True)
        if state == "failed":
            raise RuntimeError(f"a run of {dag_id} failed; logs are in {logs}")
        if state == "success":
            return
        time.sleep(0.3)
    raise RuntimeError(f"a run of {dag_id} did not end in {seconds:.0f} s; logs are in {logs}")


def durations(airflow: LocalAirflow, dag_ids: Iterable[str]) -> list[tuple[str, ...]]:
    """Return a row for each task that ran: how often, and how long it took on average and at most."""
    rows: list[tuple[str, ...]] = [("DAG", "task", "times", "mean s", "max s")]
    for dag_id in dag_ids:
        took: dict[str, list[float]] = {}
        # Those of every run of the DAG, in the order in which they began.
        tasks = airflow.tasks(dag_id, "~")
        for task in sorted(tasks, key=lambda task: task["start_date"] or "9"):
            if task["state"] == "success":
                name = f"{task['task_id']} {task['rendered_map_index'] or ''}".rstrip()
                took.setdefault(name, []).append(task["duration"] or 0.0)
        rows += [
            (dag_id, name, str(len(each)), f"{sum(each) / len(each):.1f}", f"{max(each):.1f}")
            for name, each in took.items()
        ]
    return rows
